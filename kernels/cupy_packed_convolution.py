"""Convolutions of a packed net on the GPU, as float32 products of signs."""
import cupy
import numpy

from kernels import packed_convolution
from kernels.cupy_bits import pack_signs, unpack_signs


def sign_window(W, thresholds, falling, pool, size):
    """See ``numpy_packed_convolution.sign_window``."""
    return packed_convolution.window(cupy, W, thresholds, falling, pool, size)


def convolve_signs(a, window):
    """See ``numpy_packed_convolution.convolve_signs``."""
    return _convolve(_unpack(a, window.W.shape[1]).transpose(0, 3, 1, 2),
                     window)


# Of one channel, and else the same.
pixel_window = sign_window


def convolve_pixels(x, window):
    """See ``numpy_packed_convolution.convolve_pixels``."""
    return _convolve(x[:, None], window)


def flatten_signs(a, n_channels):
    """See ``numpy_packed_convolution.flatten_signs``."""
    signs = _unpack(a, n_channels)
    return pack_signs(signs.reshape(
        len(a), signs.shape[1] * signs.shape[2] * n_channels))


def _unpack(a, n_channels):
    n, height, width, n_words = a.shape
    signs = unpack_signs(
        a.reshape(n * height * width, n_words), n_channels)
    return signs.reshape(n, height, width, n_channels)


def _pack(bits):
    return pack_signs(bits.astype(numpy.int8) - 1)


def _convolve(x, window):
    return packed_convolution.convolve(
        cupy, _pack, x.astype(numpy.float32), window)
