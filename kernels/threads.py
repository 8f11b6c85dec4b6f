"""Threads for what releases Python's lock, and sleep until there is work."""
import concurrent.futures
import os

from kernels.cores import n_threads

_executor = None


def _forget_threads():
    # After a fork the child has the object, but not its threads.
    global _executor
    _executor = None


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_threads)


def run_in_threads(function, n, n_parts):
    """Calls a function on slices of a range at once, in threads.

    Args:
        function (callable): Takes a slice of ``range(n)``.
        n (int): Length of the range.
        n_parts (int): Number of slices.

    """
    global _executor
    slices = parts(n, n_parts)
    if _executor is None:
        _executor = concurrent.futures.ThreadPoolExecutor(
            max(1, n_threads() - 1), 'kernels')
    others = [_executor.submit(function, part) for part in slices[1:]]
    try:
        function(slices[0])
    finally:
        concurrent.futures.wait(others)
    for other in others:
        other.result()


def parts(n, n_parts):
    """Returns the slices of a range, as equal as they can be."""
    return [slice(n * i // n_parts, n * (i + 1) // n_parts)
            for i in range(n_parts)]
