"""Convolutions of a training on the GPU, as matrix products."""
import cupy

from kernels import convolution


def convolution_2d(x, W, window):
    """See ``numpy_kernels.convolution_2d``."""
    return convolution.convolution_2d(cupy, x, W, window)


def convolution_2d_gx(gy, W, window, size):
    """See ``numpy_kernels.convolution_2d_gx``."""
    return convolution.convolution_2d_gx(cupy, gy, W, window, size)


def convolution_2d_gW(x, gy, window, ksize):
    """See ``numpy_kernels.convolution_2d_gW``."""
    return convolution.convolution_2d_gW(cupy, x, gy, window, ksize)
