"""Times of the kernels in a training step, for ``train_speed.py``."""
import collections
import contextlib
import functools
import time
from unittest import mock

import numpy

import kernels
from kernels.matrix import Matrix

_PRODUCTS = 'dot', 'multiply', 'multiply_transposed'


@contextlib.contextmanager
def measured():
    """Measures the kernels that are called inside the ``with`` block.

    Yields:
        collections.Counter: Seconds by the names of the kernels, those of
        products with the shape of the left side.

    """
    seconds = collections.Counter()
    is_inside = False

    def timed(function):
        name = function.__name__

        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            nonlocal is_inside
            if is_inside:  # What a kernel calls is part of it.
                return function(*args, **kwargs)
            is_inside = True
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                is_inside = False
                array = next(arg for arg in args
                             if isinstance(arg, numpy.ndarray))
                label = name + (f' {len(array)} x {array.shape[1]}'
                                if name in _PRODUCTS else '')
                seconds[label] += time.perf_counter() - start

        return wrapper

    backend = kernels._kernels_for(numpy.empty(0))
    functions = [(backend, name) for name in kernels.KERNELS]
    functions += [(kind, name) for kind in (Matrix, *Matrix.__subclasses__())
                  for name in _PRODUCTS if name in vars(kind)]
    with contextlib.ExitStack() as stack:
        for owner, name in functions:
            stack.enter_context(mock.patch.object(
                owner, name, timed(getattr(owner, name))))
        yield seconds


def print_table(step, kernel_seconds):
    """Prints a row of milliseconds a step for each kernel.

    Args:
        step (dict): Seconds of a step by the name of a column.
        kernel_seconds (dict): Seconds of each kernel in a step, by the same
            names.

    """
    def line(label, seconds):
        print(f'{label:40}' + ''.join(f'{1000 * s:12.3f}' for s in seconds))

    print(f'\n{"milliseconds a step":40}'
          + ''.join(f'{name:>12}' for name in step))
    first = next(iter(kernel_seconds.values()))
    for name in sorted(first, key=first.get, reverse=True):
        line(name, [kernel[name] for kernel in kernel_seconds.values()])
    line('all else: Python', [
        step[name] - sum(kernel.values())
        for name, kernel in kernel_seconds.items()])
    line('a step', step.values())
