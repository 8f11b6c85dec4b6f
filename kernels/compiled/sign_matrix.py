"""The signs of weights in bits, and the products of a training with them.

One pass over the weights makes a bit of each; all products, forward and
backward, are made from these bits.
"""
import functools

import numpy

from kernels import numpy_kernels
from kernels.compiled import table_product, xnor_product
from kernels.compiled.jit import jit
from kernels.compiled.parallel import divided
from kernels.compiled.vector_intrinsics import is_at_least
from kernels.matrix import Matrix
from kernels.cores import n_own

# Least number of weights that a core is given: some 10 us.
_WEIGHTS = 1 << 16


@divided
@jit
def _write_bits(start, stop, x, words, has_nan):
    """Writes the bits ``x >= 0`` to words; sets has_nan[0] where one is NaN.

    The bits beyond the end of a row are 0.
    """
    n = x.shape[1]
    n_rows = stop - start
    x, words = x[start:stop].reshape(-1), words[start:stop]
    zero, least = x.dtype.type(0), x.dtype.type(-numpy.inf)
    n_numbers = 0
    for i in range(n_rows):
        for k in range(n // 64):
            at = i * n + 64 * k
            words[i, k] = is_at_least(x, at, zero)
            n_numbers += 64 * (
                is_at_least(x, at, least) == ~numpy.uint64(0))
        if n % 64:
            word = numpy.uint64(0)
            for j in range(n % 64):
                value = x[i * n + n - n % 64 + j]
                word |= numpy.uint64(value >= zero) << numpy.uint64(j)
                n_numbers += value == value
            words[i, n // 64] = word
    if n_numbers != x.size:
        has_nan[0] = True


@divided
@jit
def _write_signs(start, stop, words, W):
    """Writes +1 or -1 for each bit of rows of words to a matrix."""
    words, W = words[start:stop], W[start:stop]
    one = W.dtype.type(1)
    for i in range(W.shape[0]):
        for j in range(W.shape[1]):
            bit = words[i, j // 64] >> numpy.uint64(j % 64) & numpy.uint64(1)
            W[i, j] = one if bit else -one


class SignMatrix(Matrix):
    """The signs of weights in bits; see ``numpy_kernels.sign_matrix``.

    Args:
        words (numpy.ndarray): Bits of the signs, see :func:`sign_bits`.
        shape (tuple): Shape of the weights, (M, K).
        dtype (numpy.dtype): Dtype of the weights.

    """

    def __init__(self, words, shape, dtype):
        self._words = words
        self._shape = shape
        self._dtype = dtype

    @functools.cached_property
    def array(self):
        """The matrix of +1 and -1, for products that no kernel covers."""
        array = numpy.empty(self._shape, self._dtype)
        _write_signs(len(array), n_own(array.size, _WEIGHTS), self._words,
                     array)
        return array

    def multiply_transposed(self, x):
        y = None
        if x.dtype == self._dtype and x.shape[1] == self._shape[1]:
            y = xnor_product.dot_transposed(x, self._words)
            if y is None:
                y = table_product.dot_signs_transposed(x, self._words)
        return numpy_kernels.dot(x, self.array.T) if y is None else y

    def multiply(self, gy):
        y = None
        if gy.dtype == self._dtype and gy.shape[1] == self._shape[0]:
            y = table_product.dot_signs(gy, self._words, self._shape[1])
        return numpy_kernels.dot(gy, self.array) if y is None else y


def sign_bits(x):
    """Returns the bits ``x >= 0`` of a matrix and whether no value is NaN.

    Args:
        x (numpy.ndarray): Contiguous float32 or float64 matrix of shape
            (N, K).

    Returns:
        tuple: uint64 words of shape (N, ceil(K / 64)), see
        ``numpy_bits.pack_signs``, and a bool.

    """
    words = numpy.empty((len(x), -(-x.shape[1] // 64)), numpy.uint64)
    has_nan = numpy.zeros(1, bool)
    _write_bits(len(x), n_own(x.size, _WEIGHTS), x, words, has_nan)
    return words, not has_nan[0]
