"""Threads for kernels and matrix products that release Python's lock.

The BLAS library and other pools keep their threads awake for a while after a
task, in a loop: on the same cores they are in each other's way, and in that of
any other program. These threads sleep until there is work. Between matrix
products the kernels use them only inside :func:`own_cores`, which takes the
BLAS library down to one thread and divides its products as well.
"""
import contextlib
import ctypes
import os
import queue
import threading

_workers = []
_local = threading.local()

# Threads that the kernels may use between matrix products.
_n_own = 1


class _Worker(threading.Thread):

    def __init__(self):
        super().__init__(name='kernels', daemon=True)
        self._tasks = queue.SimpleQueue()
        self.start()

    def run(self):
        _local.is_worker = True
        while True:
            function, rows, results = self._tasks.get()
            error = None
            try:
                function(rows)
            except BaseException as e:
                error = e
            results.put(error)
            # Keep no array alive while there is nothing to do.
            del function, rows, results, error

    def start_task(self, *task):
        self._tasks.put(task)


def _forget_workers():
    # After a fork the child has the objects, but not their threads.
    global _workers
    _workers = []


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_workers)


def n_threads():
    """Returns the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not on Linux
        return os.cpu_count() or 1


def run_in_threads(function, n_rows, max_threads):
    """Calls a function on the slices of a range of rows, one a thread.

    Args:
        function (callable): Takes a slice of rows.
        n_rows (int): Number of rows.
        max_threads (int): Threads that the work is worth; at most
            :func:`n_threads` are taken, the calling one among them.

    """
    n = min(n_threads(), max_threads, n_rows) if max_threads > 1 else 1
    if n <= 1 or getattr(_local, 'is_worker', False):
        function(slice(0, n_rows))
        return
    while len(_workers) < n - 1:
        _workers.append(_Worker())
    slices = [slice(n_rows * i // n, n_rows * (i + 1) // n) for i in range(n)]
    results = queue.SimpleQueue()
    for worker, rows in zip(_workers, slices[1:]):
        worker.start_task(function, rows, results)
    errors = []
    try:
        function(slices[0])
    finally:
        errors += [results.get() for _ in slices[1:]]
    for error in errors:
        if error is not None:
            raise error


def n_own(work, least):
    """Returns how many threads some work is worth inside :func:`own_cores`.

    Args:
        work (int): Size of the work, by any measure.
        least (int): Least size for which a thread is woken.

    """
    return min(_n_own, work // least)


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


@contextlib.contextmanager
def own_cores():
    """Divides kernels and matrix products among the threads of this module.

    Inside the ``with`` block the BLAS library has one thread. As many as it
    had before, by its own settings (OPENBLAS_NUM_THREADS, OMP_NUM_THREADS,
    the process's cores), are used here. Needs threadpoolctl, without which
    nothing changes. Memory is kept, see :func:`keep_memory`.
    """
    global _n_own
    keep_memory()
    try:
        import threadpoolctl
    except ImportError:
        yield
        return
    blas = threadpoolctl.ThreadpoolController().select(user_api='blas')
    before = _n_own
    n = max([before, *(info['num_threads'] for info in blas.info())])
    with blas.limit(limits=1):
        _n_own = n
        try:
            yield
        finally:
            _n_own = before
