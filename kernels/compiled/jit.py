"""What Numba compiles of the kernels: how, and for which arrays."""
import numba
import numpy


def jit(function):
    """Compiles a function by Numba, and keeps the code on disk if it can.

    The code has no Python objects. Numba stores it beside the module or, where
    that folder is read-only, in the user's cache; where neither can be written
    it compiles anew.
    """
    options = {'nogil': True, 'error_model': 'numpy'}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available for file ..."
        return numba.njit(**options)(function)


def is_covered(*arrays):
    """Returns whether the compiled kernels take the arrays as operands.

    They take contiguous float32 or float64 arrays of one dtype and one shape.
    """
    dtype, shape = arrays[0].dtype, arrays[0].shape
    return (dtype in (numpy.float32, numpy.float64)
            and dtype.isnative
            and all(a.dtype == dtype and a.shape == shape
                    and a.flags.c_contiguous for a in arrays))
