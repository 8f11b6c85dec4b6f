"""Gradients of rounding, other rules of it, and Bop, in plain NumPy.

For those who study how a binary net learns; the reference for ``numba_study``
and ``cupy_study``, as ``numpy_kernels`` is for the others. The gradients are
straight-through: products of the upstream gradient and a factor, which is that
of a function that the rounded one is taken for.
"""
import numpy

# Larq's beta of the sign-swish; from the limit on its factor is 0.
SWISH_BETA = 5
SWISH_LIMIT = 200


def binarize_backward(x, gy):
    """Returns the straight-through gradient of the clipped sign.

    ``gx = gy * (|x| <= 1)``, which is 0 where x is NaN.

    Args:
        x (numpy.ndarray): Float array of any shape, what was binarized.
        gy (numpy.ndarray): Upstream gradient, of x's shape and dtype.

    Returns:
        numpy.ndarray: gx, of gy's shape and dtype.

    """
    return numpy.multiply(gy, numpy.abs(x) <= 1, out=numpy.empty_like(gy))


def count_outside(x):
    """Returns how many values are outside [-1, 1], NaN among them.

    Args:
        x (numpy.ndarray): Float array of any shape.

    Returns:
        int: Number of values; of CuPy's arrays an array of no dimension.

    """
    return x.size - numpy.count_nonzero(numpy.abs(x) <= 1)


def unit_backward(x, gy):
    """Returns the straight-through gradient of what is clipped to [0, 1].

    ``gx = gy * (0 <= x <= 1)``, which is 0 where x is NaN.

    Args:
        x (numpy.ndarray): Float array of any shape, what was rounded.
        gy (numpy.ndarray): Upstream gradient, of x's shape and dtype.

    Returns:
        numpy.ndarray: gx, of gy's shape and dtype.

    """
    return numpy.multiply(gy, (x >= 0) & (x <= 1), out=numpy.empty_like(gy))


def approx_backward(x, gy):
    """Returns the gradient of the piecewise quadratic sign of Bi-Real Net.

    ``gx = gy * (2 - 2 |x|)`` where ``|x| <= 1``, else 0, also where x is NaN.

    Args:
        x (numpy.ndarray): Float array of any shape, what was binarized.
        gy (numpy.ndarray): Upstream gradient, of x's shape and dtype.

    Returns:
        numpy.ndarray: gx, of gy's shape and dtype.

    """
    half = numpy.fmax(x.dtype.type(1) - numpy.abs(x), x.dtype.type(0))
    return numpy.multiply(gy, half + half, out=numpy.empty_like(gy))


def swish_backward(x, gy):
    """Returns the gradient of the sign-swish with beta 5.

    ``gx = gy * 5 (2 - a tanh(a / 2)) / (1 + cosh a)``, ``a = 5 |x|``. In terms
    of ``e = exp(-a)``, which does not overflow. 0 where x is NaN.

    Args:
        x (numpy.ndarray): Float array of any shape, what was binarized.
        gy (numpy.ndarray): Upstream gradient, of x's shape and dtype.

    Returns:
        numpy.ndarray: gx, of gy's shape and dtype.

    """
    a, e = swish_exponential(x)
    one, two = x.dtype.type(1), x.dtype.type(2)
    tanh = (one - e) / (one + e)
    quotient = e / ((one + e) * (one + e))
    factor = x.dtype.type(2 * SWISH_BETA) * quotient * (two - a * tanh)
    return numpy.multiply(gy, factor, out=numpy.empty_like(gy))


def swish_exponential(x):
    """Returns a and e of :func:`swish_backward`, of x's shape and dtype."""
    a = numpy.fmin(numpy.abs(x), x.dtype.type(SWISH_LIMIT))
    a = numpy.asarray(a * x.dtype.type(SWISH_BETA))
    return a, numpy.asarray(numpy.exp(-a))


def heaviside(x):
    """Returns 1 where ``x > 0``, else 0; NaN stays NaN.

    Args:
        x (numpy.ndarray): Float array of any shape.

    Returns:
        numpy.ndarray: Steps, of x's shape and dtype.

    """
    y = numpy.greater(x, 0, out=numpy.empty_like(x))
    numpy.copyto(y, x, where=numpy.isnan(x))
    return y


def quantize_ternary(x, threshold):
    """Returns +1 where ``x > threshold``, -1 where ``x < -threshold``, else 0.

    Args:
        x (numpy.ndarray): Float array of any shape; NaN stays NaN.
        threshold (float): Not negative.

    Returns:
        numpy.ndarray: Signs, of x's shape and dtype.

    """
    threshold = x.dtype.type(threshold)
    y = numpy.greater(x, threshold, out=numpy.empty_like(x))
    y -= x < -threshold
    numpy.copyto(y, x, where=numpy.isnan(x))
    return y


def quantize_unit(x, n):
    """Returns values rounded to ``n`` uniform steps from 0 to 1.

    ``y = round(clip(x, 0, 1) n) / n``, ties to the even multiple. NaN stays
    NaN.

    Args:
        x (numpy.ndarray): Float array of any shape.
        n (int): Number of steps.

    Returns:
        numpy.ndarray: y, of x's shape and dtype.

    """
    one, n = x.dtype.type(1), x.dtype.type(n)
    y = numpy.where(x > 0, numpy.minimum(x, one), x.dtype.type(0))
    y = numpy.divide(numpy.rint(y * n), n, out=numpy.empty_like(x))
    numpy.copyto(y, x, where=numpy.isnan(x))
    return y


def bop(param, grad, m, gamma, threshold):
    """Flips binary weights in place by a step of Bop.

    ``m += gamma (grad - m)``; then ``param = sign(param)``, and the other sign
    where ``sign(param) m > threshold``: where the average of the gradients has
    the weight's own sign and is large. 0 and -0.0 count as +1; NaN stays NaN,
    and a NaN of m flips nothing.

    Args:
        param, grad, m (numpy.ndarray): Float arrays of one shape and dtype;
            ``param`` and ``m`` are updated.
        gamma (float): Share of the new gradient in the average.
        threshold (float): Not negative.

    """
    gamma, threshold, one = (
        param.dtype.type(scalar) for scalar in (gamma, threshold, 1))
    m += (grad - m) * gamma
    sign = numpy.where(param >= 0, one, numpy.where(param < 0, -one, param))
    param[...] = numpy.where(sign * m > threshold, -sign, sign)
