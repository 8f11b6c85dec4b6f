"""Vectors in Numba's kernels, written as LLVM's own operations.

Numba makes vectors of loops where LLVM finds them, and LLVM prefers vectors
of 256 bits even where the processor counts bits in 512 at the same speed. So
inner loops are given to LLVM as vectors. Here are the functions that write
such code, and the operations on single vectors and numbers; the inner loops of
the products are in ``product_intrinsics``.

An intrinsic takes contiguous arrays and the index where its data starts; it
checks no bounds.
"""
import math

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.extending import intrinsic

WORD = ir.IntType(64)


def processor_has(feature):
    """Returns whether the processor compiled for has a feature, as 'avx2'."""
    config = numba.config
    if config.CPU_NAME is None and config.CPU_FEATURES is None:
        return llvmlite.binding.get_host_cpu_features().get(feature, False)
    # Numba was told by its environment variables to compile for another one.
    return f'+{feature}' in (config.CPU_FEATURES or '')


# Words in a vector: a register of 512 or 256 bits, on a processor with neither
# AVX-512 nor AVX2 two registers or more.
LANES = 8 if processor_has('avx512bw') else 4
VECTOR = ir.VectorType(WORD, LANES)


def int64(value):
    """Returns a constant of 64 bits."""
    return ir.Constant(WORD, value)


def address_of(context, builder, array_type, array, index, pointee=WORD):
    """Returns the address of an array's value, as that of a ``pointee``."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), pointee.as_pointer())


def load(builder, address, offset):
    """Returns the word or vector that is ``offset`` of them further."""
    # Aligned to a word only: an array may begin anywhere.
    return builder.load(builder.gep(address, [offset]), align=8)


def splat(builder, value, n_lanes=LANES):
    """Returns a vector of one value in all lanes."""
    lane = ir.IntType(32)
    undefined = ir.Constant(ir.VectorType(value.type, n_lanes), ir.Undefined)
    vector = builder.insert_element(undefined, value, lane(0))
    return builder.shuffle_vector(
        vector, undefined, ir.Constant(ir.VectorType(lane, n_lanes), None))


def constant(vector, value):
    """Returns a constant vector of one value in all lanes."""
    return ir.Constant(vector, [value] * vector.count)


def count_bits(builder, value):
    """Returns the number of 1 bits in each lane of a vector."""
    vector = value.type
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector]),
        f'llvm.ctpop.v{vector.count}i{vector.element.width}')
    return builder.call(function, [value])


def _make_comparison(operator, absolute):

    def comparison(typingctx, x, start, other):
        if not (isinstance(x, types.Array) and x.layout == 'C'
                and x.dtype in (types.float32, types.float64)
                and other == x.dtype):
            raise errors.TypingError(f'contiguous floats only, got {x}')

        def codegen(context, builder, signature, args):
            x_type, bits = signature.args[0], signature.args[0].dtype.bitwidth
            vector_type = ir.VectorType(
                context.get_value_type(x_type.dtype), WORD.width)
            data = context.make_array(x_type)(context, builder, args[0]).data
            vector = builder.load(
                builder.bitcast(builder.gep(data, [args[1]]),
                                vector_type.as_pointer()), align=bits // 8)
            if absolute:
                function = cgutils.get_or_insert_function(
                    builder.module,
                    ir.FunctionType(vector_type, [vector_type]),
                    f'llvm.fabs.v{WORD.width}f{bits}')
                vector = builder.call(function, [vector])
            others = splat(builder, args[2], WORD.width)
            return builder.bitcast(
                builder.fcmp_ordered(operator, vector, others), WORD)

        return types.uint64(x, types.int64, other), codegen

    return comparison


# (x, start, other): the word of the 64 comparisons of floats
# ``x[start + j] >= other`` or ``|x[start + j]| == other``; false for NaN.
is_at_least = intrinsic(_make_comparison('>=', absolute=False))
has_magnitude = intrinsic(_make_comparison('==', absolute=True))


@intrinsic
def or_where(typingctx, bits, words, start, value):
    """Does ``words[start + j] |= value`` where bit j of the 64 bits is 1."""
    if not (isinstance(words, types.Array) and words.layout == 'C'
            and bits == types.uint64 and words.dtype == value == types.uint32):
        raise errors.TypingError(f'words of 32 bits only, got {words}')

    def codegen(context, builder, signature, args):
        bits, words, start, value = args
        vector = ir.VectorType(ir.IntType(32), WORD.width)
        address = address_of(context, builder, signature.args[1], words,
                             start, vector)
        chosen = builder.select(
            builder.bitcast(bits, ir.VectorType(ir.IntType(1), WORD.width)),
            splat(builder, value, WORD.width), ir.Constant(vector, None))
        builder.store(builder.or_(builder.load(address, align=4), chosen),
                      address, align=4)
        return context.get_dummy_value()

    return types.void(bits, words, types.int64, value), codegen


@intrinsic
def popcount(typingctx, word):
    """Returns the number of 1 bits of a uint64."""
    if word != types.uint64:
        return None

    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.uint64(word), codegen


@intrinsic
def which_reach(typingctx, dots, dots_start, thresholds, thresholds_start):
    """Returns a word of the 64 comparisons ``dots[u] >= thresholds[u]``."""

    def codegen(context, builder, signature, args):
        dots, dots_start, thresholds, thresholds_start = args
        vector = ir.VectorType(
            ir.IntType(dots_type.dtype.bitwidth), WORD.width)
        left, right = (
            builder.load(address_of(context, builder, kind, array, at, vector),
                         align=4)
            for kind, array, at in (
                (signature.args[0], dots, dots_start),
                (signature.args[2], thresholds, thresholds_start)))
        return builder.bitcast(
            builder.icmp_signed('>=', left, right), WORD)

    dots_type = dots
    if dots.dtype != thresholds.dtype:
        raise errors.TypingError('sums and thresholds of one dtype only')
    return types.uint64(dots, types.int64, thresholds, types.int64), codegen


@intrinsic
def nearest_power(typingctx, x):
    """See ``numpy_kernels.ap2``; x is one float32 or float64."""
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
