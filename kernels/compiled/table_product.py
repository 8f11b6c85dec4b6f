"""Matrix products of real numbers and signs, by sums looked up in tables.

Of 5 numbers, 5 signs can make 32 sums. They are computed once, for each group
of 5 numbers in a row, and fit two registers of a processor with AVX-512, which
then looks up the sums for 16 columns of signs by one instruction: that and an
addition take the place of 5 multiply-adds. In a training these are the
products of the backward, where the weights or the activations are signs, and
that of the first layer's forward. Where signs may be zero as well, as
activations after dropout, 3 of them make 27 sums. A processor with AVX2 looks
up one of 8 sums of 3 numbers, for 8 columns.

The idea is the "method of the four Russians": V. Arlazarov, E. Dinic, M.
Kronrod, I. Faradzev, "On economical construction of the transitive closure of
a directed graph", 1970.

The sums are in another order than a BLAS library's, so that results differ
within rounding; they depend on nothing but the values and the processor's
kind. Float32 only.
"""
import numpy

from kernels.compiled.jit import jit
from kernels.compiled.parallel import divided
from kernels.compiled.product_intrinsics import (
    TABLE, TABLE_BITS, TABLE_COLUMNS, TABLE_ROWS, TILE, table_tile)
from kernels.compiled.vector_intrinsics import or_where
from kernels.compiled.xnor_product import magnitude_of
from kernels.cores import n_own

# Words of indices whose tables are made at once: with TABLE_ROWS rows they
# stay in the first-level cache (23 kB with AVX-512, 10 kB with AVX2).
_WORDS = 6

# Of signs a word holds 30, whether 5 or 3 are an index; of those that may be
# zero 18, 3 of which are an index of 5 bits.
_GROUPS = 32 // TABLE_BITS if TABLE_BITS else 0
_BINARY_ROWS, _TERNARY_ROWS = 30, 18

# Least signs to encode, and lookups, that a core is given: some 10 us.
_ENCODING = 1 << 18
_LOOKUPS = 1 << 18

# Factor [i, e]: what entry e of a table takes of the i-th number of a group.
_ENTRIES, _PLACES = numpy.arange(TABLE), numpy.arange(5)[:, None]
_BINARY = numpy.where(
    _PLACES < TABLE_BITS, 2 * (_ENTRIES >> _PLACES & 1) - 1,
    0).astype(numpy.float32)
_TERNARY = numpy.where(
    _PLACES < 3, _ENTRIES // 3 ** _PLACES % 3 - 1, 0).astype(numpy.float32)


@divided
@jit
def _encode_binary(start, stop, b, magnitude, words, has_others):
    """Writes signs as indices of table entries, 30 rows as a row of words.

    Sets has_others[0] where b has other values than +- the magnitude.
    """
    b, words = b[_BINARY_ROWS * start:_BINARY_ROWS * stop], words[start:stop]
    zero = b.dtype.type(0)
    words[:] = 0
    for i in range(len(b)):
        k, place = i // _BINARY_ROWS, numpy.uint32(i % _BINARY_ROWS)
        n_others = 0
        for j in range(b.shape[1]):
            words[k, j] |= numpy.uint32(b[i, j] > zero) << place
            n_others += abs(b[i, j]) != magnitude
        if n_others:
            has_others[0] = True
            return


@divided
@jit
def _encode_ternary(start, stop, b, magnitude, words, has_others):
    """Writes signs and zeros as indices, 18 rows as a row of words.

    Sets has_others[0] where b has other values than 0 and +- the magnitude.
    """
    b, words = b[_TERNARY_ROWS * start:_TERNARY_ROWS * stop], words[start:stop]
    zero = b.dtype.type(0)
    words[:] = 0
    for i in range(len(b)):
        k, place = i // _TERNARY_ROWS, i % _TERNARY_ROWS
        weight = numpy.uint32(3 ** (place % 3) << 5 * (place // 3))
        n_others = 0
        for j in range(b.shape[1]):
            # Not below 0, and above it: 0, 1 or 2.
            digit = (numpy.uint32(b[i, j] >= zero)
                     + numpy.uint32(b[i, j] > zero))
            words[k, j] += digit * weight
            n_others += not (abs(b[i, j]) == magnitude or b[i, j] == zero)
        if n_others:
            has_others[0] = True
            return


@divided
@jit
def _stack(start, stop, signs, words):
    """Writes signs in bits as indices, 30 rows as a row of words."""
    words[start:stop] = 0
    width = words.shape[1]
    for k in range(start, stop):
        first = k * _BINARY_ROWS
        for place in range(min(_BINARY_ROWS, len(signs) - first)):
            bit = numpy.uint32(1 << place)
            for w in range(signs.shape[1]):
                or_where(signs[first + place, w], words, k * width + 64 * w,
                         bit)


@divided
@jit
def _regroup(start, stop, signs, words):
    """Writes the transpose of signs in bits as indices, 30 columns as a row.

    So a word of 64 bits becomes words of 30 bits that lie in a column.
    """
    low = numpy.uint64((1 << _BINARY_ROWS) - 1)
    for k in range(start, stop):
        w, place = divmod(k * _BINARY_ROWS, 64)
        for j in range(len(signs)):
            bits = signs[j, w] >> numpy.uint64(place)
            if place > 64 - _BINARY_ROWS and w + 1 < signs.shape[1]:
                bits |= signs[j, w + 1] << numpy.uint64(64 - place)
            words[k, j] = bits & low


@jit
def _make_tables(numbers, start, n_groups, span, digits, tables):
    """Writes the sums that signs can make of each group of numbers in a row.

    For TABLE_ROWS rows and n_groups groups of ``span`` numbers, the first of
    which begins at ``start``.
    """
    at = 0
    for k in range(start, start + n_groups * span, span):
        for r in range(TABLE_ROWS):
            a0, a1, a2, a3, a4 = (
                numbers[r, k], numbers[r, k + 1], numbers[r, k + 2],
                numbers[r, k + 3], numbers[r, k + 4])
            for e in range(TABLE):
                tables[at + e] = (
                    (a0 * digits[0, e] + a1 * digits[1, e])
                    + (a2 * digits[2, e] + a3 * digits[3, e])
                    + a4 * digits[4, e])
            at += TABLE


@divided
@jit
def _multiply(start, stop, a, is_transposed, words, span, digits, y):
    """Writes the product of numbers and signs given as indices to y.

    For those blocks of TABLE_ROWS rows. The numbers are a or its transpose.
    """
    n_rows, n_columns = y.shape
    n = len(a) if is_transposed else a.shape[1]
    width = words.shape[1]
    # Rows of zeros beyond the last one, and zeros beyond its end: a group has
    # 5 numbers, of which the digits may count 3.
    numbers = numpy.zeros((TABLE_ROWS, n + len(digits)), numpy.float32)
    tables = numpy.empty(_WORDS * _GROUPS * TABLE_ROWS * TABLE, numpy.float32)
    sums = numpy.empty(TABLE_ROWS * width, numpy.float32)
    for first in range(TABLE_ROWS * start, min(TABLE_ROWS * stop, n_rows),
                       TABLE_ROWS):
        n_left = min(TABLE_ROWS, n_rows - first)
        numbers[n_left:] = 0
        # Two loops, not an assignment of slices: to check their shapes costs
        # Numba two seconds of compiling.
        if is_transposed:
            for k in range(n):
                for r in range(n_left):
                    numbers[r, k] = a[k, first + r]
        else:
            for r in range(n_left):
                for k in range(n):
                    numbers[r, k] = a[first + r, k]
        sums[:] = 0
        for word in range(0, len(words), _WORDS):
            at = word * _GROUPS * span
            n_groups = min(_WORDS * _GROUPS, (n - at + span - 1) // span)
            _make_tables(numbers, at, n_groups, span, digits, tables)
            for j in range(0, width, TABLE_COLUMNS):
                table_tile(tables, words, word * width + j, width, n_groups,
                           sums, j, width)
        for r in range(n_left):
            for j in range(n_columns):
                y[first + r, j] = sums[r * width + j]


def _is_covered(a, n_columns):
    return (TABLE_BITS and a.size and a.dtype == numpy.float32
            and a.dtype.isnative
            and len(a) >= TABLE_ROWS and n_columns >= TILE)


def _empty_words(n, n_columns, rows):
    """Returns words for the indices of n rows of signs, ``rows`` in a word."""
    return numpy.empty(
        (-(-n // rows), -(-n_columns // TABLE_COLUMNS) * TABLE_COLUMNS),
        numpy.uint32)


def _run(a, words, span, digits, n_columns):
    """Returns the product of numbers and signs given as indices."""
    y = numpy.empty((len(a), n_columns), numpy.float32)
    is_transposed = a.T.flags.c_contiguous
    _multiply(-(-len(a) // TABLE_ROWS),
              n_own(len(a) * words.size * _GROUPS, _LOOKUPS),
              a.T if is_transposed else numpy.ascontiguousarray(a),
              is_transposed, words, span, digits, y)
    return y


def _encode(b, magnitude, kernel, rows):
    """Returns signs as words of indices, or None where b has other values."""
    words = _empty_words(*b.shape, rows)
    has_others = numpy.zeros(1, bool)
    kernel(len(words), n_own(b.size, _ENCODING), b, magnitude, words,
           has_others)
    return None if has_others[0] else words


def dot(a, b):
    """Returns the product ``a b``, or None where it is not covered.

    Args:
        a (numpy.ndarray): Float32 matrix of shape (N, K), any numbers.
        b (numpy.ndarray): Float32 matrix of shape (K, M) whose values are
            +-c or, with AVX-512, 0 and +-c, for any c.

    Returns:
        numpy.ndarray: Float32 product of shape (N, M).

    """
    if not (_is_covered(a, b.shape[1]) and b.dtype == numpy.float32
            and b.dtype.isnative and b.flags.c_contiguous):
        return None
    magnitude = magnitude_of(b)
    if magnitude is None:
        return None
    words = _encode(b, magnitude, _encode_binary, _BINARY_ROWS)
    if words is not None:
        return _run(a, words, TABLE_BITS, magnitude * _BINARY, b.shape[1])
    if TABLE < 27:
        return None
    words = _encode(b, magnitude, _encode_ternary, _TERNARY_ROWS)
    if words is not None:
        return _run(a, words, 3, magnitude * _TERNARY, b.shape[1])
    return None


def dot_signs(a, signs, n_columns):
    """Returns the product ``a b``, or None where it is not covered.

    Args:
        a (numpy.ndarray): Float32 matrix of shape (N, K), any numbers.
        signs (numpy.ndarray): Signs of b, of shape (K, n_columns), in bits,
            see ``numpy_bits.pack_signs``.
        n_columns (int): Number of columns of b.

    Returns:
        numpy.ndarray: Float32 product of shape (N, n_columns).

    """
    if not _is_covered(a, n_columns):
        return None
    words = _empty_words(len(signs), 64 * signs.shape[1], _BINARY_ROWS)
    _stack(len(words), n_own(64 * signs.size, _ENCODING), signs, words)
    return _run(a, words, TABLE_BITS, _BINARY, n_columns)


def dot_signs_transposed(a, signs):
    """Returns the product ``a b^T``, or None where it is not covered.

    Args:
        a (numpy.ndarray): Float32 matrix of shape (N, K), any numbers.
        signs (numpy.ndarray): Signs of b, of shape (M, K), in bits, see
            ``numpy_bits.pack_signs``.

    Returns:
        numpy.ndarray: Float32 product of shape (N, M).

    """
    if not _is_covered(a, len(signs)):
        return None
    words = _empty_words(a.shape[1], len(signs), _BINARY_ROWS)
    _regroup(len(words), n_own(64 * signs.size, _ENCODING), signs, words)
    return _run(a, words, TABLE_BITS, _BINARY, len(signs))
