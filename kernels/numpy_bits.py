"""The arithmetic of a packed net in plain NumPy: the reference for the others.

In bits, a row of n values +1 and -1 is a row of ``ceil(n / 64)`` words of 64
bits: 1 means +1, value i is bit i % 64 of word i // 64, and the bits beyond n
are 0. Weights lie in tiles, see :func:`tile_weights`. ``numba_bits`` and
``cupy_bits`` hold the same functions under the same names.
"""
import numpy

# Rows that the products take at once: their sums stay in the cache.
_ROWS = 64

# Bits are counted in pieces of this dtype, and the counts of so many pieces
# added in 8 bits.
if hasattr(numpy, 'bitwise_count'):
    _PIECE = numpy.dtype('u1')
    _popcount = numpy.bitwise_count
else:  # NumPy before 2.0
    _PIECE = numpy.dtype('<u2')
    _BITS_OF = numpy.unpackbits(
        numpy.arange(1 << 16, dtype=_PIECE).view(numpy.uint8).reshape(-1, 2),
        axis=1).sum(axis=1, dtype=numpy.uint8)
    _popcount = _BITS_OF.take
_PIECES = 255 // (8 * _PIECE.itemsize)


def _pack(bits):
    """Returns the rows of a boolean array as rows of words."""
    n_words = -(-bits.shape[1] // 64)
    octets = numpy.zeros((len(bits), 8 * n_words), numpy.uint8)
    octets[:, :-(-bits.shape[1] // 8)] = numpy.packbits(
        bits, axis=1, bitorder='little')
    return octets.view('<u8').astype(numpy.uint64, copy=False)


def pack_signs(x):
    """Returns the signs of a matrix in bits, 1 where ``x >= 0``.

    0 and -0.0 give 1, NaN gives 0.

    Args:
        x (numpy.ndarray): Array of shape (N, K), of any real dtype.

    Returns:
        numpy.ndarray: uint64 words of shape (N, ceil(K / 64)).

    """
    return _pack(x >= 0)


def unpack_signs(words, n):
    """Returns rows of bits as rows of +1 and -1.

    Args:
        words (numpy.ndarray): uint64 words of shape (N, ceil(n / 64)).
        n (int): Number of values in a row.

    Returns:
        numpy.ndarray: int8 array of shape (N, n).

    """
    octets = words.astype('<u8', copy=False).view(numpy.uint8)
    bits = numpy.unpackbits(octets, axis=1, count=n, bitorder='little')
    return (2 * bits.astype(numpy.int8) - 1).astype(numpy.int8, copy=False)


def tile_weights(words):
    """Returns weights in bits as tiles of 64 units, as the products take them.

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
    """Returns a first layer's weights in bits as tiles of 512 units.

    As :func:`tile_weights`, but of octets: an octet of a plane of bits, see
    :func:`bitplane_dot`, is zero more often than a word.

    Args:
        words (numpy.ndarray): uint64 words of shape (M, K), a row per unit.

    Returns:
        numpy.ndarray: uint8 octets of shape (ceil(M / 512), 8 K, 512). CuPy's
        are those of :func:`tile_weights`.

    """
    return _tile(words.astype('<u8', copy=False).view(numpy.uint8), 512)


def _tile(rows, width):
    """Returns rows (M, K) as tiles (ceil(M / width), K, width)."""
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


def _columns(tiles, n_out):
    """Returns the weights in tiles as columns of pieces, (K, n_out)."""
    n_tiles, k, width = tiles.shape
    rows = tiles.transpose(0, 2, 1).reshape(n_tiles * width, k)[:n_out]
    return numpy.ascontiguousarray(_as_pieces(rows).T)


def _as_pieces(rows):
    """Returns rows of words or octets as rows of pieces."""
    rows = numpy.ascontiguousarray(rows)
    if rows.itemsize > 1:
        rows = rows.astype('<u8', copy=False).view(numpy.uint8)
    missing = -rows.shape[1] % _PIECE.itemsize
    return numpy.pad(rows, ((0, 0), (0, missing))).view(_PIECE)


def _count(operation, rows, w, places):
    """Returns the number of 1 bits of ``operation(row, column of w)``, (N, M).

    ``places`` are the indices of those pieces of a row whose result may not
    be zero.
    """
    counts = numpy.zeros((len(rows), w.shape[1]), numpy.int32)
    for start in range(0, len(places), _PIECES):
        part = numpy.zeros(counts.shape, numpy.uint8)
        for k in places[start:start + _PIECES]:
            part += _popcount(operation(rows[:, k, None], w[k]))
        counts += part
    return counts


def xnor_dot(a, tiles, n_in, n_out):
    """Returns the product of +-1 activations and +-1 weights, both in bits.

    ``y = n_in - 2 popcount(a XOR w)``, the sum over the n_in products.

    Args:
        a (numpy.ndarray): uint64 words of shape (N, ceil(n_in / 64)).
        tiles (numpy.ndarray): uint64 weights of shape (ceil(n_out / 64),
            ceil(n_in / 64), 64), see :func:`tile_weights`.
        n_in (int): Number of values in a row.
        n_out (int): Number of units.

    Returns:
        numpy.ndarray: int32 sums of shape (N, n_out).

    """
    w = _columns(tiles, n_out)
    y = numpy.empty((len(a), n_out), numpy.int32)
    for start in range(0, len(a), _ROWS):
        differing = _count(numpy.bitwise_xor, _as_pieces(
            a[start:start + _ROWS]), w, range(len(w)))
        y[start:start + _ROWS] = n_in - 2 * differing
    return y


def xnor_sign(a, tiles, n_in, thresholds, falling):
    """Returns the signs of a hidden layer's units in bits.

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
    """Returns rows of pixels, filled up with zeros to a multiple of 4.

    Args:
        x (numpy.ndarray): uint8 array of shape (N, K).

    Returns:
        numpy.ndarray: uint8 array of shape (N, 4 ceil(K / 4)).

    """
    missing = -x.shape[1] % 4
    if not missing:
        return x
    padding = numpy.zeros((len(x), missing), numpy.uint8)
    return numpy.concatenate([x, padding], axis=1)


def bitplane_dot(x, order, tiles, n_out):
    """Returns the product of rows of pixels and +-1 weights in bits.

    The bits of weight 2^n in a row of pixels are its plane x^n:
    ``y = sum_n 2^n (2 popcount(x^n AND w) - popcount(x^n))``.

    Args:
        x (numpy.ndarray): uint8 pixels of shape (N, n_in).
        order (numpy.ndarray): int64 indices of shape (ceil(n_in / 4),): run
            i of 4 weights belongs to run ``order[i]`` of 4 pixels. Pixels that
            are zero together should lie together.
        tiles (numpy.ndarray): Weights, see :func:`tile_pixel_weights`.
        n_out (int): Number of units.

    Returns:
        numpy.ndarray: int32 sums of shape (N, n_out).

    """
    w = _columns(tiles, n_out)
    y = numpy.empty((len(x), n_out), numpy.int32)
    x = whole_runs(x)
    runs = x.reshape(len(x), x.shape[1] // 4, 4)
    for start in range(0, len(x), _ROWS):
        rows = runs[start:start + _ROWS, order]
        rows = rows.reshape(len(rows), x.shape[1])
        common = numpy.zeros((len(rows), n_out), numpy.int32)
        for n in reversed(range(8)):
            plane = _as_pieces(numpy.packbits(
                (rows & (1 << n)) != 0, axis=1, bitorder='little'))
            common *= 2
            common += _count(numpy.bitwise_and, plane, w,
                             numpy.flatnonzero(plane.any(axis=0)))
        total = rows.sum(axis=1, dtype=numpy.int32)
        y[start:start + _ROWS] = 2 * common - total[:, None]
    return y


def bitplane_sign(x, order, tiles, thresholds, falling):
    """Returns the signs of a first layer's units in bits.

    A unit gives +1 where its sum of :func:`bitplane_dot` is at least its
    threshold or, where its bit of ``falling`` is set, where it is less.

    Args:
        x, order, tiles: See :func:`bitplane_dot`.
        thresholds (numpy.ndarray): int32 thresholds of shape (M,).
        falling (numpy.ndarray): uint64 words of shape (ceil(M / 64),).

    Returns:
        numpy.ndarray: uint64 words of shape (N, ceil(M / 64)).

    """
    y = bitplane_dot(x, order, tiles, len(thresholds))
    return _pack(y >= thresholds) ^ falling
