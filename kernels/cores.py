"""The cores that a training's kernels and matrix products are divided among.

Both at once do not go together: threads of Numba's parallel layer and of the
BLAS library stay awake for a while after their work, in a loop, and take each
other's cores. Inside :func:`own_cores` the BLAS library has one thread, and
either the kernels have all cores or its products have them, whichever is
quicker: that depends on the net, and on what else the machine does.
"""
import collections
import contextlib
import ctypes
import functools
import math
import os
import statistics
import time

# Cores that the kernels may use between matrix products, and the parts that a
# product has, which are computed one by one or at once.
_n_own = _n_parts = 1
_products_at_once = False

# Iterations whose median counts in a comparison, iterations until the next
# one, at first and at most, and how much slower they have to be to have it
# right away.
_COUNTED = 5
_PAUSE, _LONGEST_PAUSE = 200, 3200
_SLOWER = 1.3


def n_threads():
    """Returns the number of cores that this process may use."""
    try:
        n = len(os.sched_getaffinity(0))
    except AttributeError:  # Not on Linux
        n = os.cpu_count() or 1
    return min(n, _quota())


@functools.cache
def _quota():
    """Returns the cores' worth of time that a container has on Linux."""
    try:
        with open('/sys/fs/cgroup/cpu.max') as f:
            quota, period = map(int, f.read().split())
    except (OSError, ValueError):  # Not there, or 'max'
        return math.inf
    return max(1, math.ceil(quota / period))


def n_own(work, least):
    """Returns how many cores some work is worth inside :func:`own_cores`.

    Args:
        work (int): Size of the work, by any measure.
        least (int): Least size that a core is given.

    """
    return min(_n_own, work // least)


def n_parts(work, least):
    """Returns how many parts a product has inside :func:`own_cores`.

    As :func:`n_own`, but always the same: a BLAS library's sums depend on it.
    """
    return min(_n_parts, work // least)


def products_at_once():
    """Returns whether the parts of a product are computed at once."""
    return _products_at_once


def keep_memory():
    """Lets freed arrays be taken again, where the C library is glibc's.

    By itself it returns an array of more than 32 MiB to the system when it is
    freed, and gets pages filled with zeros for the next one: at 3 x 4096
    units that is a fifth of a training step.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    trim_threshold, mmap_max = -1, -4  # of malloc.h
    mallopt(trim_threshold, 2 ** 31 - 1)
    mallopt(mmap_max, 0)


class Cores:
    """Finds out by measurement who is to have the cores.

    Args:
        n (int): Number of cores.
        has_kernels (bool): Whether there are kernels that can be divided.

    Attributes:
        choice (tuple): Number of cores that the kernels have, and whether the
            products have all.

    """

    def __init__(self, n, has_kernels):
        several = [n]
        while several[-1] > 3:  # Half of many cores may do as well as all.
            several.append(several[-1] // 2)
        self._choices = [
            *([(k, False) for k in several] if n > 1 and has_kernels else []),
            *([(1, True)] if n > 1 else []), (1, False)]
        self._time = None
        self._comparison = self._compare()
        next(self._comparison)

    def adapt(self):
        """Takes note that an iteration is over; to be called after each.

        All choices are tried in the first iterations, and again every so
        often. The results are the same whatever is chosen.
        """
        before, self._time = self._time, time.perf_counter()
        if before is not None:
            self._comparison.send(self._time - before)

    def use(self, choice):
        """Lets kernels and products have the cores of a choice."""
        global _n_own, _products_at_once
        self.choice = choice
        _n_own, _products_at_once = choice

    def _compare(self):
        """Takes the seconds of one iteration after the other."""
        pause, best = _PAUSE, None
        while True:
            seconds = {}
            for choice in self._choices:
                self.use(choice)
                yield  # Not counted: half of it was another choice's.
                measured = []
                while len(measured) < _COUNTED:
                    measured.append((yield))
                seconds[choice] = statistics.median(measured)
            before, best = best, min(seconds, key=seconds.get)
            self.use(best)
            pause = (min(2 * pause, _LONGEST_PAUSE) if best == before
                     else _PAUSE)
            last = collections.deque(maxlen=_COUNTED)
            for _ in range(pause):
                last.append((yield))
                if (len(last) == _COUNTED and statistics.median(last)
                        > _SLOWER * seconds[best]):
                    pause = _PAUSE
                    break


@contextlib.contextmanager
def own_cores(has_kernels):
    """Divides kernels and matrix products among the cores.

    Inside the ``with`` block the BLAS library has one thread. As many cores
    as it had before, by its own settings (OPENBLAS_NUM_THREADS,
    OMP_NUM_THREADS, the process's cores), are used here. Needs threadpoolctl,
    without which nothing changes. Memory is kept, see :func:`keep_memory`.

    Args:
        has_kernels (bool): Whether there are kernels that can be divided.

    Yields:
        Cores: Whose ``adapt()`` is to be called after each iteration.

    """
    global _n_own, _n_parts, _products_at_once
    keep_memory()
    try:
        import threadpoolctl
    except ImportError:
        yield Cores(1, has_kernels)
        return
    blas = threadpoolctl.ThreadpoolController().select(user_api='blas')
    before = _n_own, _n_parts, _products_at_once
    n = min(n_threads(), max(
        [_n_parts, *(info['num_threads'] for info in blas.info())]))
    with blas.limit(limits=1):
        _n_parts = n
        try:
            yield Cores(n, has_kernels)
        finally:
            _n_own, _n_parts, _products_at_once = before
