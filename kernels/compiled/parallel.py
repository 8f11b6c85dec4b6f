"""Kernels whose range is divided among cores, by Numba's parallel layer.

That is OpenMP where Numba finds it (or TBB), else Numba's own pool. OpenMP's
threads wait for the next region awake, for some milliseconds: a region costs
some 4 us.
"""
import functools
import os
import threading

import numba
import numpy
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.compiled.jit import jit
from kernels.compiled.vector_intrinsics import WORD, address_of, int64
from kernels.cores import n_own

# Least number of values that a core is given of what is done value by value:
# some 30 us. It has to get them from the cache of the core that made them.
ELEMENTS = 1 << 18

# Held while a range is divided: a second thread of the program that comes
# meanwhile does its work alone. Numba's own pool would end the program.
_lock = threading.Lock()

# Whether the threads of the layer can be there.
_may_divide = True

# Set where a kernel had no memory.
_failed = numpy.zeros(1, bool)

# What a kernel looks like to the threads: start, stop, address of operands.
_ENTRY = ir.FunctionType(ir.VoidType(), [WORD, WORD, WORD])


def _look_at_layer():
    # GNU's OpenMP ends a child of fork() that divides what its parent did.
    global _lock, _may_divide
    _lock = threading.Lock()
    try:
        numba.threading_layer()
    except ValueError:  # The parent had none.
        return
    _may_divide = False


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_look_at_layer)


@intrinsic
def _call(typingctx, entry, start, stop, operands):
    """Calls the kernel that has an address on a part of its range."""

    def codegen(context, builder, signature, args):
        entry, *args = args
        builder.call(builder.inttoptr(entry, _ENTRY.as_pointer()), args)
        return context.get_dummy_value()

    return types.void(entry, start, stop, operands), codegen


@intrinsic
def _address_of(typingctx, operands):
    """Returns the address of a copy of the operands."""

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(
            cgutils.alloca_once_value(builder, args[0]), WORD)

    return types.int64(operands), codegen


def _divide(n, n_parts, entry, operands):
    for part in numba.prange(n_parts):
        _call(entry, n * part // n_parts, n * (part + 1) // n_parts, operands)


# Compiled once for all kernels, which it calls by their addresses: a prange
# loop in each would take four times as long to compile.
_divide = jit(_divide, parallel=True)


def divided(kernel):
    """Returns the function that runs a kernel on the parts of a range.

    Args:
        kernel (callable): Compiled function. Its first arguments are the start
            and the stop of the part that it is to do.

    Returns:
        callable: ``run(n, n_parts, *args)`` calls ``kernel(start, stop,
        *args)`` for parts of ``range(n)``, on so many cores, at most those
        that Numba has.

    """
    @intrinsic
    def entry_of(typingctx, operands):
        """Returns the address of the kernel for such operands, as _call's."""
        argument_types = (types.int64, types.int64, *operands.types[1:])
        kernel.compile(argument_types)
        compiled = kernel.overloads[argument_types]

        def codegen(context, builder, signature, args):
            function = ir.Function(
                builder.module, _ENTRY,
                builder.module.get_unique_name('entry'))
            function.linkage = 'internal'
            inner = ir.IRBuilder(function.append_basic_block())
            start, stop, address = function.args
            values = inner.load(inner.inttoptr(
                address, context.get_value_type(operands).as_pointer()))
            failed, *values = cgutils.unpack_tuple(inner, values)
            status, _ = context.call_internal_no_propagate(
                inner, compiled.fndesc, compiled.signature,
                [start, stop, *values])
            with cgutils.if_unlikely(inner, status.is_error):
                failed = address_of(context, inner, operands[0], failed,
                                    int64(0), ir.IntType(8))
                inner.store(ir.Constant(ir.IntType(8), 1), failed)
            inner.ret_void()
            context.add_linking_libs([compiled.library])
            return builder.ptrtoint(function, WORD)

        return types.int64(operands), codegen

    def divide(n, n_parts, *args):
        _divide(n, n_parts, entry_of(args), _address_of(args))

    # Each has a file of its own in Numba's cache.
    divide.__qualname__ = f'{kernel.__module__}.{kernel.__name__}'
    divide = jit(divide)

    @functools.wraps(kernel)
    def run(n, n_parts, *args):
        if (n_parts <= 1 or not _may_divide
                or not _lock.acquire(blocking=False)):
            kernel(0, n, *args)
            return
        before = numba.get_num_threads()
        try:
            numba.set_num_threads(
                min(n_parts, numba.config.NUMBA_NUM_THREADS))
            divide(n, n_parts, _failed, *args)
            if _failed[0]:
                _failed[0] = False
                raise MemoryError
        finally:
            numba.set_num_threads(before)
            _lock.release()

    return run


def elementwise(kernel, *args):
    """Runs a divided kernel on arrays, which it takes flat, and scalars.

    Args:
        kernel (callable): What :func:`divided` returns.
        args: Contiguous arrays of one size, then scalars.

    """
    size = args[0].size
    kernel(size, n_own(size, ELEMENTS), *(
        arg.reshape(-1) if isinstance(arg, numpy.ndarray) else arg
        for arg in args))
