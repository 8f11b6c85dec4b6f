"""The arithmetic of a packed net, compiled by Numba.

The results are those of ``numpy_bits``. The rows are divided among threads of
Python, see ``rows``, and not by ``parallel``.
"""
import numpy

from kernels import numpy_bits
from kernels.compiled import rows
from kernels.compiled.jit import is_covered, jit
from kernels.compiled.product_intrinsics import (
    OCTET_TILE, ROWS, bitplane_tile, xnor_tile_row, xnor_tile_rows)
from kernels.compiled.sign_matrix import sign_bits
from kernels.compiled.vector_intrinsics import which_reach
from kernels.numpy_bits import (  # noqa: F401
    tile_pixel_weights, tile_weights, unpack_signs)

# Rows whose words, and images whose octets, stay in the second-level cache
# while all tiles pass by.
_BLOCK = 256
_IMAGES = rows.LEAST

# Groups of 8 pixels that bitplane_tile takes at once.
_CHUNK = 31


@jit
def _padded(thresholds, n, dtype):
    """Returns thresholds filled up to n, with ones that no sum reaches.

    So the bits beyond the units are 0.
    """
    padded = numpy.full(n, numpy.iinfo(numpy.int32).max, dtype)
    padded[:thresholds.size] = thresholds
    return padded


@jit
def _xnor_dot(a, tiles, n_in, y):
    n_rows, n_words = a.shape
    n_out = y.shape[1]
    dots = numpy.empty(ROWS * 64, numpy.int64)
    for start in range(0, n_rows, _BLOCK):
        stop = min(start + _BLOCK, n_rows)
        for t in range(tiles.shape[0]):
            n_units = min(64, n_out - 64 * t)
            i = start
            while i < stop:
                n = ROWS if i + ROWS <= stop else 1
                if n == ROWS:
                    xnor_tile_rows(a, a, i * n_words, tiles, t * n_words * 64,
                                   n_words, n_in, dots)
                else:
                    xnor_tile_row(a, a, i * n_words, tiles, t * n_words * 64,
                                  n_words, n_in, dots)
                for r in range(n):
                    for u in range(n_units):
                        y[i + r, 64 * t + u] = dots[64 * r + u]
                i += n


@jit
def _xnor_sign(a, tiles, n_in, thresholds, falling, y):
    n_rows, n_words = a.shape
    thresholds = _padded(thresholds, 64 * falling.size, numpy.int64)
    dots = numpy.empty(ROWS * 64, numpy.int64)
    for start in range(0, n_rows, _BLOCK):
        stop = min(start + _BLOCK, n_rows)
        for t in range(tiles.shape[0]):
            i = start
            while i < stop:
                n = ROWS if i + ROWS <= stop else 1
                if n == ROWS:
                    xnor_tile_rows(a, a, i * n_words, tiles, t * n_words * 64,
                                   n_words, n_in, dots)
                else:
                    xnor_tile_row(a, a, i * n_words, tiles, t * n_words * 64,
                                  n_words, n_in, dots)
                for r in range(n):
                    y[i + r, t] = falling[t] ^ which_reach(
                        dots, 64 * r, thresholds, 64 * t)
                i += n


@jit
def _find_octets(runs, order, groups, at, octets, places, e, ends):
    """Lists the octets of an image's planes of bits that are not zero.

    MNIST's pictures are mostly black, and ``order`` puts neighbouring pixels
    together: three of four octets are zero. The others are listed from entry
    e on in chunks of 31 groups of 8 pixels, see ``bitplane_tile``. ``groups``
    and ``at`` are scratch memory. Returns the pixels' sum and the number of
    chunks.
    """
    one = numpy.uint64(1)
    n = 0
    for group in range((order.size + 1) // 2):
        # Unsigned indices, so that no negative one has to be thought of.
        x = numpy.uint64(runs[numpy.uint64(order[2 * group])])
        if 2 * group + 1 < order.size:
            x |= numpy.uint64(
                runs[numpy.uint64(order[2 * group + 1])]) << (32 * one)
        # Written always, counted if it is not zero: no branch to mispredict.
        groups[n] = x
        at[n] = group
        n += x != 0
    total = numpy.uint64(0)
    for i in range(n):
        x = groups[i]
        pairs = ((x & numpy.uint64(0x00FF00FF00FF00FF))
                 + ((x >> (8 * one)) & numpy.uint64(0x00FF00FF00FF00FF)))
        total += (pairs * numpy.uint64(0x0001000100010001)) >> (48 * one)
        # Octets of pixels to octets of planes: a matrix of 8 x 8 bits is
        # transposed by the exchange of ever larger parts.
        t = (x ^ (x >> (7 * one))) & numpy.uint64(0x00AA00AA00AA00AA)
        x ^= t ^ (t << (7 * one))
        t = (x ^ (x >> (14 * one))) & numpy.uint64(0x0000CCCC0000CCCC)
        x ^= t ^ (t << (14 * one))
        t = (x ^ (x >> (28 * one))) & numpy.uint64(0x00000000F0F0F0F0)
        groups[i] = x ^ t ^ (t << (28 * one))
    n_chunks = 0
    for start in range(0, n, _CHUNK):
        for plane in range(8):
            shift = numpy.uint64(56 - 8 * plane)
            for i in range(start, min(start + _CHUNK, n)):
                octet = (groups[i] >> shift) & numpy.uint64(255)
                octets[e] = octet * numpy.uint64(0x0101010101010101)
                places[e] = at[i]
                e += octet != 0
            ends[n_chunks, plane] = e
        n_chunks += 1
    return numpy.int32(total), n_chunks


@jit
def _bitplane_rows(runs, order, tiles, y, signs, thresholds, falling):
    """Writes the sums of a first layer to y or, where y is empty, the signs.

    The array that is not wanted has no columns, so that its loop is empty.
    """
    n_groups, n_out = tiles.shape[1], y.shape[1]
    size = 8 * n_groups
    max_chunks = -(-n_groups // _CHUNK)
    octets = numpy.empty(_IMAGES * size + 1, numpy.uint64)
    places = numpy.empty(_IMAGES * size + 1, numpy.int64)
    ends = numpy.empty((_IMAGES, max_chunks, 8), numpy.int64)
    n_chunks = numpy.empty(_IMAGES, numpy.int64)
    totals = numpy.empty(_IMAGES, numpy.int32)
    dots = numpy.empty(OCTET_TILE, numpy.int32)
    groups = numpy.empty(n_groups + 1, numpy.uint64)
    at = numpy.empty(n_groups + 1, numpy.int64)
    for start in range(0, runs.shape[0], _IMAGES):
        n = min(_IMAGES, runs.shape[0] - start)
        for i in range(n):
            totals[i], n_chunks[i] = _find_octets(
                runs[start + i], order, groups, at, octets, places, i * size,
                ends[i])
        for t in range(tiles.shape[0]):
            for i in range(n):
                dots[:] = -totals[i]
                e = i * size
                for chunk in range(n_chunks[i]):
                    bitplane_tile(octets, places, e, ends,
                                  (i * max_chunks + chunk) * 8, tiles,
                                  t * n_groups * OCTET_TILE, dots)
                    e = ends[i, chunk, 7]
                first = t * OCTET_TILE
                for u in range(min(OCTET_TILE, n_out - first)):
                    y[start + i, first + u] = dots[u]
                first = t * (OCTET_TILE // 64)
                for u in range(min(OCTET_TILE // 64, falling.size - first)):
                    signs[start + i, first + u] = falling[first + u] ^ (
                        which_reach(dots, 64 * u, thresholds,
                                    64 * (first + u)))


@jit
def _bitplane_dot(runs, order, tiles, y):
    _bitplane_rows(runs, order, tiles, y, numpy.empty((0, 0), numpy.uint64),
                   numpy.empty(0, numpy.int32), numpy.empty(0, numpy.uint64))


@jit
def _bitplane_sign(runs, order, tiles, thresholds, falling, signs):
    _bitplane_rows(runs, order, tiles, numpy.empty((0, 0), numpy.int32), signs,
                   _padded(thresholds, 64 * falling.size, numpy.int32),
                   falling)


def pack_signs(x):
    """See ``numpy_bits.pack_signs``."""
    if not is_covered(x):
        return numpy_bits.pack_signs(x)
    return sign_bits(x)[0]


def xnor_dot(a, tiles, n_in, n_out):
    """See ``numpy_bits.xnor_dot``."""
    a, tiles = numpy.ascontiguousarray(a), numpy.ascontiguousarray(tiles)
    y = numpy.empty((len(a), n_out), numpy.int32)
    return rows.run(_xnor_dot, a, y, len(a) * tiles.size, tiles, n_in)


def xnor_sign(a, tiles, n_in, thresholds, falling):
    """See ``numpy_bits.xnor_sign``."""
    a, tiles = numpy.ascontiguousarray(a), numpy.ascontiguousarray(tiles)
    y = numpy.empty((len(a), len(tiles)), numpy.uint64)
    return rows.run(_xnor_sign, a, y, len(a) * tiles.size, tiles, n_in,
                    thresholds, falling)


def _runs(x):
    """Returns rows of pixels as runs of 4, uint32, the first pixel lowest."""
    x = numpy.ascontiguousarray(numpy_bits.whole_runs(x))
    return x.view('<u4').astype(numpy.uint32, copy=False)


def bitplane_dot(x, order, tiles, n_out):
    """See ``numpy_bits.bitplane_dot``."""
    runs, tiles = _runs(x), numpy.ascontiguousarray(tiles)
    y = numpy.empty((len(x), n_out), numpy.int32)
    return rows.run(_bitplane_dot, runs, y, len(x) * tiles.size // 8, order,
                    tiles)


def bitplane_sign(x, order, tiles, thresholds, falling):
    """See ``numpy_bits.bitplane_sign``."""
    runs, tiles = _runs(x), numpy.ascontiguousarray(tiles)
    y = numpy.empty((len(x), len(falling)), numpy.uint64)
    return rows.run(_bitplane_sign, runs, y, len(x) * tiles.size // 8, order,
                    tiles, thresholds, falling)
