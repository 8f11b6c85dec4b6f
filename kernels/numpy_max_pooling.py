"""Max pooling of images in plain NumPy: the reference for the others."""
import numpy


def _places(ksize, out_size):
    """Yields the pixels that each place of a window meets, as two slices."""
    (kh, kw), (height, width) = ksize, out_size
    for row in range(kh):
        for column in range(kw):
            yield slice(row, kh * height, kh), slice(column, kw * width, kw)


def _words(array):
    """Returns floats as integers, which 0 and 1 multiply as they are.

    NaN times 0 would be NaN; and a choice by a mask takes ten times as long.
    """
    return array.view(f'u{array.itemsize}')


def max_pooling_2d(x, ksize):
    """Returns the maxima of windows that lie side by side, and their places.

    What does not fill a window at the right and the lower edge is left out.
    Of equal values, as 0 and -0.0 are, the first counts, and NaN counts as
    more than any number, as in Chainer's function on the CPU.

    Args:
        x (numpy.ndarray): Float images of shape (N, C, height, width).
        ksize (tuple of int): Height and width of the window, of at most 256
            pixels.

    Returns:
        tuple: y of shape (N, C, height // ksize[0], width // ksize[1]) and x's
        dtype, and of the same shape the places in the windows, counted row by
        row, as uint8.

    """
    out_size = x.shape[2] // ksize[0], x.shape[3] // ksize[1]
    index = numpy.zeros((*x.shape[:2], *out_size), numpy.uint8)
    for place, (rows, columns) in enumerate(_places(ksize, out_size)):
        pixels = x[:, :, rows, columns]
        if place == 0:
            y = pixels.copy()
            continue
        # True for NaN, but behind another one.
        is_more = ~(pixels <= y)
        is_more &= y == y
        y_words = _words(y)
        y_words += (_words(pixels) - y_words) * is_more
        numpy.maximum(index, is_more * numpy.uint8(place), out=index)
    return y, index


def max_pooling_2d_backward(gy, index, ksize, size):
    """Returns the gradient of a max pooling with respect to x.

    Args:
        gy (numpy.ndarray): Upstream gradient, of y's shape.
        index, ksize: See :func:`max_pooling_2d`.
        size (tuple of int): Height and width of x.

    Returns:
        numpy.ndarray: gx of shape (N, C, height, width) and gy's dtype: gy at
        the maxima, else 0.

    """
    gx = numpy.zeros((*gy.shape[:2], *size), gy.dtype)
    for place, (rows, columns) in enumerate(_places(ksize, gy.shape[2:])):
        numpy.multiply(_words(gy), index == place,
                       out=_words(gx)[:, :, rows, columns])
    return gx
