"""What writes code for vectors of floats that fill a register.

They are what the intrinsics of products and convolutions of real numbers have
in common. A function that has a ``builder`` adds LLVM's operations to what is
being compiled.
"""
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors

from kernels.compiled.vector_intrinsics import int64, processor_has

REGISTER = 512 if processor_has('avx512f') else 256  # bits


def check_floats(*arrays):
    """Raises an error of Numba's for arrays that are no contiguous floats."""
    for array in arrays:
        if not (isinstance(array, types.Array) and array.layout == 'C'
                and array.dtype in (types.float32, types.float64)
                and array.dtype == arrays[0].dtype):
            raise errors.TypingError(
                f'contiguous arrays of one float dtype only, got {array}')


def register_of(context, array_type):
    """Returns the vector of an array's values that fills a register."""
    dtype = array_type.dtype
    return ir.VectorType(context.get_value_type(dtype),
                         REGISTER // dtype.bitwidth)


def n_lanes(itemsize):
    """Returns how many values of so many bytes a register holds."""
    return REGISTER // 8 // itemsize


def _n_bytes(number):
    if isinstance(number, ir.IntType):
        return number.width // 8
    return {ir.FloatType(): 4, ir.DoubleType(): 8}[number]


def load_at(builder, address, vector, index):
    """Returns the vector that begins with a value, which may be any."""
    return builder.load(
        builder.bitcast(builder.gep(address, [index]), vector.as_pointer()),
        align=_n_bytes(vector.element))


def store_at(builder, address, index, vector):
    """Writes a vector to where a value is, which may be any."""
    builder.store(
        vector, builder.bitcast(builder.gep(address, [index]),
                                vector.type.as_pointer()),
        align=_n_bytes(vector.type.element))


def multiply_add(builder, vector):
    """Returns ``add(variable, a, b)``, which adds a product to a variable."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [vector] * 3),
        f'llvm.fmuladd.v{vector.count}f{8 * _n_bytes(vector.element)}')

    def add(variable, a, b):
        builder.store(builder.call(function, [a, b, builder.load(variable)]),
                      variable)

    return add


def with_widest(builder, width, count, write):
    """Calls ``write(count)`` for the widest vectors that a row has room for.

    Of ``count`` values, half of them, a quarter and so on; a row of no values
    has room for none.
    """
    if not count:
        return
    with builder.if_else(builder.icmp_signed(
            '>=', width, int64(count))) as (wide, narrow):
        with wide:
            write(count)
        with narrow:
            with_widest(builder, width, count // 2, write)


def cover(builder, width, count, write):
    """Calls ``write(start)`` for vectors of ``count`` values that make a row.

    The last one may overlap another.
    """
    n_whole = builder.udiv(width, int64(count))
    with cgutils.for_range(builder, n_whole) as loop:
        write(builder.mul(loop.index, int64(count)))
    write(builder.sub(width, int64(count)))
