"""Convolutions of a packed net, compiled by Numba.

The results are those of ``numpy_packed_convolution``. The signs of a column of
a window lie in as few words as hold them, one channel after the other, row by
row; words of neighbouring columns are neighbours, so that a window is a run of
words. Around the image all bits are 0, as if all signs were -1, and the limits
of the border's classes make up for that.
"""
import typing

import numpy

from kernels import numpy_bits
from kernels.compiled.jit import jit
from kernels.compiled.packed_convolution_intrinsics import (
    SLACK, TILES, reach_of_pixels, reach_of_signs)
from kernels.compiled.rows import run
from kernels.packed_convolution import border_classes, rows_inside


class TiledWindow(typing.NamedTuple):
    """Convolution, threshold and pooling as the compiled kernels take it."""

    tiles: numpy.ndarray  # (tiles, words or pixels of a window, tile)
    limits: numpy.ndarray  # (kh, kw, tiles, tile)
    falling: numpy.ndarray  # uint64 words (tiles,)
    n_channels: int
    pool: int
    row_classes: numpy.ndarray  # int64 (height,)
    column_classes: numpy.ndarray  # int64 (width,)


def _tile(rows, fill=0):
    """Returns rows (..., O) as tiles (..., tiles, channels of a tile)."""
    n_out = rows.shape[-1]
    width = next((tile for tile in TILES if n_out <= tile), TILES[-1])
    n_tiles = -(-n_out // width)
    tiles = numpy.full((*rows.shape[:-1], n_tiles * width), fill, rows.dtype)
    tiles[..., :n_out] = rows
    return tiles.reshape(*rows.shape[:-1], n_tiles, width)


def _window(rows, limits, fill, n_channels, falling, pool, size):
    kh, kw = limits.shape[:2]
    return TiledWindow(
        numpy.ascontiguousarray(_tile(rows).transpose(1, 0, 2)),
        _tile(limits, fill), numpy.ascontiguousarray(falling), n_channels,
        pool, border_classes(size[0], kh), border_classes(size[1], kw))


def _thresholds(thresholds, n_out, kh, kw):
    return numpy.broadcast_to(thresholds, (kh, kw, n_out)).astype(numpy.int64)


def sign_window(W, thresholds, falling, pool, size):
    """See ``numpy_packed_convolution.sign_window``.

    Of d bits that differ in a whole window, those outside are the weights +1
    there: ``n - 2 (d - outside) >= t``, for the n products inside, is
    ``d < (n - t) // 2 + outside + 1``.
    """
    n_out, n_channels, kh, kw = W.shape
    columns = numpy.ascontiguousarray(W.transpose(0, 3, 2, 1)).reshape(
        n_out * kw, kh * n_channels)
    words = numpy_bits.pack_signs(columns)
    words = words.reshape(n_out, kw * words.shape[1])
    plus = (W > 0).sum(axis=1)  # (O, kh, kw)
    rows, columns = rows_inside(size[0], kh), rows_inside(size[1], kw)
    n = n_channels * rows.sum(axis=1)[:, None] * columns.sum(axis=1)
    outside = plus.sum(axis=(1, 2)) - numpy.einsum(
        'ai,bj,oij->abo', rows.astype(int), columns.astype(int), plus)
    thresholds = _thresholds(thresholds, n_out, kh, kw)
    limits = (n[..., None] - thresholds) // 2 + outside + 1
    limits = limits.clip(0, W[0].size + 1)
    return _window(words.T, limits, 0, n_channels, falling, pool, size)


def pixel_window(W, thresholds, falling, pool, size):
    """See ``numpy_packed_convolution.pixel_window``.

    The sum of 16 bits is the true one less the number of weights -1.
    """
    n_out, n_channels, kh, kw = W.shape
    rows = numpy.where(W > 0, 0, -1).reshape(n_out, kh * kw)
    limits = _thresholds(thresholds, n_out, kh, kw) + rows.sum(axis=1)
    largest = numpy.iinfo(numpy.int16).max
    limits = limits.clip(-largest, largest)
    return _window(
        rows.T.astype(numpy.int16), limits.astype(numpy.int16), largest,
        n_channels, falling, pool, size)


@jit
def _pack_columns(image, y, height_of_window, n_channels, left, columns):
    """Writes the columns of the windows in row y, packed.

    ``columns`` has ``left`` columns of zeros before the first pixel's.
    """
    height, width, n_words = image.shape
    columns[left:left + width] = 0
    for i in range(height_of_window):
        row = y - height_of_window // 2 + i
        if not 0 <= row < height:
            continue
        for k in range(n_words):
            bit = i * n_channels + 64 * k
            at, shift = bit // 64, numpy.uint64(bit % 64)
            rest = numpy.uint64(64) - shift
            # Of the last word of a pixel the bits beyond its channels are 0.
            is_split = bit % 64 + min(64, n_channels - 64 * k) > 64
            for x in range(width):
                columns[left + x, at] |= image[row, x, k] << shift
            if is_split:
                for x in range(width):
                    columns[left + x, at + 1] |= image[row, x, k] >> rest


@jit
def _or_reach(reach, pool, y):
    """Adds a row's bits to those of its pooling windows."""
    if pool == 1:
        for x in range(len(y)):
            y[x] |= reach[x]
    else:
        for x in range(len(y)):
            bits = reach[x * pool]
            for i in range(1, pool):
                bits |= reach[x * pool + i]
            y[x] |= bits


@jit
def _limits_at(column_classes, n_limits, n):
    """Returns where the limits of each of n windows of a row are."""
    at = numpy.zeros(n + SLACK, numpy.int64)
    for x in range(n):
        at[x] = column_classes[x] * n_limits
    return at


@jit
def _convolve_signs(a, tiles, limits, falling, n_channels, pool, row_classes,
                    column_classes, y):
    kh, kw = limits.shape[:2]
    n_tiles, n_words, tile = tiles.shape
    width = a.shape[2]
    n = y.shape[2] * pool
    stride = n_words // kw
    columns = numpy.zeros((width + kw - 1 + SLACK, stride), numpy.uint64)
    reach = numpy.empty(n + SLACK, numpy.uint64)
    at = _limits_at(column_classes, n_tiles * tile, n)
    row = numpy.zeros((n_tiles, y.shape[2]), numpy.uint64)
    for i in range(len(a)):
        for out in range(y.shape[1]):
            row[:] = 0
            for j in range(out * pool, (out + 1) * pool):
                _pack_columns(a[i], j, kh, n_channels, kw // 2, columns)
                for t in range(n_tiles):
                    start = (row_classes[j] * kw * n_tiles + t) * tile
                    reach_of_signs(
                        columns, n, stride, tiles, t * n_words * tile, tile,
                        n_words, limits, start, at, reach)
                    _or_reach(reach, pool, row[t])
            for t in range(n_tiles):
                for x in range(y.shape[2]):
                    y[i, out, x, t] = row[t, x] ^ falling[t]


@jit
def _convolve_pixels(images, tiles, limits, falling, pool, row_classes,
                     column_classes, y):
    kh, kw = limits.shape[:2]
    n_tiles, n_taps, tile = tiles.shape
    height, width = images.shape[1:]
    n = y.shape[2] * pool
    padded = numpy.zeros((height + kh - 1, width + kw - 1 + SLACK),
                         numpy.int16)
    offsets = numpy.empty(n_taps, numpy.int64)
    for k in range(n_taps):
        offsets[k] = k // kw * padded.shape[1] + k % kw
    reach = numpy.empty(n + SLACK, numpy.uint64)
    at = _limits_at(column_classes, n_tiles * tile, n)
    row = numpy.zeros((n_tiles, y.shape[2]), numpy.uint64)
    for i in range(len(images)):
        for j in range(height):
            for x in range(width):
                padded[kh // 2 + j, kw // 2 + x] = images[i, j, x]
        for out in range(y.shape[1]):
            row[:] = 0
            for j in range(out * pool, (out + 1) * pool):
                image = j * padded.shape[1]
                for t in range(n_tiles):
                    start = (row_classes[j] * kw * n_tiles + t) * tile
                    reach_of_pixels(
                        padded, image, n, offsets, tiles, t * n_taps * tile,
                        tile, limits, start, at, reach)
                    _or_reach(reach, pool, row[t])
            for t in range(n_tiles):
                for x in range(y.shape[2]):
                    y[i, out, x, t] = row[t, x] ^ falling[t]


def _run(kernel, x, window, work, *args):
    height, width = (len(classes) // window.pool for classes in (
        window.row_classes, window.column_classes))
    y = numpy.empty((len(x), height, width, len(window.falling)),
                    numpy.uint64)
    return run(kernel, numpy.ascontiguousarray(x), y,
               len(x) * height * width * window.pool ** 2 * work,
               window.tiles, window.limits, window.falling, *args,
               window.pool, window.row_classes, window.column_classes)


def convolve_signs(a, window):
    """See ``numpy_packed_convolution.convolve_signs``."""
    return _run(_convolve_signs, a, window, window.tiles.size,
                window.n_channels)


def convolve_pixels(x, window):
    """See ``numpy_packed_convolution.convolve_pixels``."""
    return _run(_convolve_pixels, x, window, window.tiles.size // 4)


@jit
def _flatten(a, n_channels, y):
    n, n_pixels, n_words = a.shape
    y[:] = 0
    for i in range(n):
        bit = 0
        for j in range(n_pixels):
            for k in range(n_words):
                n_bits = min(64, n_channels - 64 * k)
                at, shift = bit // 64, bit % 64
                y[i, at] |= a[i, j, k] << numpy.uint64(shift)
                if shift + n_bits > 64:
                    y[i, at + 1] |= a[i, j, k] >> numpy.uint64(64 - shift)
                bit += n_bits


def flatten_signs(a, n_channels):
    """See ``numpy_packed_convolution.flatten_signs``."""
    n, height, width, n_words = a.shape
    a = numpy.ascontiguousarray(a).reshape(n, height * width, n_words)
    y = numpy.empty((n, -(-height * width * n_channels // 64)), numpy.uint64)
    return run(_flatten, a, y, a.size, n_channels)
