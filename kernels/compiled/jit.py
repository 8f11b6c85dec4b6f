"""How the kernels are compiled by Numba."""
import numba


def jit(function):
    """Compiles without Python objects, and keeps the code on disk if it can.

    Numba stores it beside the module or, where that folder is read-only, in
    the user's cache; where neither can be written it compiles anew.
    """
    options = {'nogil': True, 'error_model': 'numpy'}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available for file ..."
        return numba.njit(**options)(function)
