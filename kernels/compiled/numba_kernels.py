"""The kernels as one pass over memory each, compiled by Numba.

Their results equal those of ``numpy_kernels`` bit for bit: the same operations
in the same order, and no contraction to fused multiply-adds. The exception are
products of real numbers, whose sums a BLAS library orders as it likes. What
the compiled code does not cover (float16, arrays that are not contiguous) goes
to NumPy.

Each kernel is compiled for one thread; large arrays are divided among those of
``kernels.threads``.
"""
import collections
import math

import numpy

from kernels import numpy_bits, numpy_kernels
from kernels.compiled import sign_matrix as packed_matrix
from kernels.compiled import table_product
from kernels.compiled.jit import jit
from kernels.compiled.vector_intrinsics import (
    OCTET_TILE, ROWS, ap2 as _nearest_power, at_least, bitplane_tile,
    xnor_tile_row, xnor_tile_rows)
from kernels.matrix import Matrix
from kernels.threads import n_own, n_threads, run_in_threads


def _is_covered(*arrays):
    dtype, shape = arrays[0].dtype, arrays[0].shape
    return (dtype in (numpy.float32, numpy.float64)
            and dtype.isnative
            and all(a.dtype == dtype and a.shape == shape
                    and a.flags.c_contiguous for a in arrays))


@jit
def _binarize(x, y):
    one = x.dtype.type(1)
    for i in range(x.size):
        # x itself where it is neither: NaN.
        y[i] = one if x[i] >= 0 else -one if x[i] < 0 else x[i]


@jit
def _binarize_backward(x, gy, gx):
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        gx[i] = gy[i] * (one if abs(x[i]) <= 1 else zero)


@jit
def _binarize_stochastic(x, random, y):
    one, half = x.dtype.type(1), x.dtype.type(.5)
    for i in range(x.size):
        uniform = numpy.float32(random[i] >> numpy.uint32(8)) * numpy.float32(
            2. ** -24)
        sign = one if uniform < (x[i] + one) * half else -one
        y[i] = sign if x[i] == x[i] else x[i]


@jit
def _dropout_mask(mask, first, seed, limit, scale):
    for i in range(mask.size):
        z = seed + (first + numpy.uint64(i) + numpy.uint64(1)) * numpy.uint64(
            0x9E3779B97F4A7C15)
        z = (z ^ z >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
        z ^= z >> numpy.uint64(31)
        mask[i] = scale if z >= limit else 0


# Below, comparisons are false for NaN, which so stays what it is.

@jit
def _quantize_linear(x, y, step):
    one = x.dtype.type(1)
    inverse, highest = one / step, one - step
    for i in range(x.size):
        q = numpy.rint(x[i] * inverse) * step
        y[i] = -one if q < -one else highest if q > highest else q


@jit
def _ap2(x, y):
    for i in range(x.size):
        y[i] = _nearest_power(x[i])


@jit
def _quantize_log(x, y, least, zero_below):
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        magnitude = abs(x[i])
        q = _nearest_power(magnitude)
        q = one if q > one else least if q < least else q
        q = zero if magnitude < zero_below else q
        y[i] = math.copysign(q, x[i])


@jit
def _count_outside(x):
    n = 0
    for i in range(x.size):
        n += not abs(x[i]) <= 1
    return n


# Batch normalization walks over a batch row by row: so do NumPy's sums along
# the first axis, and each value of a row has a place in a vector register.

@jit
def _batch_normalization(x, gamma, beta, eps, y, mean, var, inv_std):
    n, n_columns = x.shape
    count = x.dtype.type(n)
    one = x.dtype.type(1)
    mean[:] = 0
    var[:] = 0
    for i in range(n):
        for j in range(n_columns):
            mean[j] += x[i, j]
    for j in range(n_columns):
        mean[j] /= count
    for i in range(n):
        for j in range(n_columns):
            deviation = x[i, j] - mean[j]
            var[j] += deviation * deviation
    for j in range(n_columns):
        var[j] /= count
        inv_std[j] = one / numpy.sqrt(var[j] + eps)
    for i in range(n):
        for j in range(n_columns):
            y[i, j] = (x[i, j] - mean[j]) * inv_std[j] * gamma[j] + beta[j]


@jit
def _batch_normalization_backward(x, gamma, gy, mean, inv_std, inv_n,
                                  gx, ggamma, gbeta):
    n, n_columns = x.shape
    ggamma[:] = 0
    gbeta[:] = 0
    for i in range(n):
        for j in range(n_columns):
            ggamma[j] += gy[i, j] * ((x[i, j] - mean[j]) * inv_std[j])
            gbeta[j] += gy[i, j]
    for i in range(n):
        for j in range(n_columns):
            x_hat = (x[i, j] - mean[j]) * inv_std[j]
            gx[i, j] = gamma[j] * inv_std[j] * (
                gy[i, j] - (x_hat * ggamma[j] + gbeta[j]) * inv_n)


@jit
def _adam(param, grad, m, v, alpha_t, beta1_c, beta2_c, eps, eta, lower,
          upper):
    for i in range(param.size):
        g = grad[i]
        m_i = m[i] + beta1_c * (g - m[i])
        v_i = v[i] + beta2_c * (g * g - v[i])
        p = param[i] - eta * (alpha_t / (numpy.sqrt(v_i) + eps) * m_i)
        m[i] = m_i
        v[i] = v_i
        # Comparisons are false for NaN, which so stays what it is.
        param[i] = lower if p < lower else upper if p > upper else p


@jit
def _shift_adamax(param, grad, m, v, step, beta1_c, beta2, lower, upper, tiny):
    one, zero = param.dtype.type(1), param.dtype.type(0)
    for i in range(param.size):
        g = grad[i]
        m_i = m[i] + (g - m[i]) * beta1_c
        v_i, magnitude = v[i] * beta2, abs(g)
        v_i = v_i if v_i >= magnitude or v_i != v_i else magnitude
        inverse = zero if v_i < tiny else _nearest_power(one / v_i)
        p = param[i] - m_i * inverse * step
        m[i] = m_i
        v[i] = v_i
        param[i] = lower if p < lower else upper if p > upper else p


# Least values of an array for which a thread is woken.
_ELEMENTS = 1 << 17


def _elementwise(kernel, *args):
    """Runs a kernel on flat arrays, the first of the arguments, in threads."""
    n_arrays = sum(isinstance(arg, numpy.ndarray) for arg in args)
    arrays, scalars = args[:n_arrays], args[n_arrays:]
    arrays = [array.reshape(-1) for array in arrays]
    size = arrays[0].size
    run_in_threads(
        lambda part: kernel(*(array[part] for array in arrays), *scalars),
        size, n_own(size, _ELEMENTS))


def binarize(x):
    """See ``numpy_kernels.binarize``."""
    if not _is_covered(x):
        return numpy_kernels.binarize(x)
    y = numpy.empty_like(x)
    _elementwise(_binarize, x, y)
    return y


def binarize_backward(x, gy):
    """See ``numpy_kernels.binarize_backward``."""
    if not _is_covered(x, gy):
        return numpy_kernels.binarize_backward(x, gy)
    gx = numpy.empty_like(gy)
    _elementwise(_binarize_backward, x, gy, gx)
    return gx


def binarize_stochastic(x, random):
    """See ``numpy_kernels.binarize_stochastic``."""
    if not (_is_covered(x) and random.flags.c_contiguous):
        return numpy_kernels.binarize_stochastic(x, random)
    y = numpy.empty_like(x)
    _elementwise(_binarize_stochastic, x, random, y)
    return y


def dropout_mask(x, ratio, seed):
    """See ``numpy_kernels.dropout_mask``."""
    if x.dtype not in (numpy.float32, numpy.float64):
        return numpy_kernels.dropout_mask(x, ratio, seed)
    mask = numpy.empty(x.shape, x.dtype)
    flat = mask.reshape(-1)
    limit = numpy_kernels.dropout_limit(ratio)
    run_in_threads(
        lambda part: _dropout_mask(
            flat[part], numpy.uint64(part.start), numpy.uint64(seed), limit,
            mask.dtype.type(1 / (1 - ratio))),
        flat.size, n_own(flat.size, _ELEMENTS))
    return mask


def quantize_linear(x, bits):
    """See ``numpy_kernels.quantize_linear``."""
    if not _is_covered(x):
        return numpy_kernels.quantize_linear(x, bits)
    y = numpy.empty_like(x)
    _elementwise(_quantize_linear, x, y, x.dtype.type(2. ** (1 - bits)))
    return y


def ap2(x):
    """See ``numpy_kernels.ap2``."""
    if not _is_covered(x):
        return numpy_kernels.ap2(x)
    y = numpy.empty_like(x)
    _elementwise(_ap2, x, y)
    return y


def quantize_log(x, n):
    """See ``numpy_kernels.quantize_log``."""
    if not _is_covered(x):
        return numpy_kernels.quantize_log(x, n)
    y = numpy.empty_like(x)
    limits = (2. ** (1 - n), 2. ** -n) if n else (0, 0)
    _elementwise(_quantize_log, x, y, *map(x.dtype.type, limits))
    return y


def count_outside(x):
    """See ``numpy_kernels.count_outside``."""
    if not _is_covered(x):
        return numpy_kernels.count_outside(x)
    return _count_outside(x.reshape(-1))


def batch_normalization(x, gamma, beta, eps):
    """See ``numpy_kernels.batch_normalization``."""
    if not (_is_covered(x) and _is_covered(x[0], gamma, beta)):
        return numpy_kernels.batch_normalization(x, gamma, beta, eps)
    y = numpy.empty_like(x)
    mean, var, inv_std = (numpy.empty_like(gamma) for _ in range(3))
    _batch_normalization(
        x, gamma, beta, x.dtype.type(eps), y, mean, var, inv_std)
    return y, mean, var, inv_std


def batch_normalization_backward(x, gamma, gy, mean, inv_std):
    """See ``numpy_kernels.batch_normalization_backward``."""
    if not (_is_covered(x, gy) and _is_covered(x[0], gamma, mean, inv_std)):
        return numpy_kernels.batch_normalization_backward(
            x, gamma, gy, mean, inv_std)
    gx = numpy.empty_like(x)
    ggamma, gbeta = numpy.empty_like(gamma), numpy.empty_like(gamma)
    inv_n = x.dtype.type(1. / len(x))
    _batch_normalization_backward(
        x, gamma, gy, mean, inv_std, inv_n, gx, ggamma, gbeta)
    return gx, ggamma, gbeta


def dot(a, b):
    """See ``numpy_kernels.dot``."""
    y = table_product.dot(a, b)
    return numpy_kernels.dot(a, b) if y is None else y


def sign_matrix(W):
    """See ``numpy_kernels.sign_matrix``."""
    if _is_covered(W):
        words, is_number = packed_matrix.pack_signs(W)
        if is_number:
            return packed_matrix.PackedMatrix(words, W.shape, W.dtype)
    return Matrix(binarize(W), dot)


def adam(param, grad, m, v, alpha_t, beta1, beta2, eps, eta,
         lower=-numpy.inf, upper=numpy.inf):
    """See ``numpy_kernels.adam``."""
    if not _is_covered(param, grad, m, v):
        numpy_kernels.adam(param, grad, m, v, alpha_t, beta1, beta2, eps, eta,
                           lower, upper)
        return
    # In the arrays' dtype, so that no operation is done in a wider one.
    scalars = [param.dtype.type(s) for s in (
        alpha_t, 1.0 - beta1, 1.0 - beta2, eps, eta, lower, upper)]
    _elementwise(_adam, param, grad, m, v, *scalars)


def shift_adamax(param, grad, m, v, step, beta1, beta2,
                 lower=-numpy.inf, upper=numpy.inf):
    """See ``numpy_kernels.shift_adamax``."""
    if not _is_covered(param, grad, m, v):
        numpy_kernels.shift_adamax(param, grad, m, v, step, beta1, beta2,
                                   lower, upper)
        return
    # In the arrays' dtype, so that no operation is done in a wider one.
    scalars = [param.dtype.type(s) for s in (
        step, 1.0 - beta1, beta2, lower, upper,
        numpy.finfo(param.dtype).tiny)]
    _elementwise(_shift_adamax, param, grad, m, v, *scalars)


# Kernels of the packed network; see numpy_kernels for what they compute. The
# rows are divided among threads, each of which runs a kernel compiled for
# one: that is as fast as Numba's own threads, which spin while they wait and
# take the cores from the BLAS library (measured in benchmarks/).

# Rows whose words stay in the second-level cache while all tiles pass by.
_BLOCK = 256
_IMAGES = 64

# Groups of 8 pixels that bitplane_tile takes at once.
_CHUNK = 31

# Work for which a thread is woken, in popcounts of a word: some 50 us.
_WORK = 1 << 20

# Blocks of rows for each thread, if there are enough rows.
_BLOCKS = 8


@jit
def _padded(thresholds, n, dtype):
    # Beyond the units no sum is large enough, so that the bits there are 0.
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
                    y[i + r, t] = falling[t] ^ at_least(
                        dots, 64 * r, thresholds, 64 * t)
                i += n


@jit
def _find_octets(runs, order, groups, at, octets, places, e, ends):
    """Lists the octets of an image's planes that are not zero.

    MNIST's pictures are mostly black, and ``order`` puts neighbouring pixels
    together: three of four octets are zero. They are listed in chunks of 31
    groups of 8 pixels, see ``bitplane_tile``. ``groups`` and ``at`` are
    scratch memory. Returns the pixels' sum and the number of chunks.
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
    """Writes the sums to y or, where this is empty, the signs."""
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
                        at_least(dots, 64 * u, thresholds,
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


def _run(kernel, x, y, work, *args):
    """Runs ``kernel(x, *args, y)`` on the rows of x and y, in threads.

    A thread takes the next block of rows when it is done with one: where
    another program has taken a core, the other threads do more of them.
    """
    max_threads = min(n_threads(), work // _WORK)
    if max_threads <= 1:
        kernel(x, *args, y)
        return y
    step = max(_IMAGES, -(-len(x) // (_BLOCKS * max_threads)))
    blocks = collections.deque(range(0, len(x), step))

    def take_blocks(_):
        while True:
            try:
                start = blocks.popleft()
            except IndexError:
                return
            rows = slice(start, start + step)
            kernel(x[rows], *args, y[rows])

    run_in_threads(take_blocks, max_threads, max_threads)
    return y


def pack_signs(x):
    """See ``numpy_kernels.pack_signs``."""
    if not _is_covered(x):
        return numpy_kernels.pack_signs(x)
    return packed_matrix.pack_signs(x)[0]


unpack_signs = numpy_kernels.unpack_signs
tile_weights = numpy_kernels.tile_weights
tile_pixel_weights = numpy_kernels.tile_pixel_weights


def xnor_dot(a, tiles, n_in, n_out):
    """See ``numpy_kernels.xnor_dot``."""
    a, tiles = numpy.ascontiguousarray(a), numpy.ascontiguousarray(tiles)
    y = numpy.empty((len(a), n_out), numpy.int32)
    return _run(_xnor_dot, a, y, len(a) * tiles.size, tiles, n_in)


def xnor_sign(a, tiles, n_in, thresholds, falling):
    """See ``numpy_kernels.xnor_sign``."""
    a, tiles = numpy.ascontiguousarray(a), numpy.ascontiguousarray(tiles)
    y = numpy.empty((len(a), len(tiles)), numpy.uint64)
    return _run(_xnor_sign, a, y, len(a) * tiles.size,
                tiles, n_in, thresholds, falling)


def _runs(x):
    """Returns rows of pixels as words of 32 bits, the first pixel lowest."""
    x = numpy.ascontiguousarray(numpy_bits.whole_runs(x))
    return x.view('<u4').astype(numpy.uint32, copy=False)


def bitplane_dot(x, order, tiles, n_out):
    """See ``numpy_kernels.bitplane_dot``."""
    runs, tiles = _runs(x), numpy.ascontiguousarray(tiles)
    y = numpy.empty((len(x), n_out), numpy.int32)
    return _run(_bitplane_dot, runs, y, len(x) * tiles.size // 8, order,
                tiles)


def bitplane_sign(x, order, tiles, thresholds, falling):
    """See ``numpy_kernels.bitplane_sign``."""
    runs, tiles = _runs(x), numpy.ascontiguousarray(tiles)
    y = numpy.empty((len(x), len(falling)), numpy.uint64)
    return _run(_bitplane_sign, runs, y, len(x) * tiles.size // 8,
                order, tiles, thresholds, falling)
