"""The kernels in plain NumPy: the reference for the others.

Every function takes and returns ``numpy.ndarray`` of any float dtype and any
memory layout, but for :func:`sign_matrix`, which returns a ``Matrix``.
``numba_kernels`` and ``cupy_kernels`` hold the same functions under the same
names.
"""
import numpy

from kernels.matrix import Matrix
from kernels.threads import n_own, run_in_threads

# Least multiplications of a matrix product for which a thread is woken.
_PRODUCT_WORK = 1 << 23

# Adam's update walks over the parameters in blocks of this many values, whose
# five arrays stay in a core's second-level cache.
_BLOCK = 1 << 14


def dot(a, b):
    """Returns the product of two matrices of one dtype.

    Args:
        a (numpy.ndarray): Matrix of shape (N, K).
        b (numpy.ndarray): Matrix of shape (K, M).

    Returns:
        numpy.ndarray: Product of shape (N, M).

    """
    n, m = len(a), b.shape[1]
    n_parts = n_own(a.size * m, _PRODUCT_WORK)
    if n_parts <= 1 or a.dtype != b.dtype:
        return a.dot(b)
    y = numpy.empty((n, m), a.dtype)
    if n > m:
        run_in_threads(lambda part: numpy.matmul(a[part], b, out=y[part]),
                       n, n_parts)
    else:
        run_in_threads(
            lambda part: numpy.matmul(a, b[:, part], out=y[:, part]),
            m, n_parts)
    return y


def binarize(x):
    """Returns the sign of x: +1 where ``x >= 0``, -1 where ``x < 0``.

    0 and -0.0 give +1; NaN stays NaN.
    """
    y = numpy.sign(x, out=numpy.empty_like(x))
    y += numpy.equal(x, 0)
    return y


def binarize_backward(x, gy):
    """Returns the straight-through gradient of the clipped sign.

    ``gx = gy * (|x| <= 1)``, which is 0 where x is NaN.
    """
    return numpy.multiply(gy, numpy.abs(x) <= 1, out=numpy.empty_like(gy))


def binarize_stochastic(x, random):
    """Returns +1 with probability ``clip((x + 1) / 2, 0, 1)``, else -1.

    The probability counts in multiples of 2^-24. NaN stays NaN.

    Args:
        x (numpy.ndarray): Array of any float dtype.
        random (numpy.ndarray): Uniform uint32 numbers, of x's shape.

    """
    uniform = (random >> 8).astype(numpy.float32)
    uniform *= numpy.float32(2. ** -24)  # in [0, 1), exactly
    one = x.dtype.type(1)
    y = numpy.where(uniform < (x + one) * x.dtype.type(.5), one, -one)
    numpy.copyto(y, x, where=numpy.isnan(x))
    return y


def dropout_mask(x, ratio, seed):
    """Returns 0 with a probability of ratio, else ``1 / (1 - ratio)``.

    Value i, in the order of C, is 0 where the i-th number of SplitMix64 (the
    first being number 0) is below ``2^64 ratio``.

    Args:
        x (numpy.ndarray): Array of any float dtype.
        ratio (float): In [0, 1).
        seed (int): Below 2^64.

    Returns:
        numpy.ndarray: Mask of x's shape and dtype.

    Reference: G. L. Steele Jr., D. Lea, C. H. Flood, "Fast splittable
    pseudorandom number generators", OOPSLA 2014.

    """
    z = numpy.arange(1, x.size + 1, dtype=numpy.uint64)
    z *= numpy.uint64(0x9E3779B97F4A7C15)
    z += numpy.uint64(seed)
    z = (z ^ z >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
    z ^= z >> numpy.uint64(31)
    is_kept = z >= dropout_limit(ratio)
    return (is_kept * x.dtype.type(1 / (1 - ratio))).reshape(x.shape)


def dropout_limit(ratio):
    """Returns ``2^64 ratio``."""
    return numpy.uint64(int(ratio * 2 ** 64))


def quantize_linear(x, bits):
    """Returns x rounded to ``2^bits`` uniform steps.

    ``y = clip(round(x / step) step, -1, 1 - step)``, ``step = 2^-(bits - 1)``,
    ties to the even multiple. NaN stays NaN.

    Args:
        x (numpy.ndarray): Array of any float dtype.
        bits (int): Number of bits, 2 or more.

    """
    step = x.dtype.type(2. ** (1 - bits))
    one = x.dtype.type(1)
    y = numpy.multiply(x, one / step, out=numpy.empty_like(x))
    numpy.rint(y, out=y)
    y *= step
    return numpy.clip(y, -one, one - step, out=y)


def sqrt_half(dtype):
    """Returns the least number of a float dtype that is at least sqrt(1/2)."""
    root = dtype.type(.5 ** .5)
    if float(root) < .5 ** .5:
        root = numpy.nextafter(root, dtype.type(1))
    return root


def ap2(x):
    """Returns the nearest power of two, as to the logarithm, with x's sign.

    ``y = sign(x) 2^round(log2 |x|)``: the switch between two powers lies at
    sqrt(2) times the smaller one. 0 stays 0; so do infinity and NaN.
    Subnormal numbers count as 0.
    """
    magnitude = numpy.abs(x)
    mantissa, exponent = numpy.frexp(magnitude)  # the mantissa is in [.5, 1)
    exponent -= mantissa < sqrt_half(x.dtype)
    with numpy.errstate(over='ignore'):
        y = numpy.ldexp(x.dtype.type(1), exponent)
    y = numpy.where(magnitude < numpy.finfo(x.dtype).tiny, x.dtype.type(0), y)
    y = numpy.where(numpy.isfinite(x), y, magnitude)
    return numpy.copysign(y, x)


def quantize_log(x, n):
    """Returns x rounded to powers of two, of at most 1.

    ``y = clip(ap2(x), -1, 1)``. With ``n``, the magnitudes are 1, 1/2, ...,
    ``2^-(n - 1)``, and 0 where ``|x| < 2^-n``. NaN stays NaN.

    Args:
        x (numpy.ndarray): Array of any float dtype.
        n (int): Number of magnitudes; 0: no lower end.

    """
    magnitude = numpy.abs(x)
    y = numpy.minimum(ap2(magnitude), x.dtype.type(1))
    if n:
        y = numpy.maximum(y, x.dtype.type(2. ** (1 - n)))
        y = numpy.where(magnitude < x.dtype.type(2. ** -n),
                        x.dtype.type(0), y)
    return numpy.copysign(y, x)


def count_outside(x):
    """Returns how many values do not meet ``|x| <= 1``, NaN among them."""
    return x.size - numpy.count_nonzero(numpy.abs(x) <= 1)


def batch_normalization(x, gamma, beta, eps):
    """Normalizes each column by its own mean and variance.

    ``y = gamma (x - mean) / sqrt(var + eps) + beta``, each operation rounded
    to the dtype of the arrays, in the order that Chainer's function has.

    Args:
        x (numpy.ndarray): Batch of shape (N, M).
        gamma, beta (numpy.ndarray): Scale and shift of shape (M,), x's dtype.
        eps (float): Small value for the numerical stability.

    Returns:
        tuple: y (N, M), and mean, variance and ``1 / sqrt(var + eps)``, (M,).

    """
    mean = x.mean(axis=0)
    var = x.var(axis=0)
    inv_std = numpy.reciprocal(numpy.sqrt(var + x.dtype.type(eps)))
    y = (x - mean) * inv_std * gamma + beta
    return y, mean, var, inv_std


def batch_normalization_backward(x, gamma, gy, mean, inv_std):
    """Returns the gradients of ``batch_normalization``.

    Args:
        x, gamma, mean, inv_std (numpy.ndarray): Inputs and results of the
            forward, N not 0.
        gy (numpy.ndarray): Upstream gradient of shape (N, M).

    Returns:
        tuple: gx (N, M), ggamma (M,), gbeta (M,).

    """
    x_hat = (x - mean) * inv_std
    ggamma = (gy * x_hat).sum(axis=0)
    gbeta = gy.sum(axis=0)
    inv_n = x.dtype.type(1. / len(x))
    gx = gamma * inv_std * (gy - (x_hat * ggamma + gbeta) * inv_n)
    return gx, ggamma, gbeta


def sign_matrix(W):
    """Returns ``binarize(W)`` as a matrix for products with it.

    Where a factor, too, holds but +-1, the sums are integers, exact in float32
    for rows of up to 2^24 values: however they are computed, they are the
    same.

    Args:
        W (numpy.ndarray): Weights of shape (M, K). They may change afterwards.

    Returns:
        ~kernels.matrix.Matrix: Their signs.

    """
    return Matrix(binarize(W), dot)


def adam(param, grad, m, v, alpha_t, beta1, beta2, eps, eta,
         lower=-numpy.inf, upper=numpy.inf):
    """One step of Adam, then a clip to [lower, upper]; all in place.

    ``m += (1 - beta1) (grad - m)``, ``v += (1 - beta2) (grad^2 - v)``,
    ``param -= eta alpha_t / (sqrt(v) + eps) m``, each operation rounded to
    the dtype of the arrays, in the order that Chainer's Adam has. A NaN stays
    NaN.

    Args:
        param, grad, m, v (numpy.ndarray): Arrays of one shape and dtype;
            ``param``, ``m`` and ``v`` are updated.
        alpha_t (float): Step size with the bias correction.
        beta1, beta2, eps, eta (float): Chainer's hyperparameters.
        lower, upper (float): Limits of the parameter after the step.
    """
    updated = param, m, v
    if not all(array.flags.c_contiguous for array in updated):
        copies = [numpy.ascontiguousarray(array) for array in updated]
        adam(copies[0], grad, *copies[1:], alpha_t, beta1, beta2, eps, eta,
             lower, upper)
        for array, copy in zip(updated, copies):
            array[...] = copy
        return
    # In the arrays' dtype, so that no operation is done in a wider one.
    alpha_t, beta1_c, beta2_c, eps, eta, lower, upper = (
        param.dtype.type(scalar) for scalar in (
            alpha_t, 1.0 - beta1, 1.0 - beta2, eps, eta, lower, upper))
    # Views, so that the update happens in place.
    param, m, v = param.reshape(-1), m.reshape(-1), v.reshape(-1)
    grad = grad.reshape(-1)
    scratch = numpy.empty(min(_BLOCK, param.size), param.dtype)
    for start in range(0, param.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        p, g, m_, v_ = param[block], grad[block], m[block], v[block]
        t = scratch[:p.size]
        numpy.subtract(g, m_, out=t)
        t *= beta1_c
        m_ += t
        numpy.multiply(g, g, out=t)
        t -= v_
        t *= beta2_c
        v_ += t
        numpy.sqrt(v_, out=t)
        t += eps
        numpy.divide(alpha_t, t, out=t)
        t *= m_
        t *= eta
        p -= t
        numpy.clip(p, lower, upper, out=p)


def shift_adamax(param, grad, m, v, step, beta1, beta2,
                 lower=-numpy.inf, upper=numpy.inf):
    """One step of shift-based AdaMax, then a clip; all in place.

    ``m += (1 - beta1) (grad - m)``, ``v = max(beta2 v, |grad|)``,
    ``param -= step m ap2(1 / v)``; where v is 0, or subnormal, no step is
    made. A NaN stays NaN.

    Args:
        param, grad, m, v (numpy.ndarray): Arrays of one shape and dtype;
            ``param``, ``m`` and ``v`` are updated.
        step (float): Step size, a power of two.
        beta1, beta2 (float): Decay rates of m and v.
        lower, upper (float): Limits of the parameter after the step.

    """
    step, beta1_c, beta2, lower, upper, one = (
        param.dtype.type(scalar) for scalar in (
            step, 1.0 - beta1, beta2, lower, upper, 1))
    m += (grad - m) * beta1_c
    v *= beta2
    numpy.maximum(v, numpy.abs(grad), out=v)
    is_zero = v < numpy.finfo(v.dtype).tiny
    inverse = ap2(one / numpy.where(is_zero, one, v))
    inverse[is_zero] = 0
    param -= m * inverse * step
    numpy.clip(param, lower, upper, out=param)


# Kernels of the packed network. A row of n values +-1 is a row of
# ``ceil(n / 64)`` words of 64 bits, 1 meaning +1, value i in bit i % 64 of
# word i // 64; the bits beyond n are 0. Weights lie in tiles, see
# tile_weights.

# Rows that the products take at once: their sums stay in the cache.
_ROWS = 64

# Bits are counted in units of so many bits, and sums of units in 8 bits.
if hasattr(numpy, 'bitwise_count'):
    _UNIT = numpy.dtype('u1')
    _popcount = numpy.bitwise_count
else:  # NumPy before 2.0
    _UNIT = numpy.dtype('<u2')
    _BITS_OF = numpy.unpackbits(
        numpy.arange(1 << 16, dtype=_UNIT).view(numpy.uint8).reshape(-1, 2),
        axis=1).sum(axis=1, dtype=numpy.uint8)
    _popcount = _BITS_OF.take
_UNITS = 255 // (8 * _UNIT.itemsize)


def _pack(bits):
    """Returns the rows of a boolean array as words."""
    n_words = -(-bits.shape[1] // 64)
    octets = numpy.zeros((len(bits), 8 * n_words), numpy.uint8)
    octets[:, :-(-bits.shape[1] // 8)] = numpy.packbits(
        bits, axis=1, bitorder='little')
    return octets.view('<u8').astype(numpy.uint64, copy=False)


def pack_signs(x):
    """Returns the signs of x as words, 1 where ``x >= 0``.

    0 and -0.0 give 1, NaN gives 0.

    Args:
        x (numpy.ndarray): Array of shape (N, K), of any real dtype.

    Returns:
        numpy.ndarray: uint64 words of shape (N, ceil(K / 64)).

    """
    return _pack(x >= 0)


def unpack_signs(words, n):
    """Returns the first n values of each row of words, int8, +1 or -1.

    Args:
        words (numpy.ndarray): uint64 words of shape (N, ceil(n / 64)).
        n (int): Values in a row.

    """
    octets = words.astype('<u8', copy=False).view(numpy.uint8)
    bits = numpy.unpackbits(octets, axis=1, count=n, bitorder='little')
    return (2 * bits.astype(numpy.int8) - 1).astype(numpy.int8, copy=False)


def tile_weights(words):
    """Returns packed weights in tiles, as the products take them.

    A tile holds word 0 of 64 units, then word 1 of these 64 units and so on,
    so that one vector instruction works on several units and a GPU's threads
    read neighbouring words. The last tile is filled up with zeros.

    Args:
        words (numpy.ndarray): uint64 words of shape (M, K), a row per unit.

    Returns:
        numpy.ndarray: uint64 words of shape (ceil(M / 64), K, 64).

    """
    return _tile(words, 64)


def tile_pixel_weights(words):
    """Returns packed weights in tiles, as the bit-plane products take them.

    As :func:`tile_weights`, but of octets of 512 units: an octet of a plane
    is zero more often than a word.

    Args:
        words (numpy.ndarray): uint64 words of shape (M, K), a row per unit.

    Returns:
        numpy.ndarray: uint8 octets of shape (ceil(M / 512), 8 K, 512).

    """
    return _tile(words.astype('<u8', copy=False).view(numpy.uint8), 512)


def _tile(rows, width):
    m, k = rows.shape
    n_tiles = -(-m // width)
    size = n_tiles * k * width
    # From an address that a cache line begins at.
    memory = numpy.zeros(size * rows.itemsize + 63, numpy.uint8)
    start = -memory.ctypes.data % 64
    tiles = memory[start:start + size * rows.itemsize].view(rows.dtype)
    tiles = tiles.reshape(n_tiles, k, width)
    for t in range(n_tiles):
        block = rows[width * t:width * (t + 1)]
        tiles[t, :, :len(block)] = block.T
    return tiles


def _by_unit(tiles, n_out):
    """Returns tiles as one row for each unit of bits, (K, n_out)."""
    n_tiles, k, width = tiles.shape
    rows = tiles.transpose(0, 2, 1).reshape(n_tiles * width, k)[:n_out]
    return numpy.ascontiguousarray(_as_units(rows).T)


def _as_units(rows):
    """Returns rows of words or octets as rows of units."""
    rows = numpy.ascontiguousarray(rows)
    if rows.itemsize > 1:
        rows = rows.astype('<u8', copy=False).view(numpy.uint8)
    missing = -rows.shape[1] % _UNIT.itemsize
    return numpy.pad(rows, ((0, 0), (0, missing))).view(_UNIT)


def _count(operation, rows, w, units):
    """Returns the 1 bits of ``operation(row, column of w)``, (N, M).

    ``units`` are the indices of those units whose result is not zero.
    """
    counts = numpy.zeros((len(rows), w.shape[1]), numpy.int32)
    for start in range(0, len(units), _UNITS):
        part = numpy.zeros(counts.shape, numpy.uint8)
        for k in units[start:start + _UNITS]:
            part += _popcount(operation(rows[:, k, None], w[k]))
        counts += part
    return counts


def xnor_dot(a, tiles, n_in, n_out):
    """Returns the product of packed +-1 rows and packed +-1 weights.

    ``y = n_in - 2 popcount(a XOR w)``, the sum over the n_in products.

    Args:
        a (numpy.ndarray): uint64 words of shape (N, ceil(n_in / 64)).
        tiles (numpy.ndarray): Weights, see :func:`tile_weights`.
        n_in (int): Values in a row.
        n_out (int): Number of units.

    Returns:
        numpy.ndarray: int32 sums of shape (N, n_out).

    """
    w = _by_unit(tiles, n_out)
    y = numpy.empty((len(a), n_out), numpy.int32)
    for start in range(0, len(a), _ROWS):
        differing = _count(numpy.bitwise_xor, _as_units(
            a[start:start + _ROWS]), w, range(len(w)))
        y[start:start + _ROWS] = n_in - 2 * differing
    return y


def xnor_sign(a, tiles, n_in, thresholds, falling):
    """Returns the signs of a hidden layer's units as words.

    A unit gives +1 where its sum of :func:`xnor_dot` is at least its
    threshold or, where its bit of ``falling`` is set, where it is less.

    Args:
        a, tiles, n_in: See :func:`xnor_dot`.
        thresholds (numpy.ndarray): int32 thresholds of shape (M,).
        falling (numpy.ndarray): uint64 words of shape (ceil(M / 64),).

    Returns:
        numpy.ndarray: uint64 words of shape (N, ceil(M / 64)).

    """
    y = xnor_dot(a, tiles, n_in, len(thresholds))
    return _pack(y >= thresholds) ^ falling


def whole_runs(x):
    """Returns rows of pixels, filled up with zeros to runs of 4."""
    missing = -x.shape[1] % 4
    if not missing:
        return x
    padding = numpy.zeros((len(x), missing), numpy.uint8)
    return numpy.concatenate([x, padding], axis=1)


def bitplane_dot(x, order, tiles, n_out):
    """Returns the product of rows of bytes and packed +-1 weights.

    The bits of weight 2^n in a row are its plane x^n:
    ``y = sum_n 2^n (2 popcount(x^n AND w) - popcount(x^n))``.

    Args:
        x (numpy.ndarray): uint8 rows of shape (N, n_in).
        order (numpy.ndarray): int64 indices of shape (ceil(n_in / 4),): run
            i of 4 weights belongs to run ``order[i]`` of 4 pixels. Pixels that
            are zero together should lie together.
        tiles (numpy.ndarray): Weights, see :func:`tile_pixel_weights`.
        n_out (int): Number of units.

    Returns:
        numpy.ndarray: int32 sums of shape (N, n_out).

    """
    w = _by_unit(tiles, n_out)
    y = numpy.empty((len(x), n_out), numpy.int32)
    x = whole_runs(x)
    runs = x.reshape(len(x), x.shape[1] // 4, 4)
    for start in range(0, len(x), _ROWS):
        rows = runs[start:start + _ROWS, order]
        rows = rows.reshape(len(rows), x.shape[1])
        common = numpy.zeros((len(rows), n_out), numpy.int32)
        for n in reversed(range(8)):
            plane = _as_units(numpy.packbits(
                (rows & (1 << n)) != 0, axis=1, bitorder='little'))
            common *= 2
            common += _count(numpy.bitwise_and, plane, w,
                             numpy.flatnonzero(plane.any(axis=0)))
        total = rows.sum(axis=1, dtype=numpy.int32)
        y[start:start + _ROWS] = 2 * common - total[:, None]
    return y


def bitplane_sign(x, order, tiles, thresholds, falling):
    """Returns the signs of a first layer's units as words.

    :func:`bitplane_dot`, then thresholds as in :func:`xnor_sign`.
    """
    y = bitplane_dot(x, order, tiles, len(thresholds))
    return _pack(y >= thresholds) ^ falling
