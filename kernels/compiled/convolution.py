"""Convolutions of a training in few passes over memory, compiled by Numba.

Images are copied, some at a time, to where zeros stand between their rows:
the zeros behind a row are those before the next one. There a value of the
window lies at one distance from its output for all outputs of a channel, the
ends of rows apart, where outputs are computed that are written nowhere. So
registers are full whatever the width of an image is.

The sums of real numbers are ordered otherwise than NumPy's, and contracted to
fused multiply-adds, as a BLAS library's are; those of integers are exact. A
number that is not finite may reach all values of the gradient of its channel:
the zeros are multiplied as well.
"""
import typing

import numpy

from kernels import numpy_convolution
from kernels.compiled.convolution_intrinsics import (
    CHANNELS, MOST_VECTORS, VALUES, add_products, block_of_most,
    block_of_one_less, block_of_two_less, copy_rows, n_lanes, n_sums)
from kernels.compiled.jit import jit
from kernels.compiled.parallel import divided
from kernels.cores import n_own

# Bytes of the images that are copied at a time: they stay in the second-level
# cache.
_BYTES = 1 << 18

# Parts of a batch whose gradients of weights are summed apart, so that the
# sums do not depend on the number of cores.
_CHUNKS = 16

# Least multiplications that a core is given: some 20 us.
_WORK = 1 << 21


class _Grid(typing.NamedTuple):
    """Where the pixels of some images lie, with zeros in between."""

    n_images: int
    pitch: int  # from row to row
    image: int  # from image to image
    first: int  # of the first pixel
    channel: int  # from channel to channel


@jit
def _copy_images(x, image, n_images, padded, grid):
    """Copies images to their grid; no other value of it is written."""
    _, n_channels, height, width = x.shape
    for i in range(n_images):
        for c in range(n_channels):
            copy_rows(
                x.reshape(-1), ((image + i) * n_channels + c) * height * width,
                width, padded,
                c * grid.channel + i * grid.image + grid.first, grid.pitch,
                height, width)


@jit
def _n_vectors(n_images, size, grid, lanes):
    """Returns how many vectors reach from the first output to the last."""
    n_places = ((n_images - 1) * grid.image + (size[0] - 1) * grid.pitch
                + size[1])
    return (n_places + lanes - 1) // lanes


@divided
@jit
def _convolve(start, stop, x, weights, offsets, y, grid, lanes):
    """Writes the convolutions of some images to y."""
    n_out = y.shape[1]
    n_groups, n_blocks, n, _ = weights.shape
    n_in = x.shape[1] // n_groups
    padded = numpy.zeros(x.shape[1] * grid.channel, x.dtype)
    # Blocks of less than two vectors less than most are not there.
    out = numpy.empty((n_blocks * CHANNELS, grid.channel), x.dtype)
    flat_weights, flat_out = weights.reshape(-1), out.reshape(-1)
    for image in range(start, stop, grid.n_images):
        n_images = min(grid.n_images, stop - image)
        _copy_images(x, image, n_images, padded, grid)
        n_vectors = _n_vectors(n_images, y.shape[2:], grid, lanes)
        n_parts = (n_vectors + MOST_VECTORS - 1) // MOST_VECTORS
        for group in range(n_groups):
            for part in range(n_parts):
                vector = n_vectors * part // n_parts
                n_part = n_vectors * (part + 1) // n_parts - vector
                place = vector * lanes
                x_at = group * n_in * grid.channel + place
                for block in range(n_blocks):
                    weights_at = (group * n_blocks + block) * n * CHANNELS
                    out_at = block * CHANNELS * grid.channel + place
                    if n_part == MOST_VECTORS:
                        block_of_most(
                            padded, x_at, offsets, n, flat_weights, weights_at,
                            flat_out, out_at, grid.channel)
                    elif n_part == MOST_VECTORS - 1:
                        block_of_one_less(
                            padded, x_at, offsets, n, flat_weights, weights_at,
                            flat_out, out_at, grid.channel)
                    else:
                        block_of_two_less(
                            padded, x_at, offsets, n, flat_weights, weights_at,
                            flat_out, out_at, grid.channel)
            n_group = n_out // n_groups
            _, _, height, width = y.shape
            for i in range(n_images):
                for c in range(n_group):
                    copy_rows(flat_out, c * grid.channel + i * grid.image,
                              grid.pitch, y.reshape(-1),
                              ((image + i) * n_out + group * n_group + c)
                              * height * width, width, height, width)


@divided
@jit
def _correlate(start, stop, x, gy, offsets, sums, grid, gy_grid, lanes):
    """Writes the gradients of weights, of some parts of the batch, to sums."""
    n_chunks, n_groups, n_blocks, n_parts, size = sums.shape
    n_in, n_out = x.shape[1] // n_groups, gy.shape[1] // n_groups
    padded = numpy.zeros(x.shape[1] * grid.channel, x.dtype)
    # Channels are missing in the last block.
    upstream = numpy.zeros((gy.shape[1] + CHANNELS) * grid.channel, x.dtype)
    flat_sums = sums.reshape(-1)
    for chunk in range(start, stop):
        sums[chunk] = 0
        last = len(x) * (chunk + 1) // n_chunks
        for image in range(len(x) * chunk // n_chunks, last, grid.n_images):
            n_images = min(grid.n_images, last - image)
            if n_images < grid.n_images:
                # Of images before these.
                padded[:] = 0
                upstream[:] = 0
            _copy_images(x, image, n_images, padded, grid)
            _copy_images(gy, image, n_images, upstream, gy_grid)
            n_vectors = _n_vectors(n_images, gy.shape[2:], grid, lanes)
            for group in range(n_groups):
                for block in range(n_blocks):
                    row = group * n_out + block * CHANNELS
                    for part in range(n_parts):
                        add_products(
                            upstream, row * grid.channel, grid.channel,
                            padded, group * n_in * grid.channel, offsets,
                            part * VALUES, n_vectors, flat_sums,
                            (((chunk * n_groups + group) * n_blocks + block)
                             * n_parts + part) * size)


def _make_grid(shape, out_shape, ksize, pad, dilate, itemsize):
    """Returns the grid of images for a convolution.

    Args:
        shape (tuple): Shape of the images.
        out_shape (tuple): Shape of the output.
        ksize, pad, dilate (tuple of int): Of the window.
        itemsize (int): Bytes of a value.

    """
    _, n_in, height, width = shape
    n, n_out, *_ = out_shape
    pitch = width + pad[1]
    image = (height + pad[0]) * pitch
    n_images = max(1, min(n, _BYTES // ((n_in + n_out) * image * itemsize)))
    reach = sum((k - 1) * d * step
                for k, d, step in zip(ksize, dilate, (pitch, 1)))
    lanes = n_lanes(itemsize)
    # The last vector is full, a block may have more vectors than are needed.
    channel = n_images * image + reach + (MOST_VECTORS + 1) * lanes
    # An odd number of registers: channels are not in the same sets of a cache.
    channel = (channel // lanes | 1) * lanes + 2 * lanes
    return _Grid(n_images, pitch, image, pad[0] * pitch + pad[1], channel)


def _make_offsets(n_in, ksize, dilate, grid):
    """Returns where the values of the window lie, (C / groups, kh, kw)."""
    channels, rows, columns = (numpy.arange(n) * step for n, step in zip(
        (n_in, *ksize), (grid.channel, dilate[0] * grid.pitch, dilate[1])))
    return (channels[:, None, None] + rows[:, None] + columns).ravel()


def _is_covered(x, W, window, pad, ksize):
    """Returns whether the compiled code takes the operands."""
    return (x.dtype in (numpy.float32, numpy.float64) and x.dtype.isnative
            and W.dtype == x.dtype and x.size and W.size
            and window.stride == (1, 1)
            and all(0 <= p <= d * (k - 1)
                    for p, d, k in zip(pad, window.dilate, ksize)))


def _convolution(x, W, pad, dilate, size):
    """Returns the convolution of x by W, (groups, O / groups, C, kh, kw)."""
    n_groups, n_out, n_in, *ksize = W.shape
    x = numpy.ascontiguousarray(x)
    y = numpy.empty((len(x), n_groups * n_out, *size), x.dtype)
    grid = _make_grid(x.shape, y.shape, ksize, pad, dilate, x.itemsize)
    n_blocks = -(-n_out // CHANNELS)
    weights = numpy.zeros((n_groups, n_blocks * CHANNELS,
                           n_in * ksize[0] * ksize[1]), x.dtype)
    weights[:, :n_out] = W.reshape(n_groups, n_out, -1)
    weights = numpy.ascontiguousarray(weights.reshape(
        n_groups, n_blocks, CHANNELS, -1).swapaxes(2, 3))
    _convolve(len(x), n_own(y.size * weights.shape[2], _WORK), x, weights,
              _make_offsets(n_in, ksize, dilate, grid), y, grid,
              n_lanes(x.itemsize))
    return y


def convolution_2d(x, W, window):
    """See ``numpy_kernels.convolution_2d``."""
    ksize = W.shape[2:]
    size = window.out_size(x.shape[2:], ksize)
    if not (_is_covered(x, W, window, window.pad, ksize) and min(size) > 0):
        return numpy_convolution.convolution_2d(x, W, window)
    weights = W.reshape(window.groups, -1, *W.shape[1:])
    return _convolution(x, weights, window.pad, window.dilate, size)


def convolution_2d_gx(gy, W, window, size):
    """See ``numpy_kernels.convolution_2d_gx``."""
    ksize = W.shape[2:]
    pad = tuple(d * (k - 1) - p for d, k, p in zip(
        window.dilate, ksize, window.pad))
    if not _is_covered(gy, W, window, pad, ksize):
        return numpy_convolution.convolution_2d_gx(gy, W, window, size)
    # Turned round, with channels of input and output exchanged.
    weights = W.reshape(window.groups, -1, *W.shape[1:]).swapaxes(1, 2)
    return _convolution(gy, weights[..., ::-1, ::-1], pad, window.dilate, size)


def convolution_2d_gW(x, gy, window, ksize):
    """See ``numpy_kernels.convolution_2d_gW``."""
    if not _is_covered(x, gy, window, window.pad, ksize):
        return numpy_convolution.convolution_2d_gW(x, gy, window, ksize)
    x, gy = map(numpy.ascontiguousarray, (x, gy))
    n_groups = window.groups
    n_out, n_in = gy.shape[1] // n_groups, x.shape[1] // n_groups
    n = n_in * ksize[0] * ksize[1]
    grid = _make_grid(x.shape, gy.shape, ksize, window.pad, window.dilate,
                      x.itemsize)
    n_blocks, n_parts = -(-n_out // CHANNELS), -(-n // VALUES)
    offsets = numpy.zeros(n_parts * VALUES, int)
    offsets[:n] = _make_offsets(n_in, ksize, window.dilate, grid)
    sums = numpy.empty(
        (min(_CHUNKS, len(x)), n_groups, n_blocks, n_parts,
         n_sums(x.itemsize)), x.dtype)
    _correlate(len(sums), n_own(gy.size * n, _WORK), x, gy, offsets, sums,
               grid, grid._replace(first=0), n_lanes(x.itemsize))
    total = sums.sum(axis=0)[..., :CHANNELS * VALUES].reshape(
        n_groups, n_blocks, n_parts, CHANNELS, VALUES)
    gW = total.transpose(0, 1, 3, 2, 4).reshape(
        n_groups, n_blocks * CHANNELS, -1)[:, :n_out, :n]
    return numpy.ascontiguousarray(gW).reshape(-1, n_in, *ksize)
