"""What all backends know of the convolutions of a packed net.

An image of +1 and -1 lies in memory pixel by pixel, row by row, each pixel as
the words of its channels (see ``numpy_bits``). Windows have an odd height and
width, move by one pixel, and see zeros around the image, so that an image
keeps its size. At the border fewer values count: a window whose middle is in
row y is in one of as many classes as the window has rows, see
:func:`border_classes`, and likewise for its column. Each class has thresholds
of its own.

Here are the functions that NumPy and CuPy share.
"""
import typing

import numpy

from kernels import convolution
from kernels.window import Window

# Height and width of a window at most: the sums of its pixels fit 16 bits.
MAX_KSIZE = 11

# Channels of a convolution at most: limits by class take up to 121 numbers for
# one, where its weights may be one word.
MAX_CHANNELS = 1 << 14


class PackedWindow(typing.NamedTuple):
    """Convolution, threshold and pooling, as NumPy and CuPy take it."""

    W: object  # int8 +1 and -1 (O, C, kh, kw)
    thresholds: object  # int32 (O,) or (kh, kw, O)
    rows: object  # int64 classes (height, 1)
    columns: object  # int64 classes (1, width)
    falling: object  # uint64 words (ceil(O / 64),)
    pool: int


def border_classes(n, k):
    """Returns the class of each of n rows of an image.

    Windows of k rows with the middle in rows of one class have the same rows
    inside the image.

    Returns:
        numpy.ndarray: Integers from 0 to k - 1, of shape (n,).

    """
    pad, at = k // 2, numpy.arange(n)
    return numpy.minimum(at, pad) + numpy.maximum(at - (n - 1 - pad), 0)


def rows_inside(n, k):
    """Returns which rows of a window are inside an image of n rows.

    Returns:
        numpy.ndarray: Booleans of shape (classes, k); of a class without a
        row, all are true.

    """
    rows = numpy.arange(n)[:, None] + numpy.arange(k) - k // 2
    inside = numpy.ones((k, k), bool)
    inside[border_classes(n, k)] = (rows >= 0) & (rows < n)
    return inside


def window(xp, W, thresholds, falling, pool, size):
    """See ``numpy_packed_convolution.sign_window``; xp is NumPy or CuPy."""
    rows, columns = (xp.asarray(border_classes(*pair))
                     for pair in zip(size, W.shape[2:]))
    return PackedWindow(
        W, thresholds, rows[:, None], columns[None], falling, pool)


def convolve(xp, pack, x, window):
    """Returns the signs of a convolution, pooled, in bits.

    Sums of +-1 and of +-pixels are integers that float32 holds, in any order.

    Args:
        xp (module): NumPy or CuPy.
        pack (callable): Packs rows of booleans into words.
        x (array): float32 images of shape (N, C, height, width).
        window (PackedWindow): The convolution.

    """
    W, thresholds, rows, columns, falling, pool = window
    n, _, height, width = x.shape
    n_out, _, kh, kw = W.shape
    s = convolution.convolution_2d(
        xp, x, W.astype(numpy.float32), Window(pad=(kh // 2, kw // 2)))
    if thresholds.ndim > 1:
        thresholds = thresholds[rows, columns]  # (height, width, O)
    reach = s.transpose(0, 2, 3, 1) >= thresholds  # (N, height, width, O)
    # The greatest sum reaches a threshold where any of them does.
    height, width = height // pool, width // pool
    reach = reach[:, :height * pool, :width * pool].reshape(
        n, height, pool, width, pool, n_out).any(axis=(2, 4))
    words = pack(reach.reshape(n * height * width, n_out))
    return words.reshape(n, height, width, words.shape[1]) ^ falling
