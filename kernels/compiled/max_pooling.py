"""Max pooling by windows of 2 x 2, compiled by Numba.

The loops know the window's size, so that LLVM makes vectors of them. In NumPy
windows of other sizes are no slower. A part of the work are some planes, the
channels of all images.
"""
import numpy

from kernels import numpy_kernels
from kernels.compiled.jit import is_covered, jit
from kernels.compiled.parallel import ELEMENTS, divided
from kernels.cores import n_own


@jit
def _is_more(value, best):
    # True for NaN, but behind another one.
    return (not value <= best) & (best == best)


@divided
@jit
def _max_pooling(start, stop, x, y, index):
    height, width = y.shape[1:]
    for plane in range(start, stop):
        for i in range(height):
            upper, lower = x[plane, 2 * i], x[plane, 2 * i + 1]
            out, places = y[plane, i], index[plane, i]
            for j in range(width):
                best, place = upper[2 * j], numpy.uint8(0)
                is_more = _is_more(upper[2 * j + 1], best)
                best = upper[2 * j + 1] if is_more else best
                place = numpy.uint8(1) if is_more else place
                is_more = _is_more(lower[2 * j], best)
                best = lower[2 * j] if is_more else best
                place = numpy.uint8(2) if is_more else place
                is_more = _is_more(lower[2 * j + 1], best)
                best = lower[2 * j + 1] if is_more else best
                place = numpy.uint8(3) if is_more else place
                out[j] = best
                places[j] = place


@divided
@jit
def _max_pooling_backward(start, stop, gy, index, gx):
    height, width = gy.shape[1:]
    zero = gy.dtype.type(0)
    for plane in range(start, stop):
        for i in range(height):
            upper, lower = gx[plane, 2 * i], gx[plane, 2 * i + 1]
            g, places = gy[plane, i], index[plane, i]
            for j in range(width):
                upper[2 * j] = g[j] if places[j] == 0 else zero
                upper[2 * j + 1] = g[j] if places[j] == 1 else zero
            for j in range(width):
                lower[2 * j] = g[j] if places[j] == 2 else zero
                lower[2 * j + 1] = g[j] if places[j] == 3 else zero
            upper[2 * width:] = 0
            lower[2 * width:] = 0
        gx[plane, 2 * height:] = 0


def _planes(images):
    """Returns images as an array of planes."""
    n, n_channels, *size = images.shape
    return images.reshape(n * n_channels, *size)


def max_pooling_2d(x, ksize):
    """See ``numpy_kernels.max_pooling_2d``."""
    if ksize != (2, 2) or not is_covered(x):
        return numpy_kernels.max_pooling_2d(x, ksize)
    n, n_channels, height, width = x.shape
    y = numpy.empty((n, n_channels, height // 2, width // 2), x.dtype)
    index = numpy.empty(y.shape, numpy.uint8)
    _max_pooling(n * n_channels, n_own(x.size, ELEMENTS),
                 *map(_planes, (x, y, index)))
    return y, index


def max_pooling_2d_backward(gy, index, ksize, size):
    """See ``numpy_kernels.max_pooling_2d_backward``."""
    if (ksize != (2, 2) or not is_covered(gy)
            or not index.flags.c_contiguous):
        return numpy_kernels.max_pooling_2d_backward(gy, index, ksize, size)
    n, n_channels = gy.shape[:2]
    gx = numpy.empty((n, n_channels, *size), gy.dtype)
    _max_pooling_backward(n * n_channels, n_own(gx.size, ELEMENTS),
                          *map(_planes, (gy, index, gx)))
    return gx
