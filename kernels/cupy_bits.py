"""The arithmetic of a packed net on the GPU, in CUDA's C++.

The results are those of ``numpy_bits``. One thread computes one value of a
result, neighbouring threads neighbouring values; they read the weights in
words that lie side by side.
"""
import functools

import cupy
import numpy

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

# planes has the shape (n_rows, n_words, 8): the last index is that of the bit
# of a pixel.
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
    """Launches a kernel for ``size`` values; integers are passed as int64."""
    if size:
        blocks = min(-(-size // _THREADS), _MAX_BLOCKS)
        _raw_kernel(code, f'quantized_net_{name}')((blocks,), (_THREADS,), (
            *(numpy.int64(a) if isinstance(a, int) else a for a in args),))


def _pack(bits):
    """Returns the rows of a boolean array as rows of words."""
    bits = cupy.ascontiguousarray(bits)
    n_rows, n_bits = bits.shape
    n_words = -(-n_bits // 64)
    words = cupy.empty((n_rows, n_words), numpy.uint64)
    _launch(PACK, 'pack', words.size, bits, words, n_rows, n_bits, n_words)
    return words


def pack_signs(x):
    """See ``numpy_bits.pack_signs``."""
    return _pack(x >= 0)


def unpack_signs(words, n):
    """See ``numpy_bits.unpack_signs``."""
    words = cupy.ascontiguousarray(words)
    signs = cupy.empty((len(words), n), numpy.int8)
    _launch(UNPACK, 'unpack', signs.size, words, signs, len(words), n,
            words.shape[1])
    return signs


def tile_weights(words):
    """See ``numpy_bits.tile_weights``."""
    m, k = words.shape
    n_tiles = -(-m // 64)
    padded = cupy.zeros((64 * n_tiles, k), numpy.uint64)
    padded[:m] = words
    return cupy.ascontiguousarray(
        padded.reshape(n_tiles, 64, k).transpose(0, 2, 1))


# A GPU's threads count whole words, and read those of 64 units side by side.
tile_pixel_weights = tile_weights


def xnor_dot(a, tiles, n_in, n_out):
    """See ``numpy_bits.xnor_dot``."""
    a, tiles = cupy.ascontiguousarray(a), cupy.ascontiguousarray(tiles)
    y = cupy.empty((len(a), n_out), numpy.int32)
    _launch(XNOR_DOT, 'xnor_dot', y.size, a, tiles, y, len(a), a.shape[1],
            numpy.int32(n_in), n_out)
    return y


def xnor_sign(a, tiles, n_in, thresholds, falling):
    """See ``numpy_bits.xnor_sign``."""
    y = xnor_dot(a, tiles, n_in, len(thresholds))
    return _pack(y >= thresholds) ^ falling


def bitplane_dot(x, order, tiles, n_out):
    """See ``numpy_bits.bitplane_dot``."""
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
    """See ``numpy_bits.bitplane_sign``."""
    y = bitplane_dot(x, order, tiles, len(thresholds))
    return _pack(y >= thresholds) ^ falling
