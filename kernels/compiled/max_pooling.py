"""Max pooling of images, compiled by Numba; a part of the work are planes.

A plane is a channel of an image. The usual window of 2 x 2 has loops of its
own, whose steps LLVM knows: they become vectors.
"""
import numpy

from kernels import numpy_kernels
from kernels.compiled.jit import is_covered, jit
from kernels.compiled.parallel import ELEMENTS, divided
from kernels.cores import n_own


@jit
def _is_more(value, best):
    # True for NaN, but behind another one; no branches, so that there can be
    # vectors.
    return (not value <= best) & (best == best)


@divided
@jit
def _max_pooling_2_by_2(start, stop, x, y, index):
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
def _max_pooling(start, stop, x, kh, kw, y, index):
    height, width = y.shape[1:]
    for plane in range(start, stop):
        for i in range(height):
            out, places = y[plane, i], index[plane, i]
            for j in range(width):
                out[j] = x[plane, kh * i, kw * j]
                places[j] = 0
            for place in range(1, kh * kw):
                row = x[plane, kh * i + place // kw, place % kw:]
                for j in range(width):
                    if _is_more(row[kw * j], out[j]):
                        out[j] = row[kw * j]
                        places[j] = place


@divided
@jit
def _max_pooling_2_by_2_backward(start, stop, gy, index, gx):
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


@divided
@jit
def _max_pooling_backward(start, stop, gy, index, kh, kw, gx):
    height, width = gy.shape[1:]
    gx[start:stop] = 0
    for plane in range(start, stop):
        for i in range(height):
            for j in range(width):
                place = index[plane, i, j]
                gx[plane, kh * i + place // kw, kw * j + place % kw] = (
                    gy[plane, i, j])


def _planes(images):
    """Returns images as an array of planes."""
    n, n_channels, *size = images.shape
    return images.reshape(n * n_channels, *size)


def max_pooling_2d(x, ksize):
    """See ``numpy_kernels.max_pooling_2d``."""
    if not is_covered(x):
        return numpy_kernels.max_pooling_2d(x, ksize)
    n, n_channels, height, width = x.shape
    y = numpy.empty((n, n_channels, height // ksize[0], width // ksize[1]),
                    x.dtype)
    index = numpy.empty(y.shape, numpy.uint8)
    planes = map(_planes, (y, index))
    n_parts = n_own(x.size, ELEMENTS)
    if ksize == (2, 2):
        _max_pooling_2_by_2(n * n_channels, n_parts, _planes(x), *planes)
    else:
        _max_pooling(n * n_channels, n_parts, _planes(x), *ksize, *planes)
    return y, index


def max_pooling_2d_backward(gy, index, ksize, size):
    """See ``numpy_kernels.max_pooling_2d_backward``."""
    if not (is_covered(gy) and index.flags.c_contiguous):
        return numpy_kernels.max_pooling_2d_backward(gy, index, ksize, size)
    n, n_channels = gy.shape[:2]
    gx = numpy.empty((n, n_channels, *size), gy.dtype)
    n_parts = n_own(gx.size, ELEMENTS)
    planes = map(_planes, (gy, index))
    if ksize == (2, 2):
        _max_pooling_2_by_2_backward(
            n * n_channels, n_parts, *planes, _planes(gx))
    else:
        _max_pooling_backward(
            n * n_channels, n_parts, *planes, *ksize, _planes(gx))
    return gx
