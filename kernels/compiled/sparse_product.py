"""The product of gradients and pixels, many of which are the background.

So is the gradient of a first layer's weights made, ``gy^T x``. Where a pixel
is the background, c, there is nothing to do: ``gy^T x = gy^T (x - c) +
c sum_i gy_i``. That is so for four of five of MNIST's pixels.
"""
import numpy

from kernels.compiled.jit import is_covered, jit
from kernels.compiled.parallel import divided
from kernels.compiled.product_intrinsics import TILE
from kernels.compiled.sparse_intrinsics import add_rows, transpose
from kernels.cores import n_own

# Images whose gradients of a tile of units stay in the first-level cache, and
# pixels whose sums are written together.
_IMAGES = 100
_PIXELS = 16

# Share of the background from which on the BLAS library is slower.
_SHARE = .4

# Least multiplications, those left out among them, that a core is given: some
# 10 us.
_WORK = 1 << 20


@jit
def _list_pixels(x, background, places, values, ends):
    """Lists what is not the background in each column of x."""
    e = 0
    for j in range(ends.size):
        for i in range(len(x)):
            value = x[i, j] - background
            places[e] = i
            values[e] = value
            e += value != 0
        ends[j] = e


@divided
@jit
def _multiply(start, stop, gy, x, background, total, y):
    """Writes ``gy^T x`` to y, for those tiles of units.

    ``total`` is ``background sum_i gy_i``.
    """
    n_units, n_pixels = y.shape
    flat = y.reshape(-1)
    places = numpy.empty(n_pixels * _IMAGES + 1, numpy.int64)
    values = numpy.empty(n_pixels * _IMAGES + 1, x.dtype)
    ends = numpy.empty(n_pixels, numpy.int64)
    rows = numpy.zeros((_IMAGES, TILE), x.dtype)
    sums = numpy.zeros((_PIXELS, TILE), x.dtype)
    columns = numpy.empty((TILE, _PIXELS), x.dtype)
    for image in range(0, len(x), _IMAGES):
        n_images = min(_IMAGES, len(x) - image)
        _list_pixels(x[image:image + n_images], background, places, values,
                     ends)
        for unit in range(start * TILE, min(stop * TILE, n_units), TILE):
            n_tile = min(TILE, n_units - unit)
            for i in range(n_images):
                for u in range(n_tile):
                    rows[i, u] = gy[image + i, unit + u]
            e = 0
            for block in range(0, n_pixels, _PIXELS):
                n_block = min(_PIXELS, n_pixels - block)
                at = unit * n_pixels + block
                for j in range(n_block):
                    for u in range(n_tile):
                        # What there was before these images.
                        sums[j, u] = (flat[at + u * n_pixels + j] if image
                                      else total[unit + u])
                    add_rows(rows, places, values, e, ends[block + j], sums, j)
                    e = ends[block + j]
                if n_tile == TILE and n_block == _PIXELS:
                    transpose(sums, flat, at, n_pixels)
                else:
                    transpose(sums, columns.reshape(-1), 0, _PIXELS)
                    for u in range(n_tile):
                        for j in range(n_block):
                            flat[at + u * n_pixels + j] = columns[u, j]


def dot(a, b):
    """Returns the product ``a b``, or None where it is not covered.

    Args:
        a (numpy.ndarray): Float32 or float64 matrix of shape (M, N), M 64 or
            more, the transpose of one that lies in rows.
        b (numpy.ndarray): Matrix of shape (N, K), of a's dtype, in rows; two
            of five values or more are that of the first one.

    Returns:
        numpy.ndarray: Product of shape (M, K).

    """
    if not (len(a) >= TILE and b.size and a.dtype == b.dtype
            and is_covered(a.T) and is_covered(b)):
        return None
    background = b[0, 0]
    if numpy.count_nonzero(b == background) < _SHARE * b.size:
        return None
    y = numpy.empty((len(a), b.shape[1]), b.dtype)
    _multiply(-(-len(a) // TILE), n_own(a.size * b.shape[1], _WORK),
              a.T, b, background, background * a.sum(axis=1), y)
    return y
