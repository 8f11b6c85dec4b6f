"""The arithmetic of a training on the GPU, as CuPy's kernels.

The C++ bodies follow the order of the operations in ``numpy_kernels``, and
CUDA's compiler is told not to fuse a multiplication and an addition into one
rounding: then ``binarize``, its backward and ``adam`` give the same bits.
Sums are taken in another order, so that matrix products and batch
normalization are equal within rounding. CuPy's float16 has no arithmetic of
its own but that of float: T(...) rounds, and makes the types agree.

The kernels of a packed net are in ``cupy_bits``, those of estimators and Bop
in ``cupy_study``; they are imported here, so that one module has all kernels
of a backend.
"""
import functools

import cupy
import numpy

from kernels.cupy_bits import (  # noqa: F401
    bitplane_dot, bitplane_sign, pack_signs, tile_pixel_weights, tile_weights,
    unpack_signs, xnor_dot, xnor_sign)
from kernels.cupy_convolution import (  # noqa: F401
    convolution_2d, convolution_2d_gW, convolution_2d_gx)
from kernels.cupy_max_pooling import (  # noqa: F401
    max_pooling_2d, max_pooling_2d_backward)
from kernels.cupy_packed_convolution import (  # noqa: F401
    convolve_pixels, convolve_signs, flatten_signs, pixel_window, sign_window)
from kernels.cupy_study import (  # noqa: F401
    approx_backward, bop, heaviside, quantize_ternary, quantize_unit,
    swish_backward, unit_backward)
from kernels.matrix import Matrix
from kernels.numpy_kernels import dropout_limit, sqrt_half
from kernels.numpy_normalization import axes, n_values, spread

BINARIZE = (
    'T x', 'T y',
    # x itself where it is neither: NaN.
    'y = x >= T(0) ? T(1) : x < T(0) ? T(-1) : x',
    'quantized_net_binarize')

BINARIZE_BACKWARD = (
    'T x, T gy', 'T gx',
    'gx = gy * (x >= T(-1) && x <= T(1) ? T(1) : T(0))',
    'quantized_net_binarize_backward')

NORMALIZE = (
    'T x, T mean, T inv_std, T gamma, T beta', 'T y',
    'y = (x - mean) * inv_std * gamma + beta',
    'quantized_net_normalize')

GGAMMA = (
    'T x, T mean, T inv_std, T gy', 'T ggamma',
    'gy * ((x - mean) * inv_std)', 'a + b', 'ggamma = a', '0',
    'quantized_net_ggamma')

NORMALIZE_BACKWARD = (
    'T x, T mean, T inv_std, T gamma, T gy, T ggamma, T gbeta, T inv_n',
    'T gx',
    '''
    const T x_hat = (x - mean) * inv_std;
    gx = gamma * inv_std * (gy - (x_hat * ggamma + gbeta) * inv_n);
    ''',
    'quantized_net_normalize_backward')

BINARIZE_STOCHASTIC = (
    'T x, uint32 random', 'T y',
    '''
    const float uniform = (float)(random >> 8) * 5.9604644775390625e-8f;
    y = uniform < T(T(x + T(1)) * T(.5)) ? T(1) : x == x ? T(-1) : x;
    ''',
    'quantized_net_binarize_stochastic')

DROPOUT_MASK = (
    'T x, uint64 seed, uint64 limit, T scale', 'T mask',
    '''
    unsigned long long z = seed + (i + 1ull) * 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    mask = z >= limit ? scale : T(0);
    ''',
    'quantized_net_dropout_mask')

QUANTIZE_LINEAR = (
    'T x, T step', 'T y',
    '''
    const T q = T(rint(T(x * T(T(1) / step))) * step);
    const T highest = T(T(1) - step);
    y = q < T(-1) ? T(-1) : q > highest ? highest : q;
    ''',
    'quantized_net_quantize_linear')

# root is the least number of at least sqrt(1/2), tiny the least normal one.
_NEAREST_POWER = '''
template <typename T>
__device__ T quantized_net_nearest_power(T x, T root, T tiny) {
    if (x < tiny || isinf(x) || isnan(x)) {
        return x < tiny ? T(0) : x;
    }
    int exponent;
    const T mantissa = frexp(x, &exponent);
    return T(ldexp(T(1), exponent - (mantissa < root)));
}
'''

AP2 = (
    'T x, T root, T tiny', 'T y',
    'y = copysign(quantized_net_nearest_power(T(abs(x)), root, tiny), x)',
    'quantized_net_ap2')

QUANTIZE_LOG = (
    'T x, T least, T zero_below, T root, T tiny', 'T y',
    '''
    const T magnitude = T(abs(x));
    T q = quantized_net_nearest_power(magnitude, root, tiny);
    q = q > T(1) ? T(1) : q < least ? least : q;
    y = copysign(magnitude < zero_below ? T(0) : q, x);
    ''',
    'quantized_net_quantize_log')

SHIFT_ADAMAX = (
    'T grad, T step, T beta1_c, T beta2, T lower, T upper, T root, T tiny',
    'T param, T m, T v',
    '''
    m += (grad - m) * beta1_c;
    v *= beta2;
    const T magnitude = abs(grad);
    v = v >= magnitude || v != v ? v : magnitude;
    const T inverse = v < tiny ? T(0)
        : quantized_net_nearest_power(T(1) / v, root, tiny);
    T p = param - m * inverse * step;
    param = p < lower ? lower : p > upper ? upper : p;
    ''',
    'quantized_net_shift_adamax')

ADAM = (
    'T grad, T alpha_t, T beta1_c, T beta2_c, T eps, T eta, T lower, T upper',
    'T param, T m, T v',
    '''
    m += beta1_c * (grad - m);
    v += beta2_c * (grad * grad - v);
    T p = param - eta * (alpha_t / (sqrt(v) + eps) * m);
    param = p < lower ? lower : p > upper ? upper : p;
    ''',
    'quantized_net_adam')


# Each operation is rounded by itself, as it is in NumPy.
_OPTIONS = ('--fmad=false',)


@functools.cache
def _kernel(definition):
    return cupy.ElementwiseKernel(*definition, preamble=_NEAREST_POWER,
                                  options=_OPTIONS)


@functools.cache
def _reduction(definition):
    return cupy.ReductionKernel(*definition, options=_OPTIONS)


def _power_limits(dtype):
    return sqrt_half(dtype), numpy.finfo(dtype).tiny


def dot(a, b):
    """See ``numpy_kernels.dot``."""
    return a.dot(b)


def binarize(x):
    """See ``numpy_kernels.binarize``."""
    return _kernel(BINARIZE)(x)


def binarize_backward(x, gy):
    """See ``numpy_kernels.binarize_backward``."""
    return _kernel(BINARIZE_BACKWARD)(x, gy)


def normalize(x, gamma, beta, mean, inv_std):
    """See ``numpy_kernels.normalize``."""
    return _kernel(NORMALIZE)(
        x, *(spread(vector, x) for vector in (mean, inv_std, gamma, beta)))


def batch_normalization(x, gamma, beta, eps):
    """See ``numpy_kernels.batch_normalization``."""
    mean = x.mean(axis=axes(x))
    var = x.var(axis=axes(x))
    inv_std = cupy.reciprocal(cupy.sqrt(var + x.dtype.type(eps)))
    return normalize(x, gamma, beta, mean, inv_std), mean, var, inv_std


def batch_normalization_backward(x, gamma, gy, mean, inv_std):
    """See ``numpy_kernels.batch_normalization_backward``."""
    mean, inv_std, gamma = (spread(v, x) for v in (mean, inv_std, gamma))
    ggamma = _reduction(GGAMMA)(x, mean, inv_std, gy, axis=axes(x))
    gbeta = gy.sum(axis=axes(x))
    gx = _kernel(NORMALIZE_BACKWARD)(
        x, mean, inv_std, gamma, gy, spread(ggamma, x), spread(gbeta, x),
        x.dtype.type(1. / n_values(x)))
    return gx, ggamma, gbeta


def binarize_stochastic(x, random):
    """See ``numpy_kernels.binarize_stochastic``."""
    return _kernel(BINARIZE_STOCHASTIC)(x, random)


def dropout_mask(x, ratio, seed):
    """See ``numpy_kernels.dropout_mask``."""
    return _kernel(DROPOUT_MASK)(
        x, numpy.uint64(seed), dropout_limit(ratio),
        x.dtype.type(1 / (1 - ratio)))


def quantize_linear(x, bits):
    """See ``numpy_kernels.quantize_linear``."""
    return _kernel(QUANTIZE_LINEAR)(x, x.dtype.type(2. ** (1 - bits)))


def ap2(x):
    """See ``numpy_kernels.ap2``."""
    return _kernel(AP2)(x, *_power_limits(x.dtype))


def quantize_log(x, n):
    """See ``numpy_kernels.quantize_log``."""
    limits = (2. ** (1 - n), 2. ** -n) if n else (0, 0)
    return _kernel(QUANTIZE_LOG)(x, *map(x.dtype.type, limits),
                                 *_power_limits(x.dtype))


def count_outside(x):
    """See ``numpy_kernels.count_outside``; returns an array on the device."""
    return x.size - cupy.count_nonzero(cupy.abs(x) <= 1)


def sign_matrix(W):
    """See ``numpy_kernels.sign_matrix``."""
    return Matrix(binarize(W), dot)


def adam(param, grad, m, v, alpha_t, beta1, beta2, eps, eta,
         lower=-numpy.inf, upper=numpy.inf):
    """See ``numpy_kernels.adam``."""
    scalars = [param.dtype.type(s) for s in (
        alpha_t, 1.0 - beta1, 1.0 - beta2, eps, eta, lower, upper)]
    _kernel(ADAM)(grad, *scalars, param, m, v)


def shift_adamax(param, grad, m, v, step, beta1, beta2,
                 lower=-numpy.inf, upper=numpy.inf):
    """See ``numpy_kernels.shift_adamax``."""
    scalars = [param.dtype.type(s) for s in (
        step, 1.0 - beta1, beta2, lower, upper)]
    _kernel(SHIFT_ADAMAX)(grad, *scalars, *_power_limits(param.dtype),
                          param, m, v)
