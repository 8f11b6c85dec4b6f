"""The inner loops of convolutions of signs, as vectors for Numba's kernels.

An intrinsic takes contiguous arrays and the index where its data starts; it
checks no bounds.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.compiled.convolution_intrinsics import CHANNELS
from kernels.compiled.float_vectors import (
    check_floats, cover, load_at, register_of, store_at, with_widest)
from kernels.compiled.vector_intrinsics import (
    LANES, address_of, count_bits, int64, load, processor_has, splat)

# Signs of so many channels are the bits of a half word.
BITS = 16

# Half words in a vector, and vectors of sums in a block of a channel.
HALVES = 4 * LANES
HALF_VECTORS = 4 if processor_has('avx512bw') else 2

_HALF = ir.IntType(BITS)
_VECTOR = ir.VectorType(_HALF, HALVES)


@intrinsic
def pack_row(typingctx, x, x_at, stride, n_channels, width, halves,
             halves_at):
    """Packs the signs of a row of pixels, of at most 16 channels.

    Bit c of ``halves[halves_at + p]`` is 1 where ``x[x_at + c * stride + p]``
    is negative, for ``width`` pixels p. Returns whether any of the values is
    neither 1 nor -1.
    """
    check_floats(x)

    def codegen(context, builder, signature, args):
        x, x_at, stride, n_channels, width, halves, halves_at = args
        x_type, _, _, _, _, halves_type, _ = signature.args
        n_bits = x_type.dtype.bitwidth
        number = ir.IntType(n_bits)
        x = address_of(context, builder, x_type, x, x_at, number)
        halves = address_of(context, builder, halves_type, halves, halves_at,
                            _HALF)
        one = {32: 0x3F800000, 64: 0x3FF0000000000000}[n_bits]
        is_wrong = cgutils.alloca_once_value(builder, cgutils.false_bit)

        def pack(count, start):
            vector = ir.VectorType(number, count)
            zeros = ir.Constant(vector, None)
            bits, wrong = (cgutils.alloca_once_value(builder, zeros)
                           for _ in range(2))

            def merge(variable, value):
                builder.store(builder.or_(builder.load(variable), value),
                              variable)

            with cgutils.for_range(builder, n_channels) as channel:
                values = load_at(builder, x, vector, builder.add(
                    builder.mul(channel.index, stride), start))
                place = channel.index
                if n_bits < 64:
                    place = builder.trunc(place, number)
                merge(bits, builder.shl(
                    builder.lshr(values, ir.Constant(
                        vector, [n_bits - 1] * count)),
                    splat(builder, place, count)))
                merge(wrong, builder.xor(
                    builder.and_(values, ir.Constant(
                        vector, [(1 << n_bits - 1) - 1] * count)),
                    ir.Constant(vector, [one] * count)))
            store_at(builder, halves, start, builder.trunc(
                builder.load(bits), ir.VectorType(_HALF, count)))
            mask = ir.IntType(count)
            differ = builder.bitcast(builder.icmp_unsigned(
                '!=', builder.load(wrong), zeros), mask)
            merge(is_wrong, builder.icmp_unsigned('!=', differ, mask(0)))

        with_widest(
            builder, width, register_of(context, x_type).count,
            lambda count: cover(builder, width, count,
                                lambda start: pack(count, start)))
        return builder.load(is_wrong)

    index = types.int64
    return types.boolean(x, index, index, index, index, halves,
                         index), codegen


@intrinsic
def xnor_block(typingctx, halves, halves_at, offsets, n, weights, weights_at,
               most, most_at, stride, out, out_at):
    """Writes outputs of CHANNELS channels, at HALF_VECTORS vectors of places.

    ``out[out_at + c * stride + p] = most[most_at + c * stride + p] - 2 sum_k
    popcount(halves[halves_at + offsets[k] + p] ^ weights[weights_at + k *
    CHANNELS + c])`` for the channels c, the n values k and the places p.
    """
    check_floats(out)

    def codegen(context, builder, signature, args):
        (halves, halves_at, offsets, n, weights, weights_at, most, most_at,
         stride, out, out_at) = args
        (halves_type, _, offsets_type, _, weights_type, _, most_type, _, _,
         out_type, _) = signature.args
        halves, weights, most = (
            address_of(context, builder, kind, array, at, _HALF)
            for kind, array, at in ((halves_type, halves, halves_at),
                                    (weights_type, weights, weights_at),
                                    (most_type, most, most_at)))
        value = context.get_value_type(out_type.dtype)
        out = address_of(context, builder, out_type, out, out_at, value)
        offsets = address_of(context, builder, offsets_type, offsets, int64(0))
        zero = ir.Constant(_VECTOR, None)
        sums = [[cgutils.alloca_once_value(builder, zero)
                 for _ in range(HALF_VECTORS)] for _ in range(CHANNELS)]
        places = [int64(v * HALVES) for v in range(HALF_VECTORS)]
        with cgutils.for_range(builder, n) as loop:
            at = builder.gep(halves, [load(builder, offsets, loop.index)])
            pixels = [load_at(builder, at, _VECTOR, place)
                      for place in places]
            first = builder.mul(loop.index, int64(CHANNELS))
            for c in range(CHANNELS):
                weight = splat(builder, builder.load(builder.gep(
                    weights, [builder.add(first, int64(c))])), HALVES)
                for total, pixel in zip(sums[c], pixels):
                    builder.store(builder.add(
                        builder.load(total), count_bits(
                            builder, builder.xor(pixel, weight))), total)
        for c in range(CHANNELS):
            row = builder.mul(stride, int64(c))
            for total, place in zip(sums[c], places):
                at = builder.add(row, place)
                differing = builder.load(total)
                store_at(builder, out, at, builder.sitofp(
                    builder.sub(load_at(builder, most, _VECTOR, at),
                                builder.add(differing, differing)),
                    ir.VectorType(value, HALVES)))
        return context.get_dummy_value()

    index = types.int64
    return types.void(halves, index, offsets, index, weights, index, most,
                      index, index, out, index), codegen
