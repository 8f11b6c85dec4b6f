"""Convolutions of a training in plain NumPy: the reference for the others."""
import numpy

from kernels import convolution


def convolution_2d(x, W, window):
    """Returns the two-dimensional convolution of images.

    As in all nets it is a cross-correlation: the window is not turned round.

    Args:
        x (numpy.ndarray): Float images of shape (N, C, height, width).
        W (numpy.ndarray): Weights of shape (O, C / groups, kh, kw), of x's
            dtype.
        window (~kernels.window.Window): How the window moves.

    Returns:
        numpy.ndarray: y of shape (N, O, ``*window.out_size(...)``) and x's
        dtype.

    """
    return convolution.convolution_2d(numpy, x, W, window)


def convolution_2d_gx(gy, W, window, size):
    """Returns the gradient of a convolution with respect to x.

    Args:
        gy (numpy.ndarray): Upstream gradient, of y's shape.
        W, window: See :func:`convolution_2d`.
        size (tuple of int): Height and width of x.

    Returns:
        numpy.ndarray: gx of shape (N, C, height, width) and gy's dtype.

    """
    return convolution.convolution_2d_gx(numpy, gy, W, window, size)


def convolution_2d_gW(x, gy, window, ksize):
    """Returns the gradient of a convolution with respect to W.

    Args:
        x, gy, window: See :func:`convolution_2d`.
        ksize (tuple of int): Height and width of the window.

    Returns:
        numpy.ndarray: gW of shape (O, C / groups, kh, kw) and gy's dtype.

    """
    return convolution.convolution_2d_gW(numpy, x, gy, window, ksize)
