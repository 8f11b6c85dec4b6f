"""Vectors of words for the Numba kernels, written as LLVM's own operations.

Numba makes vectors of loops where LLVM finds them, and LLVM prefers vectors
of 256 bits even where the processor counts bits in 512 at the same speed. So
the inner loops of the XNOR and the bit-plane product are given to LLVM as
vectors, with their sums held in registers: on a processor with AVX-512
VPOPCNTDQ each step is an XOR (or AND), a VPOPCNTQ and an addition; on others
LLVM makes ``llvm.ctpop`` of what there is.

An intrinsic takes contiguous arrays of 64-bit values and the index where its
data starts; it checks no bounds.
"""
import math

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic

# Units in a tile of the weights (see numpy_bits.tile_weights), and in one
# of the first layer's (see numpy_bits.tile_pixel_weights).
TILE = 64
OCTET_TILE = 512

_WORD = ir.IntType(64)



def _processor_has(feature):
    config = numba.config
    if config.CPU_NAME is None and config.CPU_FEATURES is None:
        return llvmlite.binding.get_host_cpu_features().get(feature, False)
    # Numba was told by its environment variables to compile for another one.
    return f'+{feature}' in (config.CPU_FEATURES or '')


# Sums are held in registers: for the XNOR product those of a number of rows,
# each of a number of vectors, for the bit-plane product those of a number of
# vectors of 64 octets, three registers for each.
if _processor_has('avx512bw'):
    ROWS, _VECTORS, _LANES, _OCTET_VECTORS = 3, 8, 8, 8  # 24 of 32 registers
else:  # AVX2: 8 and 12 of 16; elsewhere a vector is two registers or more
    ROWS, _VECTORS, _LANES, _OCTET_VECTORS = 2, 4, 4, 2
_VECTOR = ir.VectorType(_WORD, _LANES)
_STEP = _LANES * _VECTORS
_OCTETS = ir.VectorType(ir.IntType(8), TILE)

# The table product looks up as many sums at once as a register holds. A table
# fills two registers or one: 5 or 3 bits choose one of its sums.
if _processor_has('avx512f'):
    TABLE_BITS, _TABLE_REGISTERS, _TABLE_LANES, _TABLE_VECTORS = 5, 2, 16, 4
    _LOOK_UP = 'llvm.x86.avx512.vpermi2var.ps.512'
elif _processor_has('avx2'):
    TABLE_BITS, _TABLE_REGISTERS, _TABLE_LANES, _TABLE_VECTORS = 3, 1, 8, 2
    _LOOK_UP = 'llvm.x86.avx2.permps'
else:
    TABLE_BITS, _TABLE_REGISTERS, _TABLE_LANES, _TABLE_VECTORS = 0, 0, 1, 1
TABLE = 2 ** TABLE_BITS
TABLE_ROWS = 5  # with the sums of 64 or 16 columns, 20 of 32 or 10 of 16
TABLE_COLUMNS = _TABLE_VECTORS * _TABLE_LANES
_SUMS = ir.VectorType(ir.FloatType(), _TABLE_LANES)
_INDICES = ir.VectorType(ir.IntType(32), _TABLE_LANES)


def _int(value):
    return ir.Constant(_WORD, value)


def _address(context, builder, array_type, array, index, pointee=_WORD):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), pointee.as_pointer())


def _load(builder, address, offset):
    # Aligned to a word only: an array may begin anywhere.
    return builder.load(builder.gep(address, [offset]), align=8)


def _splat(builder, value, n_lanes=_LANES):
    lane = ir.IntType(32)
    undefined = ir.Constant(ir.VectorType(value.type, n_lanes), ir.Undefined)
    vector = builder.insert_element(undefined, value, lane(0))
    return builder.shuffle_vector(
        vector, undefined, ir.Constant(ir.VectorType(lane, n_lanes), None))


def _constant(vector, value):
    return ir.Constant(vector, [value] * vector.count)


def _popcount(builder, value):
    vector = value.type
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector]),
        f'llvm.ctpop.v{vector.count}i{vector.element.width}')
    return builder.call(function, [value])


def _zeros(builder, n, vector=_VECTOR):
    zero = ir.Constant(vector, None)
    return [cgutils.alloca_once_value(builder, zero) for _ in range(n)]


def _add(builder, variable, value):
    builder.store(builder.add(builder.load(variable), value), variable)


def _check_words(*arrays):
    for array in arrays:
        if not (isinstance(array, types.Array) and array.layout == 'C'
                and array.dtype in (types.uint64, types.int64)):
            raise errors.TypingError(
                f'contiguous arrays of 64-bit integers only, got {array}')


def _make_xnor_tile(rows, is_masked):

    def xnor_tile(typingctx, a, masks, a_start, tiles, tile_start, n_words,
                  n_in, dots):
        _check_words(a, masks, tiles, dots)

        def codegen(context, builder, signature, args):
            a, masks, a_start, tiles, tile_start, n_words, n_in, dots = args
            a_type, masks_type, tiles_type, dots_type = (
                signature.args[i] for i in (0, 1, 3, 7))
            a = _address(context, builder, a_type, a, a_start)
            masks = _address(context, builder, masks_type, masks, a_start)

            def differing(word_of_a, mask, word_of_w):
                bits = builder.xor(word_of_a, word_of_w)
                return builder.and_(bits, mask) if is_masked else bits

            def splat_rows(words, k):
                return [_splat(builder, _load(builder, words, builder.add(
                    builder.mul(n_words, _int(r)), k))) for r in range(rows)]

            with cgutils.for_range(builder, _int(TILE // _STEP)) as part:
                first = builder.mul(part.index, _int(_STEP))
                w = _address(context, builder, tiles_type, tiles,
                             builder.add(tile_start, first), _VECTOR)
                sums = [_zeros(builder, _VECTORS) for _ in range(rows)]
                with cgutils.for_range(builder, n_words) as word:
                    k = word.index
                    a_k = splat_rows(a, k)
                    mask_k = splat_rows(masks, k) if is_masked else a_k
                    at = builder.mul(k, _int(TILE // _LANES))
                    for v in range(_VECTORS):
                        w_kv = _load(builder, w, builder.add(at, _int(v)))
                        for r in range(rows):
                            _add(builder, sums[r][v], _popcount(
                                builder, differing(a_k[r], mask_k[r], w_kv)))
                for r in range(rows):
                    out = _address(
                        context, builder, dots_type, dots,
                        builder.add(first, _int(r * TILE)), _VECTOR)
                    for v in range(_VECTORS):
                        total = builder.load(sums[r][v])
                        builder.store(
                            builder.sub(_splat(builder, n_in),
                                        builder.add(total, total)),
                            builder.gep(out, [_int(v)]), align=8)
            return context.get_dummy_value()

        index = types.int64
        return types.void(a, masks, index, tiles, index, index, index,
                          dots), codegen

    return xnor_tile


# dots[r, u] = n_in - 2 popcount((a_r ^ w_u) & mask_r) for the 64 units u of a
# tile and ROWS rows, or one row; without the mask but in the masked ones.
xnor_tile_rows = intrinsic(_make_xnor_tile(ROWS, False))
xnor_tile_row = intrinsic(_make_xnor_tile(1, False))
masked_xnor_tile_rows = intrinsic(_make_xnor_tile(ROWS, True))
masked_xnor_tile_row = intrinsic(_make_xnor_tile(1, True))


@intrinsic
def bitplane_tile(typingctx, octets, places, start, ends, ends_start, tiles,
                  tile_start, dots):
    """``dots[u] += 2 sum_n 2^n popcount(x^n & w_u)`` for the 512 units u.

    x is at most 31 groups of 8 pixels, of which the octets that are not zero
    come: ``octets[e]``, eight times in a word, belongs to octet ``places[e]``
    of a row, and the planes lie one after the other, the highest first, each
    up to ``ends``. Sums of 31 popcounts fit 8 bits, those of the planes 16.
    """
    _check_words(octets, places, ends)

    def codegen(context, builder, signature, args):
        (octets, places, start, ends, ends_start, tiles, tile_start,
         dots) = args
        (octets_type, places_type, _, ends_type, _, tiles_type, _,
         dots_type) = signature.args
        octets = _address(context, builder, octets_type, octets, _int(0))
        places = _address(context, builder, places_type, places, _int(0))
        ends = _address(context, builder, ends_type, ends, ends_start)
        byte, half = ir.IntType(8), ir.IntType(16)
        pairs = ir.VectorType(half, TILE // 2)
        step = TILE * _OCTET_VECTORS
        with cgutils.for_range(builder, _int(OCTET_TILE // step)) as part:
            first = builder.mul(part.index, _int(step))
            w = _address(context, builder, tiles_type, tiles,
                         builder.add(tile_start, first), byte)
            even, odd = (_zeros(builder, _OCTET_VECTORS, pairs)
                         for _ in range(2))
            entry = cgutils.alloca_once_value(builder, start)
            with cgutils.for_range(builder, _int(8)) as plane:
                sums = _zeros(builder, _OCTET_VECTORS, _OCTETS)
                end = _load(builder, ends, plane.index)
                with cgutils.for_range(
                        builder, end, start=builder.load(entry)) as loop:
                    x = builder.bitcast(_splat(builder, _load(
                        builder, octets, loop.index), 8), _OCTETS)
                    at = builder.mul(_load(builder, places, loop.index),
                                     _int(OCTET_TILE))
                    for v in range(_OCTET_VECTORS):
                        w_kv = builder.load(builder.bitcast(
                            builder.gep(w, [builder.add(at, _int(v * TILE))]),
                            _OCTETS.as_pointer()), align=8)
                        _add(builder, sums[v], _popcount(
                            builder, builder.and_(x, w_kv)))
                builder.store(end, entry)
                # Horner's rule: what is there counts twice as much.
                for v in range(_OCTET_VECTORS):
                    both = builder.bitcast(builder.load(sums[v]), pairs)
                    low = builder.and_(both, _constant(pairs, 255))
                    high = builder.lshr(both, _constant(pairs, 8))
                    for total, part_sums in (even[v], low), (odd[v], high):
                        _add(builder, total, builder.load(total))
                        _add(builder, total, part_sums)
            wide = ir.VectorType(ir.IntType(32), TILE)
            interleave = ir.Constant(
                wide, [i // 2 + i % 2 * (TILE // 2) for i in range(TILE)])
            out = _address(context, builder, dots_type, dots, first, wide)
            for v in range(_OCTET_VECTORS):
                counts = builder.zext(builder.shuffle_vector(
                    builder.load(even[v]), builder.load(odd[v]), interleave),
                    wide)
                address = builder.gep(out, [_int(v)])
                builder.store(builder.add(
                    builder.load(address, align=4),
                    builder.add(counts, counts)), address, align=4)
        return context.get_dummy_value()

    index = types.int64
    return types.void(octets, places, index, ends, index, tiles, index,
                      dots), codegen


def _make_comparison(operator, absolute):

    def comparison(typingctx, x, start, other):
        if not (isinstance(x, types.Array) and x.layout == 'C'
                and x.dtype in (types.float32, types.float64)
                and other == x.dtype):
            raise errors.TypingError(f'contiguous floats only, got {x}')

        def codegen(context, builder, signature, args):
            x_type, bits = signature.args[0], signature.args[0].dtype.bitwidth
            vector_type = ir.VectorType(
                context.get_value_type(x_type.dtype), TILE)
            data = context.make_array(x_type)(context, builder, args[0]).data
            vector = builder.load(
                builder.bitcast(builder.gep(data, [args[1]]),
                                vector_type.as_pointer()), align=bits // 8)
            if absolute:
                function = cgutils.get_or_insert_function(
                    builder.module,
                    ir.FunctionType(vector_type, [vector_type]),
                    f'llvm.fabs.v{TILE}f{bits}')
                vector = builder.call(function, [vector])
            others = _splat(builder, args[2], TILE)
            return builder.bitcast(
                builder.fcmp_ordered(operator, vector, others), _WORD)

        return types.uint64(x, types.int64, other), codegen

    return comparison


# Words of 64 comparisons of floats, from an index on; false for NaN.
is_at_least = intrinsic(_make_comparison('>=', absolute=False))
has_magnitude = intrinsic(_make_comparison('==', absolute=True))


@intrinsic
def table_tile(typingctx, tables, words, first_word, stride, n_groups, sums,
               first_sum, width):
    """``sums[r, u] += sum_g tables[g, r, index[g, u]]``, TABLE_COLUMNS of u.

    The tables are those of TABLE_ROWS rows. In ``words``, of 32 bits, the
    lowest TABLE_BITS of a word are the index into the first group's, the next
    ones that into the next group's; what no longer fits is ``stride`` words
    further. ``sums`` has rows of ``width``.
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
        tables = _address(context, builder, tables_type, tables, _int(0),
                          _SUMS)
        look_up = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_SUMS, [
                _SUMS, _INDICES, _SUMS][:1 + _TABLE_REGISTERS]), _LOOK_UP)
        addresses = [
            _address(context, builder, sums_type, sums, builder.add(
                first_sum, builder.add(builder.mul(width, _int(r)),
                                       _int(v * _TABLE_LANES))), _SUMS)
            for r in rows for v in vectors]
        totals = [cgutils.alloca_once_value(
            builder, builder.load(address, align=4)) for address in addresses]

        def load_indices(word):
            # Only the lowest bits of each count.
            first = builder.add(first_word, builder.mul(stride, word))
            return [builder.load(_address(
                context, builder, words_type, words,
                builder.add(first, _int(v * _TABLE_LANES)), _INDICES),
                align=4) for v in vectors]

        def add_group(group, indices):
            first = builder.mul(group, _int(TABLE_ROWS * _TABLE_REGISTERS))
            for r in rows:
                table, *rest = (builder.load(builder.gep(
                    tables, [builder.add(first, _int(
                        r * _TABLE_REGISTERS + part))]), align=4)
                    for part in range(_TABLE_REGISTERS))
                for v in vectors:
                    total = totals[r * _TABLE_VECTORS + v]
                    builder.store(builder.fadd(
                        builder.load(total),
                        builder.call(look_up, [table, indices[v], *rest])),
                        total)

        n_words = builder.udiv(n_groups, _int(groups))
        with cgutils.for_range(builder, n_words) as word:
            indices = load_indices(word.index)
            for g in range(groups):
                add_group(builder.add(builder.mul(word.index, _int(groups)),
                                      _int(g)), indices)
                indices = [builder.lshr(i, _constant(_INDICES, TABLE_BITS))
                           for i in indices]
        rest = builder.mul(n_words, _int(groups))
        with builder.if_then(builder.icmp_unsigned('<', rest, n_groups)):
            indices = [cgutils.alloca_once_value(builder, i)
                       for i in load_indices(n_words)]
            with cgutils.for_range(builder, n_groups, start=rest) as group:
                add_group(group.index, [builder.load(i) for i in indices])
                for i in indices:
                    builder.store(builder.lshr(
                        builder.load(i), _constant(_INDICES, TABLE_BITS)), i)
        for address, total in zip(addresses, totals):
            builder.store(builder.load(total), address, align=4)
        return context.get_dummy_value()

    index = types.int64
    return types.void(tables, words, index, index, index, sums, index,
                      index), codegen


@intrinsic
def or_where(typingctx, bits, words, start, value):
    """``words[start + j] |= value`` where bit j of the 64 bits is 1."""
    if not (isinstance(words, types.Array) and words.layout == 'C'
            and bits == types.uint64 and words.dtype == value == types.uint32):
        raise errors.TypingError(f'words of 32 bits only, got {words}')

    def codegen(context, builder, signature, args):
        bits, words, start, value = args
        vector = ir.VectorType(ir.IntType(32), TILE)
        address = _address(context, builder, signature.args[1], words, start,
                           vector)
        chosen = builder.select(
            builder.bitcast(bits, ir.VectorType(ir.IntType(1), TILE)),
            _splat(builder, value, TILE), ir.Constant(vector, None))
        builder.store(builder.or_(builder.load(address, align=4), chosen),
                      address, align=4)
        return context.get_dummy_value()

    return types.void(bits, words, types.int64, value), codegen


@intrinsic
def popcount(typingctx, word):
    """Number of 1 bits of a uint64."""
    if word != types.uint64:
        return None

    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.uint64(word), codegen


@intrinsic
def at_least(typingctx, dots, dots_start, thresholds, thresholds_start):
    """Word of the 64 comparisons ``dots[u] >= thresholds[u]``."""

    def codegen(context, builder, signature, args):
        dots, dots_start, thresholds, thresholds_start = args
        vector = ir.VectorType(ir.IntType(dots_type.dtype.bitwidth), TILE)
        left, right = (
            builder.load(_address(context, builder, kind, array, at, vector),
                         align=4)
            for kind, array, at in (
                (signature.args[0], dots, dots_start),
                (signature.args[2], thresholds, thresholds_start)))
        return builder.bitcast(
            builder.icmp_signed('>=', left, right), _WORD)

    dots_type = dots
    if dots.dtype != thresholds.dtype:
        raise errors.TypingError('sums and thresholds of one dtype only')
    return types.uint64(dots, types.int64, thresholds, types.int64), codegen


@intrinsic
def ap2(typingctx, x):
    """See ``numpy_kernels.ap2``; x is a float32 or float64."""
    if x not in (types.float32, types.float64):
        return None

    def codegen(context, builder, signature, args):
        x, = args
        n_mantissa, n_bits = (23, 32) if signature.args[0] == types.float32 \
            else (52, 64)
        integer = ir.IntType(n_bits)
        least = 1 << n_mantissa
        infinity = (1 << n_bits - 1) - least
        # A mantissa of sqrt(2) or more carries over to the exponent.
        carry = (2 << n_mantissa) - 1 - math.isqrt(2 << 2 * n_mantissa)
        bits = builder.bitcast(x, integer)
        magnitude = builder.and_(bits, integer((1 << n_bits - 1) - 1))
        sign = builder.xor(bits, magnitude)
        power = builder.and_(builder.add(magnitude, integer(carry)),
                             integer(infinity))
        power = builder.select(
            builder.icmp_unsigned('<', magnitude, integer(least)),
            integer(0), power)
        power = builder.select(
            builder.icmp_unsigned('>', magnitude, integer(infinity)),
            magnitude, power)  # NaN
        return builder.bitcast(builder.or_(power, sign), x.type)

    return x(x), codegen
