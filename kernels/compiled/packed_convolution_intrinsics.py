"""The inner loops of a packed net's convolutions, as vectors for Numba.

A lane holds the count or the sum of one output channel, a register those of
several, and several neighbouring windows are computed at once, so that a load
of weights serves them all. A result is a word with a bit for each channel of a
tile.

An intrinsic takes contiguous arrays and the index where its data starts; it
checks no bounds.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.compiled.vector_intrinsics import (
    LANES, WORD, address_of, count_bits, int64, load, processor_has, splat)

# Channels in a tile of weights; narrow nets have narrow tiles.
TILES = 16, 32, 64

# Neighbouring windows that are computed at once, by channels of a tile. With
# AVX-512 there are 32 registers, else 16.
if processor_has('avx512bw'):
    _SIGN_WINDOWS, _VECTORS = {16: 7, 32: 4, 64: 3}, 8
    _PIXEL_WINDOWS = {16: 7, 32: 7, 64: 7}
else:
    _SIGN_WINDOWS, _VECTORS = {16: 2, 32: 2, 64: 2}, 4
    _PIXEL_WINDOWS = {16: 7, 32: 4, 64: 2}

# Windows that an intrinsic may write beyond the last one.
SLACK = 7

_HALF = ir.IntType(16)


def _sums(builder, n_windows, n_vectors, vector):
    zero = ir.Constant(vector, None)
    return [[cgutils.alloca_once_value(builder, zero)
             for _ in range(n_vectors)] for _ in range(n_windows)]


def _bits(builder, comparison):
    """Returns the results of a vector's comparison as a word."""
    bits = builder.bitcast(comparison, ir.IntType(comparison.type.count))
    return bits if bits.type == WORD else builder.zext(bits, WORD)


def _or(builder, variable, bits, shift):
    bits = builder.shl(bits, int64(shift))
    builder.store(builder.or_(builder.load(variable), bits), variable)


def _for_tile(builder, tile, n, n_windows, write):
    """Calls ``write(tile, first)`` for a row of n windows, some at a time.

    Args:
        builder (llvmlite.ir.IRBuilder): Adds to what is being compiled.
        tile (llvmlite.ir.Value): Channels of a tile, one of ``TILES``.
        n (llvmlite.ir.Value): Number of windows.
        n_windows (dict): Windows that are computed at once, by tile.
        write (callable): Takes the tile as an int, and the first window.

    """
    for size in TILES:
        is_it = builder.icmp_signed('==', tile, int64(size))
        with builder.if_then(is_it), cgutils.for_range_slice(
                builder, int64(0), n, int64(n_windows[size]),
                inc=True) as (first, _):
            write(size, first)


@intrinsic
def reach_of_signs(typingctx, columns, n, stride, tiles, tile_start, tile,
                   n_words, limits, limits_start, at, reach):
    """Writes for a row of n windows of signs what reaches the limits.

    ``reach[x] = sum_u 2^u (popcount(columns_x ^ w_u) < limit_xu)`` for the
    windows x, whose n_words words start ``stride`` words behind those of the
    window before, and the channels u of a tile. ``at[x]`` is the index of a
    window's limits, counted from ``limits_start``.
    """

    def codegen(context, builder, signature, args):
        (columns, n, stride, tiles, tile_start, tile, n_words, limits,
         limits_start, at, reach) = args
        kinds = signature.args
        vector = ir.VectorType(WORD, LANES)

        def write(tile, first):
            n_windows = _SIGN_WINDOWS[tile]
            x = address_of(context, builder, kinds[0], columns,
                           builder.mul(first, stride))
            places = address_of(context, builder, kinds[9], at, first)
            out = address_of(context, builder, kinds[10], reach, first)
            results = [cgutils.alloca_once_value(builder, int64(0))
                       for _ in range(n_windows)]
            n_vectors = min(_VECTORS, tile // LANES)
            for start in range(0, tile, n_vectors * LANES):
                w = address_of(context, builder, kinds[3], tiles,
                               builder.add(tile_start, int64(start)), vector)
                sums = _sums(builder, n_windows, n_vectors, vector)
                with cgutils.for_range(builder, n_words) as word:
                    k = word.index
                    x_k = [splat(builder, load(builder, x, builder.add(
                        builder.mul(stride, int64(r)), k)))
                        for r in range(n_windows)]
                    place = builder.mul(k, int64(tile // LANES))
                    for v in range(n_vectors):
                        w_kv = load(builder, w, builder.add(place, int64(v)))
                        for r in range(n_windows):
                            builder.store(builder.add(
                                builder.load(sums[r][v]), count_bits(
                                    builder, builder.xor(x_k[r], w_kv))),
                                sums[r][v])
                for r in range(n_windows):
                    limit = address_of(
                        context, builder, kinds[7], limits, builder.add(
                            builder.add(limits_start, int64(start)),
                            load(builder, places, int64(r))), vector)
                    for v in range(n_vectors):
                        _or(builder, results[r], _bits(
                            builder, builder.icmp_unsigned(
                                '<', builder.load(sums[r][v]),
                                load(builder, limit, int64(v)))),
                            start + v * LANES)
            for r in range(n_windows):
                builder.store(builder.load(results[r]),
                              builder.gep(out, [int64(r)]))

        _for_tile(builder, tile, n, _SIGN_WINDOWS, write)
        return context.get_dummy_value()

    index = types.int64
    return types.void(columns, index, index, tiles, index, index, index,
                      limits, index, at, reach), codegen


@intrinsic
def reach_of_pixels(typingctx, image, image_start, n, offsets, tiles,
                    tile_start, tile, limits, limits_start, at, reach):
    """Writes for a row of n windows of pixels what reaches the limits.

    ``reach[x] = sum_u 2^u (sum_k (image[x + offsets[k]] ^ w_ku) >= limit_xu)``
    for the windows x and the channels u of a tile, in 16 bits; w is 0 for +1
    and -1 for -1: ``p ^ -1`` is ``-p - 1``. See :func:`reach_of_signs`.
    """

    def codegen(context, builder, signature, args):
        (image, image_start, n, offsets, tiles, tile_start, tile, limits,
         limits_start, at, reach) = args
        kinds = signature.args
        n_taps = cgutils.unpack_tuple(builder, context.make_array(
            kinds[3])(context, builder, offsets).shape, 1)[0]
        offsets = address_of(context, builder, kinds[3], offsets, int64(0))

        def write(tile, first):
            n_windows = _PIXEL_WINDOWS[tile]
            x = address_of(context, builder, kinds[0], image,
                           builder.add(image_start, first), _HALF)
            places = address_of(context, builder, kinds[9], at, first)
            out = address_of(context, builder, kinds[10], reach, first)
            lanes = min(tile, 4 * LANES)
            vector, n_vectors = ir.VectorType(_HALF, lanes), tile // lanes
            w = address_of(context, builder, kinds[4], tiles, tile_start,
                           vector)
            sums = _sums(builder, n_windows, n_vectors, vector)
            with cgutils.for_range(builder, n_taps) as tap:
                k = tap.index
                place = load(builder, offsets, k)
                pixels = [splat(builder, builder.load(
                    builder.gep(x, [builder.add(place, int64(r))]),
                    align=2), lanes) for r in range(n_windows)]
                for v in range(n_vectors):
                    w_kv = builder.load(builder.gep(w, [builder.add(
                        builder.mul(k, int64(n_vectors)), int64(v))]), align=2)
                    for r in range(n_windows):
                        builder.store(builder.add(
                            builder.load(sums[r][v]),
                            builder.xor(pixels[r], w_kv)), sums[r][v])
            for r in range(n_windows):
                limit = address_of(
                    context, builder, kinds[7], limits, builder.add(
                        limits_start, load(builder, places, int64(r))), vector)
                result = cgutils.alloca_once_value(builder, int64(0))
                for v in range(n_vectors):
                    _or(builder, result, _bits(builder, builder.icmp_signed(
                        '>=', builder.load(sums[r][v]), builder.load(
                            builder.gep(limit, [int64(v)]), align=2))),
                        v * lanes)
                builder.store(builder.load(result),
                              builder.gep(out, [int64(r)]))

        _for_tile(builder, tile, n, _PIXEL_WINDOWS, write)
        return context.get_dummy_value()

    index = types.int64
    return types.void(image, index, index, offsets, tiles, index, index,
                      limits, index, at, reach), codegen
