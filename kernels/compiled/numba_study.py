"""Gradients of rounding, other rules of it, and Bop, by Numba.

The results equal those of ``numpy_study`` bit for bit, as those of
``numba_kernels`` do. The exponential function is NumPy's here, too: another
library's differs in the last bit.
"""
import numpy

from kernels import numpy_study
from kernels.compiled.jit import is_covered, jit
from kernels.compiled.parallel import divided, elementwise


@divided
@jit
def _unit_backward(start, stop, x, gy, gx):
    x, gy, gx = x[start:stop], gy[start:stop], gx[start:stop]
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        gx[i] = gy[i] * (one if x[i] >= 0 and x[i] <= 1 else zero)


@divided
@jit
def _approx_backward(start, stop, x, gy, gx):
    x, gy, gx = x[start:stop], gy[start:stop], gx[start:stop]
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        half = one - abs(x[i])
        gx[i] = gy[i] * (half + half if half > 0 else zero)


@divided
@jit
def _swish_backward(start, stop, a, e, gy, gx, scale):
    a, e, gy, gx = a[start:stop], e[start:stop], gy[start:stop], gx[start:stop]
    one, two = a.dtype.type(1), a.dtype.type(2)
    for i in range(a.size):
        tanh = (one - e[i]) / (one + e[i])
        quotient = e[i] / ((one + e[i]) * (one + e[i]))
        gx[i] = gy[i] * (scale * quotient * (two - a[i] * tanh))


@divided
@jit
def _heaviside(start, stop, x, y):
    x, y = x[start:stop], y[start:stop]
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        y[i] = one if x[i] > 0 else zero if x[i] <= 0 else x[i]


@divided
@jit
def _quantize_ternary(start, stop, x, y, threshold):
    x, y = x[start:stop], y[start:stop]
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        sign = (one if x[i] > threshold else -one if x[i] < -threshold
                else zero)
        y[i] = sign if x[i] == x[i] else x[i]


@divided
@jit
def _quantize_unit(start, stop, x, y, n):
    x, y = x[start:stop], y[start:stop]
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        inside = one if x[i] > one else x[i] if x[i] > 0 else zero
        y[i] = numpy.rint(inside * n) / n if x[i] == x[i] else x[i]


@divided
@jit
def _bop(start, stop, param, grad, m, gamma, threshold):
    param, grad, m = param[start:stop], grad[start:stop], m[start:stop]
    one = param.dtype.type(1)
    for i in range(param.size):
        m_i = m[i] + (grad[i] - m[i]) * gamma
        p = param[i]
        sign = one if p >= 0 else -one if p < 0 else p
        m[i] = m_i
        param[i] = -sign if sign * m_i > threshold else sign


def unit_backward(x, gy):
    """See ``numpy_study.unit_backward``."""
    if not is_covered(x, gy):
        return numpy_study.unit_backward(x, gy)
    gx = numpy.empty_like(gy)
    elementwise(_unit_backward, x, gy, gx)
    return gx


def approx_backward(x, gy):
    """See ``numpy_study.approx_backward``."""
    if not is_covered(x, gy):
        return numpy_study.approx_backward(x, gy)
    gx = numpy.empty_like(gy)
    elementwise(_approx_backward, x, gy, gx)
    return gx


def swish_backward(x, gy):
    """See ``numpy_study.swish_backward``."""
    if not is_covered(x, gy):
        return numpy_study.swish_backward(x, gy)
    gx = numpy.empty_like(gy)
    elementwise(_swish_backward, *numpy_study.swish_exponential(x), gy, gx,
                x.dtype.type(2 * numpy_study.SWISH_BETA))
    return gx


def heaviside(x):
    """See ``numpy_study.heaviside``."""
    if not is_covered(x):
        return numpy_study.heaviside(x)
    y = numpy.empty_like(x)
    elementwise(_heaviside, x, y)
    return y


def quantize_ternary(x, threshold):
    """See ``numpy_study.quantize_ternary``."""
    if not is_covered(x):
        return numpy_study.quantize_ternary(x, threshold)
    y = numpy.empty_like(x)
    elementwise(_quantize_ternary, x, y, x.dtype.type(threshold))
    return y


def quantize_unit(x, n):
    """See ``numpy_study.quantize_unit``."""
    if not is_covered(x):
        return numpy_study.quantize_unit(x, n)
    y = numpy.empty_like(x)
    elementwise(_quantize_unit, x, y, x.dtype.type(n))
    return y


def bop(param, grad, m, gamma, threshold):
    """See ``numpy_study.bop``."""
    if not is_covered(param, grad, m):
        numpy_study.bop(param, grad, m, gamma, threshold)
        return
    # In the arrays' dtype, so that no operation is done in a wider one.
    elementwise(_bop, param, grad, m,
                *map(param.dtype.type, (gamma, threshold)))
