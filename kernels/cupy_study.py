"""Gradients of rounding, other rules of it, and Bop, as CuPy's kernels.

They follow ``numpy_study`` as ``cupy_kernels`` does ``numpy_kernels``, and
give the same bits; but the sign-swish, whose exponential function is CUDA's,
is equal within rounding.
"""
import functools

import cupy

from kernels.numpy_study import SWISH_BETA, SWISH_LIMIT

UNIT_BACKWARD = (
    'T x, T gy', 'T gx',
    'gx = gy * (x >= T(0) && x <= T(1) ? T(1) : T(0))',
    'quantized_net_unit_backward')

APPROX_BACKWARD = (
    'T x, T gy', 'T gx',
    '''
    const T half_ = T(T(1) - T(abs(x)));
    gx = gy * (half_ > T(0) ? T(half_ + half_) : T(0));
    ''',
    'quantized_net_approx_backward')

# A comparison is false for NaN, which so becomes the limit, as by fmin.
SWISH_BACKWARD = (
    'T x, T gy, T beta, T limit, T scale', 'T gx',
    '''
    const T magnitude = T(abs(x));
    const T a = T((magnitude < limit ? magnitude : limit) * beta);
    const T e = T(exp(-a));
    const T sum = T(T(1) + e);
    const T tanh_ = T(T(T(1) - e) / sum);
    const T quotient = T(e / T(sum * sum));
    gx = gy * T(T(scale * quotient) * T(T(2) - T(a * tanh_)));
    ''',
    'quantized_net_swish_backward')

HEAVISIDE = (
    'T x', 'T y',
    'y = x > T(0) ? T(1) : x <= T(0) ? T(0) : x',
    'quantized_net_heaviside')

QUANTIZE_TERNARY = (
    'T x, T threshold', 'T y',
    '''
    const T sign = x > threshold ? T(1) : x < -threshold ? T(-1) : T(0);
    y = x == x ? sign : x;
    ''',
    'quantized_net_quantize_ternary')

QUANTIZE_UNIT = (
    'T x, T n', 'T y',
    '''
    const T inside = x > T(1) ? T(1) : x > T(0) ? x : T(0);
    y = x == x ? T(T(rint(T(inside * n))) / n) : x;
    ''',
    'quantized_net_quantize_unit')

BOP = (
    'T grad, T gamma, T threshold', 'T param, T m',
    '''
    m += T(T(grad - m) * gamma);
    const T sign = param >= T(0) ? T(1) : param < T(0) ? T(-1) : param;
    param = T(sign * m) > threshold ? T(-sign) : sign;
    ''',
    'quantized_net_bop')


@functools.cache
def _kernel(definition):
    # Each operation is rounded by itself, as it is in NumPy.
    return cupy.ElementwiseKernel(*definition, options=('--fmad=false',))


def unit_backward(x, gy):
    """See ``numpy_study.unit_backward``."""
    return _kernel(UNIT_BACKWARD)(x, gy)


def approx_backward(x, gy):
    """See ``numpy_study.approx_backward``."""
    return _kernel(APPROX_BACKWARD)(x, gy)


def swish_backward(x, gy):
    """See ``numpy_study.swish_backward``."""
    return _kernel(SWISH_BACKWARD)(x, gy, *map(
        x.dtype.type, (SWISH_BETA, SWISH_LIMIT, 2 * SWISH_BETA)))


def heaviside(x):
    """See ``numpy_study.heaviside``."""
    return _kernel(HEAVISIDE)(x)


def quantize_ternary(x, threshold):
    """See ``numpy_study.quantize_ternary``."""
    return _kernel(QUANTIZE_TERNARY)(x, x.dtype.type(threshold))


def quantize_unit(x, n):
    """See ``numpy_study.quantize_unit``."""
    return _kernel(QUANTIZE_UNIT)(x, x.dtype.type(n))


def bop(param, grad, m, gamma, threshold):
    """See ``numpy_study.bop``."""
    _kernel(BOP)(grad, *map(param.dtype.type, (gamma, threshold)), param, m)
