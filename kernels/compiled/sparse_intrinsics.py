"""The inner loops of the product with pixels, as vectors for Numba's kernels.

An intrinsic takes contiguous arrays and the index where its data starts; it
checks no bounds.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.compiled.float_vectors import (
    check_floats, multiply_add, register_of)
from kernels.compiled.product_intrinsics import TILE
from kernels.compiled.vector_intrinsics import (
    address_of, int64, load, splat)


@intrinsic
def add_rows(typingctx, rows, places, factors, first, last, sums, at):
    """Adds ``sum_e factors[e] rows[places[e], u]`` to sums[at, u].

    For the entries e from ``first`` to ``last``, that one not among them, and
    all 64 columns u.
    """
    check_floats(rows, factors, sums)

    def codegen(context, builder, signature, args):
        rows, places, factors, first, last, sums, at = args
        vector = register_of(context, signature.args[0])
        n_vectors = TILE // vector.count
        rows = address_of(context, builder, signature.args[0], rows, int64(0),
                          vector)
        places = address_of(context, builder, signature.args[1], places,
                            int64(0))
        factors = address_of(context, builder, signature.args[2], factors,
                             int64(0), vector.element)
        sums = address_of(context, builder, signature.args[5], sums,
                          builder.mul(at, int64(TILE)), vector)
        totals = [cgutils.alloca_once_value(builder, builder.load(
            builder.gep(sums, [int64(v)]), align=4))
            for v in range(n_vectors)]
        add = multiply_add(builder, vector)
        with cgutils.for_range(builder, last, start=first) as entry:
            factor = splat(builder, builder.load(
                builder.gep(factors, [entry.index])), vector.count)
            row = builder.mul(load(builder, places, entry.index),
                              int64(n_vectors))
            for v, total in enumerate(totals):
                value = builder.load(builder.gep(
                    rows, [builder.add(row, int64(v))]), align=4)
                add(total, factor, value)
        for v, total in enumerate(totals):
            builder.store(builder.load(total),
                          builder.gep(sums, [int64(v)]), align=4)
        return context.get_dummy_value()

    index = types.int64
    return types.void(rows, places, factors, index, index, sums,
                      index), codegen


@intrinsic
def transpose(typingctx, sums, out, at, stride):
    """Writes the transpose of sums, (16, 64), to the flat array ``out``.

    From ``at`` on, its rows ``stride`` values apart.
    """
    check_floats(sums, out)

    def codegen(context, builder, signature, args):
        sums, out, at, stride = args
        vector = register_of(context, signature.args[0])
        n = vector.count
        sums = address_of(context, builder, signature.args[0], sums, int64(0),
                          vector)
        # Of two vectors the values in turns: those of the lower halves, those
        # of the upper ones.
        turns = [i // 2 + i % 2 * n for i in range(n)]
        masks = [ir.Constant(ir.VectorType(ir.IntType(32), n),
                             [i + half for i in turns])
                 for half in (0, n // 2)]
        # A square of n x n values at a time: its rows are merged as cards are
        # shuffled, log2 n times.
        for row in range(0, 16, n):
            for column in range(0, TILE, n):
                square = [builder.load(builder.gep(sums, [int64(
                    ((row + i) * TILE + column) // n)]), align=4)
                    for i in range(n)]
                for _ in range(n.bit_length() - 1):
                    square = [
                        builder.shuffle_vector(a, b, mask)
                        for a, b in zip(square, square[n // 2:])
                        for mask in masks]
                for i, values in enumerate(square):
                    start = builder.add(at, builder.add(int64(
                        row), builder.mul(stride, int64(column + i))))
                    builder.store(values, address_of(
                        context, builder, signature.args[1], out, start,
                        vector), align=4)
        return context.get_dummy_value()

    index = types.int64
    return types.void(sums, out, index, index), codegen
