"""The inner loops of convolutions, as vectors for Numba's kernels.

An intrinsic takes contiguous arrays and the index where its data starts; it
checks no bounds.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.compiled.float_vectors import (
    check_floats, cover, load_at, multiply_add, n_lanes, register_of, store_at,
    with_widest)
from kernels.compiled.vector_intrinsics import (
    address_of, int64, load, processor_has, splat)

# A block of sums is held in registers: those of CHANNELS channels, each of a
# number of vectors of places, or of so many values of the window.
CHANNELS = 4
if processor_has('avx512f'):
    MOST_VECTORS, VALUES = 6, 6  # 24 of 32 registers
else:
    MOST_VECTORS, VALUES = 3, 3  # 12 of 16


def n_sums(itemsize):
    """Returns how many values :func:`add_products` adds to."""
    lanes = n_lanes(itemsize)
    return -(-CHANNELS * VALUES // lanes) * lanes


def _make_block(n_vectors):
    """Returns what writes the outputs of CHANNELS channels, some places.

    ``out[out_at + c * out_stride + p] = sum_k weights[weights_at + k *
    CHANNELS + c] * x[x_at + offsets[k] + p]`` for the first n values k of a
    window and the places p of n_vectors vectors.
    """

    def block(typingctx, x, x_at, offsets, n, weights, weights_at, out,
              out_at, out_stride):
        check_floats(x, weights, out)

        def codegen(context, builder, signature, args):
            (x, x_at, offsets, n, weights, weights_at, out, out_at,
             out_stride) = args
            (x_type, _, offsets_type, _, weights_type, _, out_type, _,
             _) = signature.args
            vector = register_of(context, x_type)
            value = vector.element
            x, weights, out = (
                address_of(context, builder, kind, array, at, value)
                for kind, array, at in ((x_type, x, x_at),
                                        (weights_type, weights, weights_at),
                                        (out_type, out, out_at)))
            offsets = address_of(context, builder, offsets_type, offsets,
                                 int64(0))
            zero = ir.Constant(vector, None)
            sums = [[cgutils.alloca_once_value(builder, zero)
                     for _ in range(n_vectors)] for _ in range(CHANNELS)]
            add = multiply_add(builder, vector)
            with cgutils.for_range(builder, n) as loop:
                at = builder.gep(x, [load(builder, offsets, loop.index)])
                pixels = [load_at(builder, at, vector,
                                  int64(v * vector.count))
                          for v in range(n_vectors)]
                first = builder.mul(loop.index, int64(CHANNELS))
                for c in range(CHANNELS):
                    weight = splat(builder, builder.load(builder.gep(
                        weights, [builder.add(first, int64(c))])),
                        vector.count)
                    for v in range(n_vectors):
                        add(sums[c][v], weight, pixels[v])
            for c in range(CHANNELS):
                row = builder.gep(out, [builder.mul(out_stride, int64(c))])
                for v in range(n_vectors):
                    store_at(builder, row, int64(v * vector.count),
                             builder.load(sums[c][v]))
            return context.get_dummy_value()

        index = types.int64
        return types.void(x, index, offsets, index, weights, index, out,
                          index, index), codegen

    return block


block_of_most = intrinsic(_make_block(MOST_VECTORS))
block_of_one_less = intrinsic(_make_block(MOST_VECTORS - 1))
block_of_two_less = intrinsic(_make_block(max(MOST_VECTORS - 2, 2)))


def _sums_of_lanes(builder, vectors):
    """Returns vectors of the sums of the lanes of each of the vectors.

    Two vectors become one of the sums of two lanes each, and so on.
    """
    lanes = vectors[0].type.count
    zero = ir.Constant(vectors[0].type, None)
    vectors = vectors + [zero] * (-len(vectors) % lanes)
    width = lanes
    while width > 1:
        masks = [ir.Constant(
            ir.VectorType(ir.IntType(32), lanes),
            [start + half + i for start in range(0, 2 * lanes, width)
             for i in range(width // 2)]) for half in (0, width // 2)]
        vectors = [builder.fadd(*(builder.shuffle_vector(a, b, mask)
                                  for mask in masks))
                   for a, b in zip(vectors[::2], vectors[1::2])]
        width //= 2
    return vectors


@intrinsic
def add_products(typingctx, gy, gy_at, gy_stride, x, x_at, offsets, first,
                 n_vectors, sums, sums_at):
    """Adds the gradients of a block of weights to ``sums``.

    To ``sums[sums_at + c * VALUES + k]`` is added ``sum_p gy[gy_at + c *
    gy_stride + p] x[x_at + offsets[first + k] + p]``, for the CHANNELS
    channels c, VALUES values k of a window and the places p of the vectors.
    """
    check_floats(gy, x, sums)

    def codegen(context, builder, signature, args):
        (gy, gy_at, gy_stride, x, x_at, offsets, first, n_vectors, sums,
         sums_at) = args
        (gy_type, _, _, x_type, _, offsets_type, _, _, sums_type,
         _) = signature.args
        vector = register_of(context, x_type)
        value = vector.element
        gy = address_of(context, builder, gy_type, gy, gy_at, value)
        x = address_of(context, builder, x_type, x, x_at, value)
        offsets = address_of(context, builder, offsets_type, offsets, first)
        rows = [builder.gep(gy, [builder.mul(gy_stride, int64(c))])
                for c in range(CHANNELS)]
        windows = [builder.gep(x, [load(builder, offsets, int64(k))])
                   for k in range(VALUES)]
        zero = ir.Constant(vector, None)
        totals = [[cgutils.alloca_once_value(builder, zero)
                   for _ in range(VALUES)] for _ in range(CHANNELS)]
        add = multiply_add(builder, vector)
        with cgutils.for_range(builder, n_vectors) as loop:
            at = builder.mul(loop.index, int64(vector.count))
            pixels = [load_at(builder, window, vector, at)
                      for window in windows]
            for c in range(CHANNELS):
                upstream = load_at(builder, rows[c], vector, at)
                for k in range(VALUES):
                    add(totals[c][k], upstream, pixels[k])
        sums = address_of(context, builder, sums_type, sums, sums_at, value)
        for i, total in enumerate(_sums_of_lanes(builder, [
                builder.load(total) for row in totals for total in row])):
            at = int64(i * vector.count)
            store_at(builder, sums, at, builder.fadd(
                total, load_at(builder, sums, vector, at)))
        return context.get_dummy_value()

    index = types.int64
    return types.void(gy, index, index, x, index, offsets, index, index, sums,
                      index), codegen


@intrinsic
def copy_rows(typingctx, source, source_at, source_pitch, target, target_at,
              target_pitch, n_rows, width):
    """Copies n_rows rows of ``width`` values, ``pitch`` apart."""
    check_floats(source, target)

    def codegen(context, builder, signature, args):
        (source, source_at, source_pitch, target, target_at, target_pitch,
         n_rows, width) = args
        source_type, _, _, target_type, *_ = signature.args
        value = register_of(context, source_type).element
        source = address_of(context, builder, source_type, source, source_at,
                            value)
        target = address_of(context, builder, target_type, target, target_at,
                            value)

        def copy(vector, row, start):
            source_row, target_row = (
                builder.gep(array, [builder.add(builder.mul(row, pitch),
                                                start)])
                for array, pitch in ((source, source_pitch),
                                     (target, target_pitch)))
            store_at(builder, target_row, int64(0),
                     load_at(builder, source_row, vector, int64(0)))

        def copy_all(count):
            vector = ir.VectorType(value, count)
            with cgutils.for_range(builder, n_rows) as row:
                cover(builder, width, count,
                      lambda start: copy(vector, row.index, start))

        with_widest(builder, width, register_of(context, source_type).count,
                    copy_all)
        return context.get_dummy_value()

    index = types.int64
    return types.void(source, index, index, target, index, index, index,
                      index), codegen
