"""Convolutions of signs by signs: an XOR and a count of bits for 16 channels.

The signs of the images are packed to grids (see ``convolution_grid``), in
half words, those of padding as if they were 1. What that is wrong by is known
without the images.
"""
import numpy

from kernels.compiled.convolution_grid import (
    copy_from_grid, make_grid, make_offsets, n_vectors)
from kernels.compiled.convolution_intrinsics import CHANNELS
from kernels.compiled.jit import jit
from kernels.compiled.parallel import divided
from kernels.compiled.sign_convolution_intrinsics import (
    BITS, HALF_VECTORS, HALVES, pack_row, xnor_block)
from kernels.cores import n_own

# Least channels of a group from which on signs are quicker than floats.
_LEAST = 4

# Values of a window from which on a sum does not fit a half word.
_MOST = 1 << 15

# Places of a grid in which the ends of rows and of blocks are few.
_PLACES = 800

# Least values that a core is given to pack, and multiplications: some 20 us.
_VALUES = 1 << 17
_WORK = 1 << 24


@divided
@jit
def _pack(start, stop, x, n_groups, halves, is_wrong, grid):
    """Packs the images of some grids."""
    n, n_channels, height, width = x.shape
    n_in = n_channels // n_groups
    n_planes = halves.shape[1] // n_groups
    flat, flat_halves = x.reshape(-1), halves.reshape(-1)
    for image in range(start * grid.n_images, min(stop * grid.n_images, n)):
        at = image // grid.n_images * halves.shape[1] * grid.channel + (
            image % grid.n_images * grid.image + grid.first)
        for plane in range(halves.shape[1]):
            first = plane % n_planes * BITS
            channel = plane // n_planes * n_in + first
            x_at = (image * n_channels + channel) * height * width
            for row in range(height):
                if pack_row(flat, x_at + row * width, height * width,
                            min(BITS, n_in - first), width, flat_halves,
                            at + plane * grid.channel + row * grid.pitch):
                    is_wrong[0] = True
        if is_wrong[0]:
            break


@divided
@jit
def _convolve(start, stop, halves, weights, offsets, most, y, grid):
    """Writes the convolutions of the images of some grids to y."""
    n_groups, n_blocks, n, _ = weights.shape
    n_out, n_planes = y.shape[1] // n_groups, halves.shape[1] // n_groups
    out = numpy.empty(CHANNELS * grid.channel, y.dtype)
    flat_halves, flat_weights, flat_most = (
        halves.reshape(-1), weights.reshape(-1), most.reshape(-1))
    step = HALF_VECTORS * HALVES
    for i in range(start, stop):
        image = i * grid.n_images
        n_images = min(grid.n_images, len(y) - image)
        n_places = n_vectors(n_images, y.shape[2:], grid, HALVES) * HALVES
        for group in range(n_groups):
            plane = i * halves.shape[1] + group * n_planes
            for block in range(n_blocks):
                row = group * n_blocks + block
                for place in range(0, n_places, step):
                    xnor_block(
                        flat_halves, plane * grid.channel + place, offsets, n,
                        flat_weights, row * n * CHANNELS, flat_most,
                        row * CHANNELS * grid.channel + place, grid.channel,
                        out, place)
                copy_from_grid(
                    out, grid, y, image, n_images,
                    group * n_out + block * CHANNELS,
                    min(CHANNELS, n_out - block * CHANNELS))


@jit
def _write_most(differing, size, shape, pad, dilate, most, grid):
    """Writes what twice the number of differing bits is subtracted from.

    That is the number of the signs that a window meets and, for each value of
    the window that meets padding, twice what is subtracted for that.

    Args:
        differing (numpy.ndarray): Number of weights that are not 1 in each
            value of the window, int16 (O, kh, kw).
        size (tuple of int): Height and width of the image.
        shape (tuple of int): Channels, height and width of the output.
        pad, dilate (tuple of int): Of the window.
        most (numpy.ndarray): Grids of outputs, of O channels, int16.
        grid (Grid): Where outputs lie.

    """
    n_in, height, width = shape
    n, n_rows, n_columns = differing.shape
    for c in range(n):
        twice = numpy.int16(0)
        for i in range(n_rows):
            for j in range(n_columns):
                twice += numpy.int16(2 * differing[c, i, j])
        for x in range(grid.image):
            most[c, x] = twice
        for i in range(n_rows):
            row = i * dilate[0] - pad[0]
            for j in range(n_columns):
                column = j * dilate[1] - pad[1]
                first, last = max(0, -column), min(width, size[1] - column)
                change = numpy.int16(n_in - 2 * differing[c, i, j])
                for y in range(max(0, -row), min(height, size[0] - row)):
                    at = y * grid.pitch
                    for x in range(at + first, at + last):
                        most[c, x] += change
        for x in range(grid.image, grid.n_images * grid.image):
            most[c, x] = most[c, x - grid.image]


def convolution(x, W, pad, dilate, size):
    """Returns the convolution of signs, or None where it is not covered.

    Args:
        x (numpy.ndarray): Images (N, C, height, width).
        W (numpy.ndarray): Weights (groups, O / groups, C / groups, kh, kw).
        pad, dilate (tuple of int): Of the window.
        size (tuple of int): Height and width of the output.

    Returns:
        numpy.ndarray: Output (N, O, height, width).

    """
    n_groups, n_out, n_in, *ksize = W.shape
    if not (n_in >= _LEAST and W[0, 0].size < _MOST
            # Most other images are known by few pixels.
            and (abs(x[0, 0, 0]) == 1).all() and (abs(W) == 1).all()):
        return None
    n_planes, n_blocks = -(-n_in // BITS), -(-n_out // CHANNELS)
    n_places = (x.shape[2] + pad[0]) * (x.shape[3] + pad[1])
    grid = make_grid(
        min(len(x), -(-_PLACES // n_places)), x.shape[2:], pad,
        [(k - 1) * d for k, d in zip(ksize, dilate)], HALVES, HALF_VECTORS)
    n_grids = -(-len(x) // grid.n_images)
    halves = numpy.zeros((n_grids, n_groups * n_planes, grid.channel),
                         numpy.uint16)
    is_wrong = numpy.zeros(1, bool)
    _pack(n_grids, n_own(x.size, _VALUES), x, n_groups, halves, is_wrong, grid)
    if is_wrong[0]:
        return None
    bits = numpy.zeros((n_groups, n_blocks * CHANNELS, n_planes * BITS,
                        *ksize), bool)
    bits[:, :n_out, :n_in] = W < 0
    most = numpy.zeros((n_groups * n_blocks * CHANNELS, grid.channel),
                       numpy.int16)
    _write_most(bits.sum(axis=2, dtype=numpy.int16).reshape(-1, *ksize),
                x.shape[2:], (n_in, *size), pad, dilate, most, grid)
    weights = numpy.packbits(bits.reshape(
        n_groups, n_blocks, CHANNELS, n_planes, BITS, -1), axis=4,
        bitorder='little').astype(numpy.uint16)
    weights = weights[:, :, :, :, 0] | weights[:, :, :, :, 1] << 8
    weights = numpy.ascontiguousarray(weights.reshape(
        n_groups, n_blocks, CHANNELS, -1).swapaxes(2, 3))
    y = numpy.empty((len(x), n_groups * n_out, *size), x.dtype)
    _convolve(n_grids, n_own(y.size * W[0, 0].size, _WORK), halves, weights,
              make_offsets(n_planes, ksize, dilate, grid), most, y, grid)
    return y
