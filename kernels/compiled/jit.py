"""What Numba compiles of the kernels: how, and for which arrays."""
import contextlib
import functools
import hashlib
import pathlib
import warnings

import numba
from numba.core import caching, event
import numpy


def jit(function, parallel=False):
    """Compiles a function by Numba, and keeps the code on disk if it can.

    The code has no Python objects. Numba stores it beside the module or, where
    that folder is read-only, in the user's cache; where neither can be written
    it compiles anew.

    Args:
        function (callable): The function.
        parallel (bool): Whether its ``prange`` loops are divided among cores.

    """
    dispatcher = numba.njit(
        nogil=True, error_model='numpy', parallel=parallel)(function)
    with contextlib.suppress(RuntimeError):  # "no locator available for ..."
        # What njit(cache=True) does, with a cache of another class.
        dispatcher._cache = _Cache(function)
    return dispatcher


@contextlib.contextmanager
def announced(say):
    """Has the first compilation inside the ``with`` block announced.

    Args:
        say (callable): Takes the line.

    """
    class Listener(event.Listener):
        is_first = True

        def on_start(self, _):
            if self.is_first:
                self.is_first = False
                say('compiling the kernels, once: some ten seconds')

        def on_end(self, _):
            pass

    with event.install_listener('numba:compile', Listener()):
        yield


class _Cache(caching.FunctionCache):
    """Numba's cache on disk, which may fail, and which sees every change.

    Numba's own keeps old code when a function of another file changes that is
    part of the kernel, and its errors end the program.
    """

    def __init__(self, function):
        super().__init__(function)
        self._cache_file._source_stamp = _source_stamp()

    def _index_key(self, sig, codegen):
        # Numba's has a checksum of the functions that one calls: of what
        # another process never has.
        return sig, codegen.magic_tuple()

    def load_overload(self, *args):
        try:
            return super().load_overload(*args)
        except Exception:  # Whatever a damaged file holds: it is made anew.
            self._try(self.flush)
            return None

    def save_overload(self, *args):
        self._try(super().save_overload, *args)

    def _try(self, method, *args):
        try:
            method(*args)
        except OSError as e:
            _warn(f'compiled kernels cannot be kept in {self.cache_path}: '
                  f'{e.strerror or e}; each start compiles them anew')


@functools.cache
def _source_stamp():
    """Returns a checksum of all that a kernel may be made of."""
    sha256 = hashlib.sha256()
    for path in sorted(pathlib.Path(__file__).parents[1].rglob('*.py')):
        sha256.update(path.read_bytes())
    return sha256.hexdigest()


@functools.cache
def _warn(message):
    """Warns, but of one thing once."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)


def is_covered(*arrays):
    """Returns whether the compiled kernels take the arrays as operands.

    They take contiguous float32 or float64 arrays of one dtype and one shape.
    """
    dtype, shape = arrays[0].dtype, arrays[0].shape
    return (dtype in (numpy.float32, numpy.float64)
            and dtype.isnative
            and all(a.dtype == dtype and a.shape == shape
                    and a.flags.c_contiguous for a in arrays))
