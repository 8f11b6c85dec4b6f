"""The kernels in plain NumPy: the reference for the others.

Every function takes and returns ``numpy.ndarray`` of any float dtype and any
memory layout. ``numba_kernels`` and ``cupy_kernels`` hold the same functions
under the same names.
"""
import numpy

# Adam's update walks over the parameters in blocks of this many values, whose
# five arrays stay in a core's second-level cache.
_BLOCK = 1 << 14


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


def binary_dot(x, W):
    """Returns ``x W^T``, the product of a batch and weights that are +-1.

    Where x, too, holds but +-1, the sums are integers, exact in float32 for
    rows of up to 2^24 values: however they are computed, they are the same.

    Args:
        x (numpy.ndarray): Batch of shape (N, K), of any values.
        W (numpy.ndarray): Binarized weights of shape (M, K).

    Returns:
        numpy.ndarray: Product of shape (N, M), x's dtype.

    """
    return x.dot(W.T).astype(x.dtype, copy=False)


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


# Kernels of the packed network. A row of n values +-1 is a row of
# ``ceil(n / 64)`` words of 64 bits, 1 meaning +1, value i in bit i % 64 of
# word i // 64; the bits beyond n are 0. Weights lie in tiles, see tile_weights.

# Rows that the products take at once: their sums stay in the cache.
_ROWS = 16

if hasattr(numpy, 'bitwise_count'):
    _popcount = numpy.bitwise_count
else:  # NumPy before 2.0
    _BITS_OF = numpy.unpackbits(
        numpy.arange(1 << 16, dtype=numpy.uint16).view(numpy.uint8)
        .reshape(-1, 2), axis=1).sum(axis=1, dtype=numpy.uint8)

    def _popcount(words):
        halves = _BITS_OF[words.view(numpy.uint16)]
        return halves.reshape((*words.shape, 4)).sum(-1, dtype=numpy.uint8)


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
        numpy.ndarray: uint64 words of shape (ceil(M / 64), K, 64), on a CPU
        aligned to the 64 bytes of a cache line.

    """
    m, k = words.shape
    n_tiles = -(-m // 64)
    size = n_tiles * k * 64
    memory = numpy.zeros(size + 7, numpy.uint64)
    start = -memory.ctypes.data // 8 % 8
    tiles = memory[start:start + size].reshape(n_tiles, k, 64)
    for t in range(n_tiles):
        block = words[64 * t:64 * t + 64]
        tiles[t, :, :len(block)] = block.T
    return tiles


def _by_word(tiles, n_out):
    """Returns tiles as words of shape (K, n_out)."""
    n_tiles, k, _ = tiles.shape
    return tiles.transpose(1, 0, 2).reshape(k, n_tiles * 64)[:, :n_out]


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
    w = _by_word(tiles, n_out)
    y = numpy.empty((len(a), n_out), numpy.int32)
    for start in range(0, len(a), _ROWS):
        rows = a[start:start + _ROWS]
        differing = numpy.zeros((len(rows), n_out), numpy.int32)
        for k in range(len(w)):
            differing += _popcount(rows[:, k, None] ^ w[k])
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


def bitplane_dot(x, order, tiles, n_out):
    """Returns the product of rows of bytes and packed +-1 weights.

    The bits of weight 2^n in a row are its plane x^n:
    ``y = sum_n 2^n (2 popcount(x^n AND w) - popcount(x^n))``.

    Args:
        x (numpy.ndarray): uint8 rows of shape (N, n_in).
        order (numpy.ndarray): int64 indices of shape (n_in,): value i of the
            weights belongs to ``x[:, order[i]]``.
        tiles (numpy.ndarray): Weights, see :func:`tile_weights`.
        n_out (int): Number of units.

    Returns:
        numpy.ndarray: int32 sums of shape (N, n_out).

    """
    w = _by_word(tiles, n_out)
    y = numpy.empty((len(x), n_out), numpy.int32)
    for start in range(0, len(x), _ROWS):
        rows = x[start:start + _ROWS, order]
        common = numpy.zeros((len(rows), n_out), numpy.int32)
        for n in reversed(range(8)):
            plane = _pack((rows & (1 << n)) != 0)
            common *= 2
            for k in numpy.flatnonzero(plane.any(axis=0)):
                common += _popcount(plane[:, k, None] & w[k])
        total = rows.sum(axis=1, dtype=numpy.int32)
        y[start:start + _ROWS] = 2 * common - total[:, None]
    return y


def bitplane_sign(x, order, tiles, thresholds, falling):
    """Returns the signs of a first layer's units as words.

    :func:`bitplane_dot`, then thresholds as in :func:`xnor_sign`.
    """
    y = bitplane_dot(x, order, tiles, len(thresholds))
    return _pack(y >= thresholds) ^ falling
