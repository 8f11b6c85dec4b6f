"""Python threads for compiled kernels that release the interpreter's lock."""
import concurrent.futures
import os

_pool = None


def n_threads():
    """Returns the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not on Linux
        return os.cpu_count() or 1


def _forget_pool():
    # After a fork the child has the pool's object, but not its threads.
    global _pool
    _pool = None


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_pool)


def run_in_threads(function, n_rows, max_threads):
    """Calls a function on the slices of a range of rows, one a thread.

    Args:
        function (callable): Takes a slice of rows.
        n_rows (int): Number of rows.
        max_threads (int): Threads that the work is worth; at most
            :func:`n_threads` are taken, the calling one among them.

    """
    global _pool
    n = min(n_threads(), max_threads, n_rows) if max_threads > 1 else 1
    if n <= 1:
        function(slice(0, n_rows))
        return
    if _pool is None:
        _pool = concurrent.futures.ThreadPoolExecutor(
            n_threads(), thread_name_prefix='kernels')
    slices = [slice(n_rows * i // n, n_rows * (i + 1) // n) for i in range(n)]
    futures = [_pool.submit(function, rows) for rows in slices[1:]]
    function(slices[0])
    for future in futures:
        future.result()
