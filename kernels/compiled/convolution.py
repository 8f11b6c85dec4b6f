"""Convolutions of a training in few passes over memory, compiled by Numba.

The images of a batch are copied to a grid (see ``convolution_grid``), some at
a time, and what is computed of them from a grid. The sums of real numbers are
ordered otherwise than NumPy's, and contracted to fused multiply-adds, as those
of a BLAS library are; sums of integers are exact. A number that is not finite
may reach the whole gradient of its channel's weights: the zeros between the
rows are multiplied as well. Signs are convolved by ``sign_convolution``.
"""
import math

import numpy

from kernels import numpy_convolution
from kernels.compiled import sign_convolution
from kernels.compiled.convolution_grid import (
    copy_from_grid, copy_to_grid, make_grid, make_offsets, n_vectors)
from kernels.compiled.convolution_intrinsics import (
    CHANNELS, MOST_VECTORS, VALUES, add_products, block_of_most,
    block_of_one_less, block_of_two_less, n_sums)
from kernels.compiled.float_vectors import n_lanes
from kernels.compiled.jit import jit
from kernels.compiled.parallel import divided
from kernels.cores import n_own

# Bytes of the images that are in a grid, and their outputs': they stay in the
# second-level cache.
_BYTES = 1 << 17

# Parts of the work on gradients of weights: parts of a batch, which are summed
# apart, so that the sums do not depend on the number of cores. Where those
# would be more values than these, they are fewer, and there are parts of the
# output's channels.
_PARTS = 16
_SUMS = 1 << 20

# Least multiplications that a core is given: some 20 us.
_WORK = 1 << 21


@divided
@jit
def _convolve(start, stop, x, weights, offsets, y, grid, lanes):
    """Writes the convolutions of some images to y."""
    n_groups, n_blocks, n, _ = weights.shape
    n_in, n_out = x.shape[1] // n_groups, y.shape[1] // n_groups
    values = numpy.zeros(x.shape[1] * grid.channel, x.dtype)
    out = numpy.empty(n_blocks * CHANNELS * grid.channel, x.dtype)
    flat_weights = weights.reshape(-1)
    for image in range(start, stop, grid.n_images):
        n_images = min(grid.n_images, stop - image)
        copy_to_grid(x, image, n_images, values, grid)
        n_all = n_vectors(n_images, y.shape[2:], grid, lanes)
        n_parts = (n_all + MOST_VECTORS - 1) // MOST_VECTORS
        for group in range(n_groups):
            for part in range(n_parts):
                vector = n_all * part // n_parts
                n_part = n_all * (part + 1) // n_parts - vector
                x_at = group * n_in * grid.channel + vector * lanes
                for block in range(n_blocks):
                    weights_at = (group * n_blocks + block) * n * CHANNELS
                    out_at = block * CHANNELS * grid.channel + vector * lanes
                    if n_part == MOST_VECTORS:
                        block_of_most(
                            values, x_at, offsets, n, flat_weights, weights_at,
                            out, out_at, grid.channel)
                    elif n_part == MOST_VECTORS - 1:
                        block_of_one_less(
                            values, x_at, offsets, n, flat_weights, weights_at,
                            out, out_at, grid.channel)
                    else:  # If it is less still, the rest is overwritten.
                        block_of_two_less(
                            values, x_at, offsets, n, flat_weights, weights_at,
                            out, out_at, grid.channel)
            copy_from_grid(out, grid, y, image, n_images, group * n_out, n_out)


@divided
@jit
def _correlate(start, stop, x, gy, offsets, n_slices, sums, grid, gy_grid,
               lanes):
    """Adds gradients of weights to sums, of which each part has its own.

    The first n_slices parts are those of the first images, and so on.
    """
    n_chunks, n_groups, n_blocks, n_parts, size = sums.shape
    n_in, n_out = x.shape[1] // n_groups, gy.shape[1] // n_groups
    values = numpy.zeros(x.shape[1] * grid.channel, x.dtype)
    # Channels are missing in the last block.
    upstream = numpy.zeros((gy.shape[1] + CHANNELS) * grid.channel, x.dtype)
    flat_sums = sums.reshape(-1)
    for item in range(start, stop):
        chunk, channels = item // n_slices, item % n_slices
        last = len(x) * (chunk + 1) // n_chunks
        for image in range(len(x) * chunk // n_chunks, last, grid.n_images):
            n_images = min(grid.n_images, last - image)
            if n_images < grid.n_images:
                # Of images before these.
                values[:] = 0
                upstream[:] = 0
            copy_to_grid(x, image, n_images, values, grid)
            copy_to_grid(gy, image, n_images, upstream, gy_grid)
            n_all = n_vectors(n_images, gy.shape[2:], grid, lanes)
            for group in range(n_groups):
                for block in range(n_blocks * channels // n_slices,
                                   n_blocks * (channels + 1) // n_slices):
                    row = group * n_out + block * CHANNELS
                    for part in range(n_parts):
                        add_products(
                            upstream, row * grid.channel, grid.channel,
                            values, group * n_in * grid.channel, offsets,
                            part * VALUES, n_all, flat_sums,
                            (((chunk * n_groups + group) * n_blocks + block)
                             * n_parts + part) * size)


def _grid(x, n_out, ksize, pad, dilate):
    """Returns the grid of so many images that they stay in the cache."""
    n, n_in, height, width = x.shape
    n_bytes = x.itemsize * (n_in + n_out) * (
        (height + pad[0]) * (width + pad[1]))
    return make_grid(
        max(1, min(n, _BYTES // n_bytes)), (height, width), pad,
        [(k - 1) * d for k, d in zip(ksize, dilate)], n_lanes(x.itemsize),
        MOST_VECTORS)


def _is_covered(x, W, window, pad, ksize):
    """Returns whether the compiled code takes the operands."""
    return (x.dtype in (numpy.float32, numpy.float64) and x.dtype.isnative
            and W.dtype == x.dtype and x.size and W.size
            and tuple(window.stride) == (1, 1)
            and all(0 <= p <= d * (k - 1)
                    for p, d, k in zip(pad, window.dilate, ksize)))


def _convolution(x, W, pad, dilate, size):
    """Returns the convolution of x by W, (groups, O / groups, C, kh, kw)."""
    n_groups, n_out, n_in, *ksize = W.shape
    y = numpy.empty((len(x), n_groups * n_out, *size), x.dtype)
    grid = _grid(x, n_groups * n_out, ksize, pad, dilate)
    n_blocks = -(-n_out // CHANNELS)
    weights = numpy.zeros((n_groups, n_blocks * CHANNELS,
                           n_in * ksize[0] * ksize[1]), x.dtype)
    weights[:, :n_out] = W.reshape(n_groups, n_out, -1)
    weights = numpy.ascontiguousarray(weights.reshape(
        n_groups, n_blocks, CHANNELS, -1).swapaxes(2, 3))
    _convolve(len(x), n_own(y.size * weights.shape[2], _WORK), x, weights,
              make_offsets(n_in, ksize, dilate, grid), y, grid,
              n_lanes(x.itemsize))
    return y


def convolution_2d(x, W, window):
    """See ``numpy_kernels.convolution_2d``."""
    ksize = W.shape[2:]
    size = window.out_size(x.shape[2:], ksize)
    if not (_is_covered(x, W, window, window.pad, ksize) and min(size) > 0):
        return numpy_convolution.convolution_2d(x, W, window)
    operands = (numpy.ascontiguousarray(x),
                W.reshape(window.groups, -1, *W.shape[1:]), window.pad,
                window.dilate, size)
    y = sign_convolution.convolution(*operands)
    return _convolution(*operands) if y is None else y


def convolution_2d_gx(gy, W, window, size):
    """See ``numpy_kernels.convolution_2d_gx``."""
    ksize = W.shape[2:]
    pad = tuple(d * (k - 1) - p for d, k, p in zip(
        window.dilate, ksize, window.pad))
    if not _is_covered(gy, W, window, pad, ksize):
        return numpy_convolution.convolution_2d_gx(gy, W, window, size)
    # Turned round, with channels of input and output exchanged.
    weights = W.reshape(window.groups, -1, *W.shape[1:]).swapaxes(1, 2)
    return _convolution(numpy.ascontiguousarray(gy), weights[..., ::-1, ::-1],
                        pad, window.dilate, size)


def convolution_2d_gW(x, gy, window, ksize):
    """See ``numpy_kernels.convolution_2d_gW``."""
    if not _is_covered(x, gy, window, window.pad, ksize):
        return numpy_convolution.convolution_2d_gW(x, gy, window, ksize)
    x, gy = map(numpy.ascontiguousarray, (x, gy))
    n_groups = window.groups
    n_out, n_in = gy.shape[1] // n_groups, x.shape[1] // n_groups
    n = n_in * ksize[0] * ksize[1]
    grid = _grid(x, gy.shape[1], ksize, window.pad, window.dilate)
    n_blocks, n_parts = -(-n_out // CHANNELS), -(-n // VALUES)
    offsets = numpy.zeros(n_parts * VALUES, numpy.int64)
    offsets[:n] = make_offsets(n_in, ksize, window.dilate, grid)
    shape = n_groups, n_blocks, n_parts, n_sums(x.itemsize)
    n_chunks = max(1, min(_PARTS, len(x), _SUMS // math.prod(shape)))
    n_slices = min(n_blocks, _PARTS // n_chunks)
    sums = numpy.zeros((n_chunks, *shape), x.dtype)
    _correlate(n_chunks * n_slices, n_own(gy.size * n, _WORK), x, gy, offsets,
               n_slices, sums, grid, grid._replace(first=0),
               n_lanes(x.itemsize))
    total = sums.sum(axis=0)[..., :CHANNELS * VALUES].reshape(
        n_groups, n_blocks, n_parts, CHANNELS, VALUES)
    gW = total.transpose(0, 1, 3, 2, 4).reshape(
        n_groups, n_blocks * CHANNELS, -1)[:, :n_out, :n]
    return numpy.ascontiguousarray(gW).reshape(-1, n_in, *ksize)
