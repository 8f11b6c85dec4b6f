#!/usr/bin/env python
"""Measures a step of several processes, and models many machines from it.

Under mpiexec, e.g. ``mpiexec -n 2 benchmarks/mpi_cost.py``: seconds of a step
and of its communication, and the bytes that a process sends to the others.
With ``--model A B`` it prints what 8, 64 and 512 machines would take: a step
of a batch b takes A + B b milliseconds of computing, as measured by one
process at two batch sizes.
"""
import argparse
import math
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import chainer_compat  # noqa: F401  (before chainer)
import numpy
from chainer import datasets, training
from chainer.training import updaters

import kernels
import train_mnist
from recipes import build as recipes
from training import multi_node
from training.array_iterator import ArrayIterator, send_arrays

# Gigabits and seconds: of a link, and until a message of it arrives.
NETWORKS = {'10 Gbit/s': (10, 25e-6), '100 Gbit/s': (100, 5e-6)}
MACHINES = 2, 8, 64, 512
IMAGES = 60000


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
    settings = recipes.settings(train_mnist.parse_args(
        ['--unit', str(unit)])[1])
    model = recipes.make_classifier(settings, 784, 10)
    random = numpy.random.RandomState(world.rank)
    x = random.rand(20 * batchsize, 784).astype(numpy.float32)
    t = random.randint(0, 10, len(x)).astype(numpy.int32)
    updater = updaters.StandardUpdater(
        ArrayIterator(datasets.TupleDataset(x, t), batchsize),
        recipes.make_optimizer(settings, model), converter=send_arrays)
    trainer = training.Trainer(updater, (1, 'epoch'))
    world.connect(trainer)
    world.synchronize(trainer)
    gradients = world.communicator.multi_node_mean_grad = Timed(
        world.communicator.multi_node_mean_grad)
    statistics = Timed(multi_node._MultiNodeImpl._mean)
    multi_node._MultiNodeImpl._mean = (
        lambda self, *arrays: statistics(self, *arrays))
    with kernels.own_cores():
        for _ in range(10):
            updater.update()
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


def model(a, b, n_bytes, n_messages, batchsize):
    """Prints the table; the messages go around a ring."""
    def seconds(n, batch, network):
        bandwidth, latency = NETWORKS[network]
        computing = (a + b * batch) / 1e3
        if n == 1:
            return computing
        return (computing
                + 2 * (n - 1) / n * n_bytes * 8 / (bandwidth * 1e9)
                + n_messages * 2 * math.ceil(math.log2(n)) * latency)

    print('| machines | network | s/epoch, 100 images each | speed-up | '
          's/epoch, 100 in all | speed-up |')
    print('| --- | --- | --- | --- | --- | --- |')
    one = IMAGES / batchsize * seconds(1, batchsize, '10 Gbit/s')
    print(f'| 1 | | {one:.2f} | 1.0 | {one:.2f} | 1.0 |')
    for network in NETWORKS:
        for n in MACHINES:
            weak = IMAGES / (batchsize * n) * seconds(n, batchsize, network)
            strong = IMAGES / batchsize * seconds(n, batchsize / n, network)
            cells = (f'{strong:.2f} | {one / strong:.2f}' if n <= batchsize
                     else '|')
            print(f'| {n} | {network} | {weak:.3f} | {one / weak:.1f} | '
                  f'{cells} |')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--batchsize', type=int, default=100)
    parser.add_argument('--unit', type=int, default=1000)
    parser.add_argument('--steps', type=int, default=100)
    parser.add_argument('--model', type=float, nargs=2, metavar=('A', 'B'))
    parser.add_argument('--bytes', type=int, default=7264440)
    parser.add_argument('--messages', type=int, default=18)
    args = parser.parse_args()
    if args.model:
        model(*args.model, args.bytes, args.messages, args.batchsize)
        return
    args.mpi, args.gpu = True, -1
    with multi_node.join(args, parser) as world:
        measure(world, args.batchsize, args.unit, args.steps)


if __name__ == '__main__':
    main()
