"""The kernels on the GPU, as CuPy's elementwise and reduction kernels.

The C++ bodies follow the order of the operations in ``numpy_kernels``, and
CUDA's compiler is told not to fuse a multiplication and an addition into one
rounding: then ``binarize``, its backward and ``adam`` give the same bits.
Sums are taken in another order, so that matrix products and batch
normalization are equal within rounding. CuPy's float16 has no arithmetic of
its own but that of float: T(...) rounds, and makes the types agree.
"""
import functools

import cupy
import numpy

from kernels.matrix import Matrix
from kernels.numpy_kernels import dropout_limit, sqrt_half

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


def batch_normalization(x, gamma, beta, eps):
    """See ``numpy_kernels.batch_normalization``."""
    mean = x.mean(axis=0)
    var = x.var(axis=0)
    inv_std = cupy.reciprocal(cupy.sqrt(var + x.dtype.type(eps)))
    y = _kernel(NORMALIZE)(x, mean, inv_std, gamma, beta)
    return y, mean, var, inv_std


def batch_normalization_backward(x, gamma, gy, mean, inv_std):
    """See ``numpy_kernels.batch_normalization_backward``."""
    ggamma = _reduction(GGAMMA)(x, mean, inv_std, gy, axis=0)
    gbeta = gy.sum(axis=0)
    gx = _kernel(NORMALIZE_BACKWARD)(
        x, mean, inv_std, gamma, gy, ggamma, gbeta,
        x.dtype.type(1. / len(x)))
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
    """See ``numpy_kernels.count_outside``; a scalar on the device."""
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


# Kernels of the packed network; see numpy_kernels for what they compute. One
# thread computes one value of the result, neighbouring threads neighbouring
# ones; they read the weights in words that lie side by side.

PACK = r'''
extern "C" __global__ void quantized_net_pack(
        const bool* bits, unsigned long long* words, const long long n_rows,
        const long long n_bits, const long long n_words) {
    const long long size = n_rows * n_words;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
            i < size; i += step) {
        const long long first = i % n_words * 64;
        const bool* row = bits + i / n_words * n_bits;
        unsigned long long word = 0;
        for (int j = 0; j < 64 && first + j < n_bits; ++j) {
            word |= (unsigned long long)row[first + j] << j;
        }
        words[i] = word;
    }
}
'''

UNPACK = r'''
extern "C" __global__ void quantized_net_unpack(
        const unsigned long long* words, signed char* signs,
        const long long n_rows, const long long n_bits,
        const long long n_words) {
    const long long size = n_rows * n_bits;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
            i < size; i += step) {
        const long long j = i % n_bits;
        signs[i] = words[i / n_bits * n_words + j / 64] >> (j % 64) & 1
            ? 1 : -1;
    }
}
'''

XNOR_DOT = r'''
extern "C" __global__ void quantized_net_xnor_dot(
        const unsigned long long* a, const unsigned long long* tiles, int* y,
        const long long n_rows, const long long n_words, const int n_in,
        const long long n_out) {
    const long long size = n_rows * n_out;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
            i < size; i += step) {
        const long long unit = i % n_out;
        const unsigned long long* row = a + i / n_out * n_words;
        const unsigned long long* w =
            tiles + unit / 64 * n_words * 64 + unit % 64;
        int differing = 0;
        for (long long k = 0; k < n_words; ++k) {
            differing += __popcll(row[k] ^ w[k * 64]);
        }
        y[i] = n_in - 2 * differing;
    }
}
'''

# planes: words of shape (n_rows, n_words, 8), bit n of the pixels at n.
BITPLANES = r'''
extern "C" __global__ void quantized_net_bitplanes(
        const unsigned char* x, const long long* order,
        unsigned long long* planes, const long long n_rows,
        const long long n_in, const long long n_words) {
    const long long size = n_rows * n_words;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
            i < size; i += step) {
        const long long first = i % n_words * 64;
        const unsigned char* row = x + i / n_words * n_in;
        unsigned long long words[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        for (int j = 0; j < 64 && first + j < n_in; ++j) {
            const long long at = first + j;
            const unsigned long long pixel =
                row[order[at / 4] * 4 + at % 4];
            for (int n = 0; n < 8; ++n) {
                words[n] |= (pixel >> n & 1) << j;
            }
        }
        for (int n = 0; n < 8; ++n) {
            planes[i * 8 + n] = words[n];
        }
    }
}
'''

BITPLANE_DOT = r'''
extern "C" __global__ void quantized_net_bitplane_dot(
        const unsigned long long* planes, const unsigned long long* tiles,
        int* y, const long long n_rows, const long long n_words,
        const long long n_out) {
    const long long size = n_rows * n_out;
    const long long step = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
            i < size; i += step) {
        const long long unit = i % n_out;
        const unsigned long long* row = planes + i / n_out * n_words * 8;
        const unsigned long long* w =
            tiles + unit / 64 * n_words * 64 + unit % 64;
        int sum = 0;
        for (long long k = 0; k < n_words; ++k) {
            const unsigned long long w_k = w[k * 64];
            for (int n = 0; n < 8; ++n) {
                const unsigned long long x_kn = row[k * 8 + n];
                sum += (2 * __popcll(x_kn & w_k) - __popcll(x_kn)) << n;
            }
        }
        y[i] = sum;
    }
}
'''

_THREADS = 256
_MAX_BLOCKS = 1 << 16


@functools.cache
def _raw_kernel(code, name):
    return cupy.RawKernel(code, name)


def _launch(code, name, size, *args):
    if size:
        blocks = min(-(-size // _THREADS), _MAX_BLOCKS)
        _raw_kernel(code, f'quantized_net_{name}')((blocks,), (_THREADS,), (
            *(numpy.int64(a) if isinstance(a, int) else a for a in args),))


def _pack(bits):
    bits = cupy.ascontiguousarray(bits)
    n_rows, n_bits = bits.shape
    n_words = -(-n_bits // 64)
    words = cupy.empty((n_rows, n_words), numpy.uint64)
    _launch(PACK, 'pack', words.size, bits, words, n_rows, n_bits, n_words)
    return words


def pack_signs(x):
    """See ``numpy_kernels.pack_signs``."""
    return _pack(x >= 0)


def unpack_signs(words, n):
    """See ``numpy_kernels.unpack_signs``."""
    words = cupy.ascontiguousarray(words)
    signs = cupy.empty((len(words), n), numpy.int8)
    _launch(UNPACK, 'unpack', signs.size, words, signs, len(words), n,
            words.shape[1])
    return signs


def tile_weights(words):
    """See ``numpy_kernels.tile_weights``."""
    m, k = words.shape
    n_tiles = -(-m // 64)
    padded = cupy.zeros((64 * n_tiles, k), numpy.uint64)
    padded[:m] = words
    return cupy.ascontiguousarray(
        padded.reshape(n_tiles, 64, k).transpose(0, 2, 1))


# A GPU's threads count whole words, and read those of 64 units side by side.
tile_pixel_weights = tile_weights


def xnor_dot(a, tiles, n_in, n_out):
    """See ``numpy_kernels.xnor_dot``."""
    a, tiles = cupy.ascontiguousarray(a), cupy.ascontiguousarray(tiles)
    y = cupy.empty((len(a), n_out), numpy.int32)
    _launch(XNOR_DOT, 'xnor_dot', y.size, a, tiles, y, len(a), a.shape[1],
            numpy.int32(n_in), n_out)
    return y


def xnor_sign(a, tiles, n_in, thresholds, falling):
    """See ``numpy_kernels.xnor_sign``."""
    y = xnor_dot(a, tiles, n_in, len(thresholds))
    return _pack(y >= thresholds) ^ falling


def bitplane_dot(x, order, tiles, n_out):
    """See ``numpy_kernels.bitplane_dot``."""
    missing = -x.shape[1] % 4
    if missing:
        x = cupy.pad(x, ((0, 0), (0, missing)))
    x, tiles = cupy.ascontiguousarray(x), cupy.ascontiguousarray(tiles)
    n_rows, n_in = x.shape
    n_words = tiles.shape[1]
    planes = cupy.empty((n_rows, n_words, 8), numpy.uint64)
    _launch(BITPLANES, 'bitplanes', n_rows * n_words, x, order, planes,
            n_rows, n_in, n_words)
    y = cupy.empty((n_rows, n_out), numpy.int32)
    _launch(BITPLANE_DOT, 'bitplane_dot', y.size, planes, tiles, y, n_rows,
            n_words, n_out)
    return y


def bitplane_sign(x, order, tiles, thresholds, falling):
    """See ``numpy_kernels.bitplane_sign``."""
    y = bitplane_dot(x, order, tiles, len(thresholds))
    return _pack(y >= thresholds) ^ falling
