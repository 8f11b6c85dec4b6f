"""The arithmetic of a training in plain NumPy: the reference for the others.

Every function takes arrays of any float dtype and any memory layout.
``numba_kernels`` and ``cupy_kernels`` hold the same functions under the same
names. The kernels of a packed net are in ``numpy_bits``, those of estimators
and Bop in ``numpy_study``, those of layers in files of their own; they are
imported here, so that one module has all kernels of a backend.
"""
import numpy

from kernels import cores, threads
from kernels.matrix import Matrix
from kernels.numpy_bits import (  # noqa: F401
    bitplane_dot, bitplane_sign, pack_signs, tile_pixel_weights, tile_weights,
    unpack_signs, xnor_dot, xnor_sign)
from kernels.numpy_convolution import (  # noqa: F401
    convolution_2d, convolution_2d_gW, convolution_2d_gx)
from kernels.numpy_max_pooling import (  # noqa: F401
    max_pooling_2d, max_pooling_2d_backward)
from kernels.numpy_normalization import (  # noqa: F401
    batch_normalization, batch_normalization_backward, normalize)
from kernels.numpy_packed_convolution import (  # noqa: F401
    convolve_pixels, convolve_signs, flatten_signs, pixel_window, sign_window)
from kernels.numpy_study import (  # noqa: F401
    approx_backward, binarize_backward, bop, count_outside, heaviside,
    quantize_ternary, quantize_unit, swish_backward, unit_backward)

# Least multiplications of a matrix product that a thread is given.
_PRODUCT_WORK = 1 << 23

# Adam's update walks over the parameters in blocks of this many values, whose
# five arrays stay in a core's second-level cache.
_BLOCK = 1 << 14


def dot(a, b):
    """Returns the product of two matrices of one dtype.

    Args:
        a (numpy.ndarray): Float matrix of shape (N, K).
        b (numpy.ndarray): Float matrix of shape (K, M).

    Returns:
        numpy.ndarray: Product of shape (N, M), of their dtype.

    """
    n, m = len(a), b.shape[1]
    n_parts = min(cores.n_parts(a.size * m, _PRODUCT_WORK), max(n, m))
    if n_parts <= 1 or a.dtype != b.dtype:
        return a.dot(b)
    y = numpy.empty((n, m), a.dtype)

    def multiply(part):
        if n > m:
            numpy.matmul(a[part], b, out=y[part])
        else:
            numpy.matmul(a, b[:, part], out=y[:, part])

    if cores.products_at_once():
        threads.run_in_threads(multiply, max(n, m), n_parts)
    else:
        for part in threads.parts(max(n, m), n_parts):
            multiply(part)
    return y


def binarize(x):
    """Returns the sign of each value: +1 where ``x >= 0``, -1 where ``x < 0``.

    0 and -0.0 give +1; NaN stays NaN.

    Args:
        x (numpy.ndarray): Float array of any shape.

    Returns:
        numpy.ndarray: Signs, of x's shape and dtype.

    """
    y = numpy.sign(x, out=numpy.empty_like(x))
    y += numpy.equal(x, 0)
    return y


def binarize_stochastic(x, random):
    """Returns random signs: +1 with probability ``clip((x + 1) / 2, 0, 1)``.

    The probability counts in multiples of 2^-24. NaN stays NaN.

    Args:
        x (numpy.ndarray): Float array of any shape.
        random (numpy.ndarray): Uniform uint32 numbers, of x's shape.

    Returns:
        numpy.ndarray: Signs, of x's shape and dtype.

    """
    uniform = (random >> 8).astype(numpy.float32)
    uniform *= numpy.float32(2. ** -24)  # in [0, 1), exactly
    one = x.dtype.type(1)
    y = numpy.where(uniform < (x + one) * x.dtype.type(.5), one, -one)
    numpy.copyto(y, x, where=numpy.isnan(x))
    return y


def dropout_mask(x, ratio, seed):
    """Returns a random mask: 0 at a share of ratio, else ``1 / (1 - ratio)``.

    Value i, in the order of C, is 0 where the i-th number of SplitMix64 (the
    first being number 0) is below ``2^64 ratio``.

    Args:
        x (numpy.ndarray): Float array of any shape.
        ratio (float): In [0, 1).
        seed (int): Below 2^64.

    Returns:
        numpy.ndarray: Mask of x's shape and dtype.

    Reference: G. L. Steele Jr., D. Lea, C. H. Flood, "Fast splittable
    pseudorandom number generators", OOPSLA 2014.

    """
    z = numpy.arange(1, x.size + 1, dtype=numpy.uint64)
    z *= numpy.uint64(0x9E3779B97F4A7C15)
    z += numpy.uint64(seed)
    z = (z ^ z >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
    z ^= z >> numpy.uint64(31)
    is_kept = z >= dropout_limit(ratio)
    return (is_kept * x.dtype.type(1 / (1 - ratio))).reshape(x.shape)


def dropout_limit(ratio):
    """Returns the limit of a dropout's random numbers, ``2^64 ratio``."""
    return numpy.uint64(int(ratio * 2 ** 64))


def quantize_linear(x, bits):
    """Returns values rounded to ``2^bits`` uniform steps.

    ``y = clip(round(x / step) step, -1, 1 - step)``, ``step = 2^-(bits - 1)``,
    ties to the even multiple. NaN stays NaN.

    Args:
        x (numpy.ndarray): Float array of any shape.
        bits (int): Number of bits, 2 or more.

    Returns:
        numpy.ndarray: y, of x's shape and dtype.

    """
    step = x.dtype.type(2. ** (1 - bits))
    one = x.dtype.type(1)
    y = numpy.multiply(x, one / step, out=numpy.empty_like(x))
    numpy.rint(y, out=y)
    y *= step
    return numpy.clip(y, -one, one - step, out=y)


def sqrt_half(dtype):
    """Returns the least number of a float dtype that is at least sqrt(1/2)."""
    root = dtype.type(.5 ** .5)
    if float(root) < .5 ** .5:
        root = numpy.nextafter(root, dtype.type(1))
    return root


def ap2(x):
    """Returns each value's nearest power of two, by logarithm, with its sign.

    ``y = sign(x) 2^round(log2 |x|)``: the switch between two powers lies at
    sqrt(2) times the smaller one. 0 stays 0; so do infinity and NaN.
    Subnormal numbers count as 0.

    Args:
        x (numpy.ndarray): Float array of any shape.

    Returns:
        numpy.ndarray: y, of x's shape and dtype.

    """
    magnitude = numpy.abs(x)
    mantissa, exponent = numpy.frexp(magnitude)  # the mantissa is in [.5, 1)
    exponent -= mantissa < sqrt_half(x.dtype)
    with numpy.errstate(over='ignore'):
        y = numpy.ldexp(x.dtype.type(1), exponent)
    y = numpy.where(magnitude < numpy.finfo(x.dtype).tiny, x.dtype.type(0), y)
    y = numpy.where(numpy.isfinite(x), y, magnitude)
    return numpy.copysign(y, x)


def quantize_log(x, n):
    """Returns values rounded to powers of two of at most 1.

    ``y = clip(ap2(x), -1, 1)``. With ``n``, the magnitudes are 1, 1/2, ...,
    ``2^-(n - 1)``, and 0 where ``|x| < 2^-n``. NaN stays NaN.

    Args:
        x (numpy.ndarray): Float array of any shape.
        n (int): Number of magnitudes; 0: no lower end.

    Returns:
        numpy.ndarray: y, of x's shape and dtype.

    """
    magnitude = numpy.abs(x)
    y = numpy.minimum(ap2(magnitude), x.dtype.type(1))
    if n:
        y = numpy.maximum(y, x.dtype.type(2. ** (1 - n)))
        y = numpy.where(magnitude < x.dtype.type(2. ** -n),
                        x.dtype.type(0), y)
    return numpy.copysign(y, x)


def sign_matrix(W):
    """Returns the signs of weights as a matrix, for products with it.

    Where a factor, too, holds but +-1, the sums are integers, exact in float32
    for rows of up to 2^24 values: however they are computed, they are the
    same.

    Args:
        W (numpy.ndarray): Float weights of shape (M, K). They may change
            afterwards.

    Returns:
        ~kernels.matrix.Matrix: ``binarize(W)``, of W's shape and dtype.

    """
    return Matrix(binarize(W), dot)


def adam(param, grad, m, v, alpha_t, beta1, beta2, eps, eta,
         lower=-numpy.inf, upper=numpy.inf):
    """Updates parameters in place by a step of Adam, then a clip.

    ``m += (1 - beta1) (grad - m)``, ``v += (1 - beta2) (grad^2 - v)``,
    ``param -= eta alpha_t / (sqrt(v) + eps) m``, each operation rounded to
    the dtype of the arrays, in the order that Chainer's Adam has. A NaN stays
    NaN.

    Args:
        param, grad, m, v (numpy.ndarray): Float arrays of one shape and
            dtype; ``param``, ``m`` and ``v`` are updated.
        alpha_t (float): Step size with the bias correction.
        beta1, beta2, eps, eta (float): Chainer's hyperparameters.
        lower, upper (float): Limits of the parameter after the step.

    """
    updated = param, m, v
    if not all(array.flags.c_contiguous for array in updated):
        copies = [numpy.ascontiguousarray(array) for array in updated]
        adam(copies[0], grad, *copies[1:], alpha_t, beta1, beta2, eps, eta,
             lower, upper)
        for array, copy in zip(updated, copies):
            array[...] = copy
        return
    # In the arrays' dtype, so that no operation is done in a wider one.
    alpha_t, beta1_c, beta2_c, eps, eta, lower, upper = (
        param.dtype.type(scalar) for scalar in (
            alpha_t, 1.0 - beta1, 1.0 - beta2, eps, eta, lower, upper))
    # Views, so that the update happens in place.
    param, m, v = param.reshape(-1), m.reshape(-1), v.reshape(-1)
    grad = grad.reshape(-1)
    scratch = numpy.empty(min(_BLOCK, param.size), param.dtype)
    for start in range(0, param.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        p, g, m_, v_ = param[block], grad[block], m[block], v[block]
        t = scratch[:p.size]
        numpy.subtract(g, m_, out=t)
        t *= beta1_c
        m_ += t
        numpy.multiply(g, g, out=t)
        t -= v_
        t *= beta2_c
        v_ += t
        numpy.sqrt(v_, out=t)
        t += eps
        numpy.divide(alpha_t, t, out=t)
        t *= m_
        t *= eta
        p -= t
        numpy.clip(p, lower, upper, out=p)


def shift_adamax(param, grad, m, v, step, beta1, beta2,
                 lower=-numpy.inf, upper=numpy.inf):
    """Updates parameters in place by a step of shift-based AdaMax, and clips.

    ``m += (1 - beta1) (grad - m)``, ``v = max(beta2 v, |grad|)``,
    ``param -= step m ap2(1 / v)``; where v is 0, or subnormal, no step is
    made. A NaN stays NaN.

    Args:
        param, grad, m, v (numpy.ndarray): Float arrays of one shape and
            dtype; ``param``, ``m`` and ``v`` are updated.
        step (float): Step size, a power of two.
        beta1, beta2 (float): Decay rates of m and v.
        lower, upper (float): Limits of the parameter after the step.

    """
    step, beta1_c, beta2, lower, upper, one = (
        param.dtype.type(scalar) for scalar in (
            step, 1.0 - beta1, beta2, lower, upper, 1))
    m += (grad - m) * beta1_c
    v *= beta2
    numpy.maximum(v, numpy.abs(grad), out=v)
    is_zero = v < numpy.finfo(v.dtype).tiny
    inverse = ap2(one / numpy.where(is_zero, one, v))
    param -= m * numpy.where(is_zero, param.dtype.type(0), inverse) * step
    numpy.clip(param, lower, upper, out=param)
