"""Grids of images for compiled convolutions, with zeros between the rows.

The zeros behind a row are those before the next one, as are those between
images. In a grid a value of the window lies at one distance from its output
for all outputs of a channel, the ends of rows apart, where outputs are
computed that are written nowhere. So registers are full whatever the width of
an image is.
"""
import typing

import numpy

from kernels.compiled.convolution_intrinsics import copy_rows
from kernels.compiled.jit import jit


class Grid(typing.NamedTuple):
    """Where the pixels of some images lie; distances are numbers of values."""

    n_images: int
    pitch: int  # from row to row
    image: int  # from image to image
    first: int  # of the first pixel
    channel: int  # from channel to channel


def make_grid(n_images, size, pad, reach, lanes, spare):
    """Returns the grid of images for a convolution.

    Args:
        n_images (int): Number of images in the grid.
        size (tuple of int): Height and width of an image.
        pad (tuple of int): Zeros before and behind an image.
        reach (tuple of int): Rows and columns from the first value of a window
            to the last one, at least those of ``pad``.
        lanes (int): Values in a vector.
        spare (int): Number of vectors that may be computed needlessly.

    """
    pitch = size[1] + pad[1]
    image = (size[0] + pad[0]) * pitch
    channel = n_images * image + reach[0] * pitch + reach[1]
    # An odd number of vectors: channels are not in the same sets of a cache.
    channel = (-(-channel // lanes) + spare | 1) * lanes
    return Grid(n_images, pitch, image, pad[0] * pitch + pad[1], channel)


def make_offsets(n_channels, ksize, dilate, grid):
    """Returns the distances of the values of a window from the first one.

    Args:
        n_channels (int): Channels of the window.
        ksize, dilate (tuple of int): Its height and width, and steps.
        grid (Grid): Where the pixels lie.

    Returns:
        numpy.ndarray: Flat, in the order (channel, row, column).

    """
    channels, rows, columns = (
        numpy.arange(n, dtype=numpy.int64) * step for n, step in zip(
            (n_channels, *ksize),
            (grid.channel, dilate[0] * grid.pitch, dilate[1])))
    return (channels[:, None, None] + rows[:, None] + columns).ravel()


@jit
def n_vectors(n_images, size, grid, lanes):
    """Returns how many vectors reach from the first output to the last."""
    height, width = size
    n_places = ((n_images - 1) * grid.image + (height - 1) * grid.pitch
                + width)
    return (n_places + lanes - 1) // lanes


@jit
def copy_to_grid(x, image, n_images, values, grid):
    """Copies images from x, (N, C, height, width); leaves the zeros alone."""
    _, n_channels, height, width = x.shape
    for i in range(n_images):
        for c in range(n_channels):
            copy_rows(
                x.reshape(-1), ((image + i) * n_channels + c) * height * width,
                width, values,
                c * grid.channel + i * grid.image + grid.first, grid.pitch,
                height, width)


@jit
def copy_from_grid(values, grid, y, image, n_images, channel, n_channels):
    """Copies outputs of some channels to y, (N, O, height, width)."""
    _, n_out, height, width = y.shape
    for i in range(n_images):
        for c in range(n_channels):
            copy_rows(
                values, c * grid.channel + i * grid.image, grid.pitch,
                y.reshape(-1),
                ((image + i) * n_out + channel + c) * height * width, width,
                height, width)
