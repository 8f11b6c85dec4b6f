#!/usr/bin/env python
"""Measures a step of training in several processes, and its communication.

Under mpiexec, e.g. ``mpiexec -n 2 benchmarks/mpi_cost.py``: seconds of a step
and of its communication, and the bytes that a process sends to the others.
"""
import argparse
import pathlib
import sys
import time

if __name__ == '__main__':
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import chainer_compat
from chainer.training import Trainer
from chainer.training.updaters import StandardUpdater
import numpy

import kernels
import train_mnist
from recipes import build, choices
from system.command_line import ArgumentParser, integer
from training import multi_node
from training.array_dataset import ArrayDataset
from training.array_iterator import ArrayIterator, send_arrays
from training.processes import join


class Timed:
    """A function that adds up the time that it takes."""

    def __init__(self, function):
        self.function, self.seconds, self.calls = function, 0., 0

    def __call__(self, *args, **kwargs):
        start = time.perf_counter()
        try:
            return self.function(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - start
            self.calls += 1


def measure(world, batchsize, unit, steps):
    """Prints the time and the bytes of a process's step, on random images."""
    settings = choices.settings(train_mnist.parse_args(
        ['--unit', str(unit)])[1])
    model = build.make_classifier(settings, 784, 10)
    random = numpy.random.RandomState(world.rank)
    x = random.rand(20 * batchsize, 784).astype(numpy.float32)
    t = random.randint(0, 10, len(x)).astype(numpy.int32)
    updater = StandardUpdater(
        ArrayIterator(ArrayDataset(x, t), batchsize),
        world.optimizer(build.make_optimizer(settings, model)),
        converter=send_arrays)
    trainer = Trainer(updater, (1, 'epoch'))
    world.synchronize(trainer)
    gradients = world.communicator.multi_node_mean_grad = Timed(
        world.communicator.multi_node_mean_grad)
    statistics = Timed(multi_node._MultiNodeImpl._mean)
    multi_node._MultiNodeImpl._mean = (
        lambda self, *arrays: statistics(self, *arrays))
    with kernels.own_cores() as cores:
        for _ in range(30):  # until the cores are chosen
            updater.update()
            cores.adapt()
        gradients.seconds = statistics.seconds = 0.
        statistics.calls = 0
        start = time.perf_counter()
        for _ in range(steps):
            updater.update()
        seconds = time.perf_counter() - start
    n_bytes = sum(param.grad.nbytes for param in model.params())
    # Forward and backward, two arrays of doubles each.
    n_bytes += sum(2 * 2 * 8 * link.gamma.size for link in model.links()
                   if hasattr(link, 'impl_selector'))
    print(f'{world.size} processes, {batchsize} images each: '
          f'{1e3 * seconds / steps:.2f} ms a step, '
          f'{1e3 * (gradients.seconds + statistics.seconds) / steps:.2f} ms '
          f'of it for communication and waiting, {n_bytes:,} bytes in '
          f'{len(list(model.params())) + statistics.calls // steps} messages')


def main():
    parser = ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--batchsize', type=integer(1), default=100,
                        help='images in a step of each process')
    parser.add_argument('--unit', type=integer(1), default=1000)
    parser.add_argument('--steps', type=integer(1), default=100)
    args = parser.parse_args()
    args.mpi, args.gpu = True, -1
    with join(parser, args) as world:
        measure(world, args.batchsize, args.unit, args.steps)


if __name__ == '__main__':
    main()
