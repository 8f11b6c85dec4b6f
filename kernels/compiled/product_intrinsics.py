"""The inner loops of the matrix products, as vectors for Numba's kernels.

The sums are held in registers. In the XNOR and the bit-plane product each step
is, on a processor with AVX-512 VPOPCNTDQ, an XOR (or AND), a VPOPCNTQ and an
addition; on others LLVM makes ``llvm.ctpop`` of what there is. In the table
product it is a lookup in registers and an addition.

An intrinsic takes contiguous arrays and the index where its data starts; it
checks no bounds.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic

from kernels.compiled.vector_intrinsics import (
    LANES, VECTOR, address_of, constant, count_bits, int64, load,
    processor_has, splat)

# Units in a tile of the weights (see numpy_bits.tile_weights), and in one of
# the first layer's (see numpy_bits.tile_pixel_weights).
TILE = 64
OCTET_TILE = 512

# Sums are held in registers: for the XNOR product those of a number of rows,
# each of a number of vectors, for the bit-plane product those of a number of
# vectors of 64 octets, three registers for each.
if processor_has('avx512bw'):
    ROWS, _VECTORS, _OCTET_VECTORS = 3, 8, 8  # 24 of 32 registers
else:  # AVX2: 8 and 12 of 16; elsewhere a vector is two registers or more
    ROWS, _VECTORS, _OCTET_VECTORS = 2, 4, 2
_STEP = LANES * _VECTORS
_OCTETS = ir.VectorType(ir.IntType(8), TILE)

# The table product looks up as many sums at once as a register holds. A table
# fills two registers or one: 5 or 3 bits choose one of its sums.
if processor_has('avx512f'):
    TABLE_BITS, _TABLE_REGISTERS, _TABLE_LANES, _TABLE_VECTORS = 5, 2, 16, 4
    _LOOK_UP = 'llvm.x86.avx512.vpermi2var.ps.512'
elif processor_has('avx2'):
    TABLE_BITS, _TABLE_REGISTERS, _TABLE_LANES, _TABLE_VECTORS = 3, 1, 8, 2
    _LOOK_UP = 'llvm.x86.avx2.permps'
else:
    TABLE_BITS, _TABLE_REGISTERS, _TABLE_LANES, _TABLE_VECTORS = 0, 0, 1, 1
TABLE = 2 ** TABLE_BITS
TABLE_ROWS = 5  # with the sums of 64 or 16 columns, 20 of 32 or 10 of 16
TABLE_COLUMNS = _TABLE_VECTORS * _TABLE_LANES
_SUMS = ir.VectorType(ir.FloatType(), _TABLE_LANES)
_INDICES = ir.VectorType(ir.IntType(32), _TABLE_LANES)


def _zeros(builder, n, vector=VECTOR):
    """Returns n variables that hold vectors of zeros."""
    zero = ir.Constant(vector, None)
    return [cgutils.alloca_once_value(builder, zero) for _ in range(n)]


def _add(builder, variable, value):
    """Adds a value to a variable."""
    builder.store(builder.add(builder.load(variable), value), variable)


def _check_words(*arrays):
    for array in arrays:
        if not (isinstance(array, types.Array) and array.layout == 'C'
                and array.dtype in (types.uint64, types.int64)):
            raise errors.TypingError(
                f'contiguous arrays of 64-bit integers only, got {array}')


def _make_xnor_tile(rows, is_masked):
    """Returns what writes the XNOR product of some rows and a tile.

    ``dots[r, u] = n_in - 2 popcount((a_r ^ w_u) & mask_r)`` for the 64 units u
    of the tile. Only where ``is_masked`` are the masks looked at.
    """

    def xnor_tile(typingctx, a, masks, a_start, tiles, tile_start, n_words,
                  n_in, dots):
        _check_words(a, masks, tiles, dots)

        def codegen(context, builder, signature, args):
            a, masks, a_start, tiles, tile_start, n_words, n_in, dots = args
            a_type, masks_type, tiles_type, dots_type = (
                signature.args[i] for i in (0, 1, 3, 7))
            a = address_of(context, builder, a_type, a, a_start)
            masks = address_of(context, builder, masks_type, masks, a_start)

            def differing(word_of_a, mask, word_of_w):
                bits = builder.xor(word_of_a, word_of_w)
                return builder.and_(bits, mask) if is_masked else bits

            def splat_rows(words, k):
                return [splat(builder, load(builder, words, builder.add(
                    builder.mul(n_words, int64(r)), k))) for r in range(rows)]

            with cgutils.for_range(builder, int64(TILE // _STEP)) as part:
                first = builder.mul(part.index, int64(_STEP))
                w = address_of(context, builder, tiles_type, tiles,
                               builder.add(tile_start, first), VECTOR)
                sums = [_zeros(builder, _VECTORS) for _ in range(rows)]
                with cgutils.for_range(builder, n_words) as word:
                    k = word.index
                    a_k = splat_rows(a, k)
                    mask_k = splat_rows(masks, k) if is_masked else a_k
                    at = builder.mul(k, int64(TILE // LANES))
                    for v in range(_VECTORS):
                        w_kv = load(builder, w, builder.add(at, int64(v)))
                        for r in range(rows):
                            _add(builder, sums[r][v], count_bits(
                                builder, differing(a_k[r], mask_k[r], w_kv)))
                for r in range(rows):
                    out = address_of(
                        context, builder, dots_type, dots,
                        builder.add(first, int64(r * TILE)), VECTOR)
                    for v in range(_VECTORS):
                        total = builder.load(sums[r][v])
                        builder.store(
                            builder.sub(splat(builder, n_in),
                                        builder.add(total, total)),
                            builder.gep(out, [int64(v)]), align=8)
            return context.get_dummy_value()

        index = types.int64
        return types.void(a, masks, index, tiles, index, index, index,
                          dots), codegen

    return xnor_tile


xnor_tile_rows = intrinsic(_make_xnor_tile(ROWS, False))
xnor_tile_row = intrinsic(_make_xnor_tile(1, False))
masked_xnor_tile_rows = intrinsic(_make_xnor_tile(ROWS, True))
masked_xnor_tile_row = intrinsic(_make_xnor_tile(1, True))


@intrinsic
def bitplane_tile(typingctx, octets, places, start, ends, ends_start, tiles,
                  tile_start, dots):
    """Adds ``2 sum_n 2^n popcount(x^n & w_u)`` to dots[u], for 512 units u.

    x is at most 31 groups of 8 pixels, of which the octets that are not zero
    are given: ``octets[e]``, eight times in a word, belongs to octet
    ``places[e]`` of a row. The planes lie one after the other, the highest
    first; ``ends`` says where each ends. The sum of 31 popcounts fits 8 bits,
    the sum over the planes 16.
    """
    _check_words(octets, places, ends)

    def codegen(context, builder, signature, args):
        (octets, places, start, ends, ends_start, tiles, tile_start,
         dots) = args
        (octets_type, places_type, _, ends_type, _, tiles_type, _,
         dots_type) = signature.args
        octets = address_of(context, builder, octets_type, octets, int64(0))
        places = address_of(context, builder, places_type, places, int64(0))
        ends = address_of(context, builder, ends_type, ends, ends_start)
        byte, half = ir.IntType(8), ir.IntType(16)
        pairs = ir.VectorType(half, TILE // 2)
        step = TILE * _OCTET_VECTORS
        with cgutils.for_range(builder, int64(OCTET_TILE // step)) as part:
            first = builder.mul(part.index, int64(step))
            w = address_of(context, builder, tiles_type, tiles,
                           builder.add(tile_start, first), byte)
            even, odd = (_zeros(builder, _OCTET_VECTORS, pairs)
                         for _ in range(2))
            entry = cgutils.alloca_once_value(builder, start)
            with cgutils.for_range(builder, int64(8)) as plane:
                sums = _zeros(builder, _OCTET_VECTORS, _OCTETS)
                end = load(builder, ends, plane.index)
                with cgutils.for_range(
                        builder, end, start=builder.load(entry)) as loop:
                    x = builder.bitcast(splat(builder, load(
                        builder, octets, loop.index), 8), _OCTETS)
                    at = builder.mul(load(builder, places, loop.index),
                                     int64(OCTET_TILE))
                    for v in range(_OCTET_VECTORS):
                        w_kv = builder.load(builder.bitcast(
                            builder.gep(w, [builder.add(at, int64(v * TILE))]),
                            _OCTETS.as_pointer()), align=8)
                        _add(builder, sums[v], count_bits(
                            builder, builder.and_(x, w_kv)))
                builder.store(end, entry)
                # Horner's rule: what is there counts twice as much.
                for v in range(_OCTET_VECTORS):
                    both = builder.bitcast(builder.load(sums[v]), pairs)
                    low = builder.and_(both, constant(pairs, 255))
                    high = builder.lshr(both, constant(pairs, 8))
                    for total, part_sums in (even[v], low), (odd[v], high):
                        _add(builder, total, builder.load(total))
                        _add(builder, total, part_sums)
            wide = ir.VectorType(ir.IntType(32), TILE)
            interleave = ir.Constant(
                wide, [i // 2 + i % 2 * (TILE // 2) for i in range(TILE)])
            out = address_of(context, builder, dots_type, dots, first, wide)
            for v in range(_OCTET_VECTORS):
                counts = builder.zext(builder.shuffle_vector(
                    builder.load(even[v]), builder.load(odd[v]), interleave),
                    wide)
                address = builder.gep(out, [int64(v)])
                builder.store(builder.add(
                    builder.load(address, align=4),
                    builder.add(counts, counts)), address, align=4)
        return context.get_dummy_value()

    index = types.int64
    return types.void(octets, places, index, ends, index, tiles, index,
                      dots), codegen


@intrinsic
def table_tile(typingctx, tables, words, first_word, stride, n_groups, sums,
               first_sum, width):
    """Adds ``sum_g tables[g, r, index[g, u]]`` to sums[r, u].

    For the tables of n_groups groups g, TABLE_ROWS rows r and TABLE_COLUMNS
    columns u. Of a word of 32 bits in ``words`` the lowest TABLE_BITS are the
    index into the table of the first group, the next TABLE_BITS the index into
    that of the second one; the word with the first group that does not fit is
    ``stride`` words further. A row of ``sums`` has ``width`` values.
    """
    for array, dtype in ((tables, types.float32), (words, types.uint32),
                         (sums, types.float32)):
        if not (isinstance(array, types.Array) and array.layout == 'C'
                and array.dtype == dtype):
            raise errors.TypingError(
                f'a contiguous array of {dtype} only, got {array}')

    def codegen(context, builder, signature, args):
        (tables, words, first_word, stride, n_groups, sums, first_sum,
         width) = args
        tables_type, words_type, _, _, _, sums_type, _, _ = signature.args
        vectors, rows = range(_TABLE_VECTORS), range(TABLE_ROWS)
        groups = 32 // TABLE_BITS  # in a word
        tables = address_of(context, builder, tables_type, tables, int64(0),
                            _SUMS)
        look_up = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_SUMS, [
                _SUMS, _INDICES, _SUMS][:1 + _TABLE_REGISTERS]), _LOOK_UP)
        addresses = [
            address_of(context, builder, sums_type, sums, builder.add(
                first_sum, builder.add(builder.mul(width, int64(r)),
                                       int64(v * _TABLE_LANES))), _SUMS)
            for r in rows for v in vectors]
        totals = [cgutils.alloca_once_value(
            builder, builder.load(address, align=4)) for address in addresses]

        def load_indices(word):
            # Only the lowest bits of each count.
            first = builder.add(first_word, builder.mul(stride, word))
            return [builder.load(address_of(
                context, builder, words_type, words,
                builder.add(first, int64(v * _TABLE_LANES)), _INDICES),
                align=4) for v in vectors]

        def add_group(group, indices):
            first = builder.mul(group, int64(TABLE_ROWS * _TABLE_REGISTERS))
            for r in rows:
                table, *rest = (builder.load(builder.gep(
                    tables, [builder.add(first, int64(
                        r * _TABLE_REGISTERS + part))]), align=4)
                    for part in range(_TABLE_REGISTERS))
                for v in vectors:
                    total = totals[r * _TABLE_VECTORS + v]
                    builder.store(builder.fadd(
                        builder.load(total),
                        builder.call(look_up, [table, indices[v], *rest])),
                        total)

        n_words = builder.udiv(n_groups, int64(groups))
        with cgutils.for_range(builder, n_words) as word:
            indices = load_indices(word.index)
            for g in range(groups):
                add_group(builder.add(builder.mul(word.index, int64(groups)),
                                      int64(g)), indices)
                indices = [builder.lshr(i, constant(_INDICES, TABLE_BITS))
                           for i in indices]
        rest = builder.mul(n_words, int64(groups))
        with builder.if_then(builder.icmp_unsigned('<', rest, n_groups)):
            indices = [cgutils.alloca_once_value(builder, i)
                       for i in load_indices(n_words)]
            with cgutils.for_range(builder, n_groups, start=rest) as group:
                add_group(group.index, [builder.load(i) for i in indices])
                for i in indices:
                    builder.store(builder.lshr(
                        builder.load(i), constant(_INDICES, TABLE_BITS)), i)
        for address, total in zip(addresses, totals):
            builder.store(builder.load(total), address, align=4)
        return context.get_dummy_value()

    index = types.int64
    return types.void(tables, words, index, index, index, sums, index,
                      index), codegen
