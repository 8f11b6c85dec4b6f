#!/usr/bin/env python
"""Times the matrix products of a training step, beside the BLAS library's.

One thread, square layers of some sizes, a batch of 100 and a first layer of
MNIST's 784 pixels. Each product is checked against one in float64.
"""
import argparse
import functools
import os
import pathlib
import statistics
import sys
import time

if __name__ == '__main__':
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])
    # Before NumPy loads its BLAS library.
    for name in 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'OMP_NUM_THREADS':
        os.environ[name] = '1'

import numpy

import kernels
from data import sets
from kernels import cores
from system.command_line import ArgumentParser, integer

BATCHSIZE = 100


def products(n_units, random):
    """Yields each product's name, the project's function and the factors."""
    def real(*shape):
        return random.standard_normal(shape).astype(numpy.float32)

    def signs(*shape):
        return random.choice([-1, 1], shape).astype(numpy.float32)

    W, W1 = signs(n_units, n_units), signs(n_units, 784)
    x, gy = signs(BATCHSIZE, n_units), real(BATCHSIZE, n_units)
    pixels = sets.read().parts[0][0][:BATCHSIZE]
    pixels = (pixels / 255).astype(numpy.float32)
    dropped = x * (random.uniform(size=x.shape) < .7).astype(numpy.float32)

    # What makes bits of the weights counts as the forward's.
    def transposed(a, b):
        return kernels.sign_matrix(b.T).multiply_transposed(a)

    matrix = kernels.sign_matrix(W)

    yield 'forward, `x W^T`', transposed, x, W.T
    yield 'forward of pixels', transposed, pixels, W1.T
    yield 'gradient of x, `gy W`', lambda a, b: matrix.multiply(a), gy, W
    yield 'gradient of W, `gy^T x`', kernels.dot, gy.T, x
    yield 'the same after dropout', kernels.dot, gy.T, dropped
    yield 'the same of pixels', kernels.dot, gy.T, pixels


def seconds(function, other, rounds):
    """Returns the median seconds of two functions, called in turns."""
    times = [[], []]
    for _ in range(rounds):
        for f, taken in zip((function, other), times):
            start = time.perf_counter()
            f()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def main():
    parser = ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--units', type=integer(1), nargs='+', metavar='N',
                        default=[1000, 2048, 4096],
                        help='sizes of the layers')
    parser.add_argument('--rounds', type=integer(1), default=15)
    args = parser.parse_args()
    cores.keep_memory()
    random = numpy.random.RandomState(0)
    print(f'kernels: {kernels.description()}, NumPy {numpy.__version__}\n')
    print('| units | product | BLAS | this project | times as fast |')
    print('| --- | --- | --- | --- | --- |')
    for n_units in args.units:
        for name, product, a, b in products(n_units, random):
            exact = a.astype(float).dot(b.astype(float))
            if not abs(product(a, b) - exact).max() < 1e-5 * abs(exact).max():
                sys.exit(f'{name} is wrong')
            ours, blas = seconds(functools.partial(product, a, b),
                                 functools.partial(numpy.dot, a, b),
                                 args.rounds)
            print(f'| {n_units} | {name} | {1000 * blas:.2f} ms | '
                  f'{1000 * ours:.2f} ms | {blas / ours:.1f} |',
                  flush=True)


if __name__ == '__main__':
    main()
