#!/usr/bin/env python
"""Times the matrix products of a training step, beside the BLAS library's.

One thread, square layers of some sizes, a batch of 100 and a first layer of
784 inputs. Each product is checked against one in float64.
"""
import os
import pathlib
import statistics
import sys
import time

# Before NumPy loads its BLAS library.
for name in 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'OMP_NUM_THREADS':
    os.environ[name] = '1'
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy  # noqa: E402

import kernels  # noqa: E402
from kernels import threads  # noqa: E402

BATCHSIZE = 100
UNITS = 1000, 2048, 4096
ROUNDS = 15


def products(n_units, random):
    """Yields name, product of this project, of BLAS, and its factors."""
    def real(*shape):
        return random.standard_normal(shape).astype(numpy.float32)

    def signs(*shape):
        return random.choice([-1, 1], shape).astype(numpy.float32)

    W, W1 = signs(n_units, n_units), signs(n_units, 784)
    x, gy = signs(BATCHSIZE, n_units), real(BATCHSIZE, n_units)
    dropped = x * (random.uniform(size=x.shape) < .7).astype(numpy.float32)

    # What makes bits of the weights counts as the forward's.
    def transposed(a, b):
        return kernels.sign_matrix(b.T).multiply_transposed(a)

    matrix = kernels.sign_matrix(W)

    yield 'forward, `x W^T`', transposed, x, W.T
    yield 'forward of pixels', transposed, real(BATCHSIZE, 784), W1.T
    yield 'gradient of x, `gy W`', lambda a, b: matrix.multiply(a), gy, W
    yield 'gradient of W, `gy^T x`', kernels.dot, gy.T, x
    yield 'the same after dropout', kernels.dot, gy.T, dropped


def seconds(function, other):
    """Returns the medians of two functions, called in turns."""
    times = [[], []]
    for _ in range(ROUNDS):
        for f, taken in zip((function, other), times):
            start = time.perf_counter()
            f()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def main():
    threads.keep_memory()
    random = numpy.random.RandomState(0)
    print(f'kernels: {kernels.description()}, NumPy {numpy.__version__}\n')
    print('| units | product | BLAS | this project | times as fast |')
    print('| --- | --- | --- | --- | --- |')
    for n_units in UNITS:
        for name, product, a, b in products(n_units, random):
            exact = a.astype(float).dot(b.astype(float))
            if not abs(product(a, b) - exact).max() < 1e-5 * abs(exact).max():
                sys.exit(f'{name} is wrong')
            a_dot, a_blas = seconds(lambda a=a, b=b, product=product:
                                    product(a, b), lambda a=a, b=b: a.dot(b))
            print(f'| {n_units} | {name} | {1000 * a_blas:.2f} ms | '
                  f'{1000 * a_dot:.2f} ms | {a_blas / a_dot:.1f} |',
                  flush=True)


if __name__ == '__main__':
    main()
