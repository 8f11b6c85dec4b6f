"""Matrix products of signs and signs in a training, by XNOR and popcount.

One factor are binary activations, some of which dropout may have set to zero,
the other one the bits of weights. (A packed net, whose activations are bits as
well and whose weights lie in tiles, has products of its own: see
``numba_bits``.)
"""
import numpy

from kernels.compiled.jit import jit
from kernels.compiled.parallel import divided
from kernels.compiled.product_intrinsics import (
    ROWS, masked_xnor_tile_row, masked_xnor_tile_rows)
from kernels.compiled.vector_intrinsics import (
    has_magnitude, is_at_least, popcount)
from kernels.cores import n_own

# Least number of weights that a core is given: some 10 us at 100 rows.
_WEIGHTS = 1 << 14


@jit
def _ternary_bits(x, start, n, magnitude):
    """Returns a word of the signs of values and one of those that are not 0.

    The third result is whether each of the n <= 64 values is 0 or +- the
    magnitude.
    """
    zero = x.dtype.type(0)
    if n == 64:
        mask = has_magnitude(x, start, magnitude)
        zeros = has_magnitude(x, start, zero)
        return (is_at_least(x, start, zero), mask,
                mask | zeros == ~numpy.uint64(0))
    word = mask = numpy.uint64(0)
    is_covered = True
    for j in range(n):
        value = x[start + j]
        bit = numpy.uint64(1) << numpy.uint64(j)
        if value >= 0:
            word |= bit
        if abs(value) == magnitude:
            mask |= bit
        elif value != 0:
            is_covered = False
    return word, mask, is_covered


@jit
def _pack(x, magnitude, words, masks, n_active):
    """Writes values as bits, and the number of those that are not 0.

    Returns whether the values of x are 0 or +- the magnitude.
    """
    n_rows, n_in = x.shape
    x = x.reshape(-1)
    for i in range(n_rows):
        n_active[i] = 0
        for k in range(words.shape[1]):
            words[i, k], masks[i, k], is_covered = _ternary_bits(
                x, i * n_in + 64 * k, min(64, n_in - 64 * k), magnitude)
            if not is_covered:
                return False
            n_active[i] += numpy.int64(popcount(masks[i, k]))
    return True


@divided
@jit
def _multiply(start, stop, words, masks, n_active, W, magnitude, y):
    """Writes ``x W^T`` to y, for those tiles of 64 units, all in bits."""
    n_rows, n_words = words.shape
    # Tiles of the weights one after the other; see numpy_bits.tile_weights.
    tile = numpy.zeros((n_words, 64), numpy.uint64)
    dots = numpy.empty(ROWS * 64, numpy.int64)
    for first in range(64 * start, min(64 * stop, len(W)), 64):
        n_units = min(64, len(W) - first)
        for u in range(n_units):
            for k in range(n_words):
                tile[k, u] = W[first + u, k]
        i = 0
        while i < n_rows:
            n = ROWS if i + ROWS <= n_rows else 1
            if n == ROWS:
                masked_xnor_tile_rows(words, masks, i * n_words, tile, 0,
                                      n_words, 0, dots)
            else:
                masked_xnor_tile_row(words, masks, i * n_words, tile, 0,
                                     n_words, 0, dots)
            for r in range(n):
                for u in range(n_units):
                    y[i + r, first + u] = magnitude * y.dtype.type(
                        n_active[i + r] + dots[64 * r + u])
            i += n


def magnitude_of(matrix):
    """Returns c where the first row of a matrix has but +-c and 0, or None.

    This look tells real numbers, such as pixels, from signs right away.
    """
    row = numpy.abs(matrix[0])
    magnitude = row.max()
    if (numpy.isfinite(magnitude) and magnitude > 0
            and ((row == magnitude) | (row == 0)).all()):
        return magnitude
    return None


def dot_transposed(x, W):
    """Returns the product ``x W^T``, or None where it is not covered.

    A value is c times a sum of integers, rounded once: exact where c is a
    power of two.

    Args:
        x (numpy.ndarray): Float32 or float64 matrix of shape (N, K) whose
            values are +-c and 0, for any c.
        W (numpy.ndarray): Signs of a matrix of shape (M, K) in bits, see
            ``numpy_bits.pack_signs``.

    Returns:
        numpy.ndarray: Product of shape (N, M), of x's dtype.

    """
    if not (x.size and x.dtype in (numpy.float32, numpy.float64)
            and x.dtype.isnative and x.flags.c_contiguous):
        return None
    magnitude = magnitude_of(x)
    if magnitude is None:
        return None
    # On one core: the bits are less to hand over than the values.
    words, masks = numpy.empty((2, len(x), W.shape[1]), numpy.uint64)
    n_active = numpy.empty(len(x), numpy.int64)
    if not _pack(x, magnitude, words, masks, n_active):
        return None
    y = numpy.empty((len(x), len(W)), x.dtype)
    _multiply(-(-len(W) // 64), n_own(64 * W.size, _WEIGHTS), words, masks,
              n_active, W, magnitude, y)
    return y
