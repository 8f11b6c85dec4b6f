#!/usr/bin/env python
"""Seconds that an epoch of training takes, beside Chainer and PyTorch.

Every variant trains the same network on MNIST in a process of its own: an
epoch of updates on batches in random order, then the evaluation of the test
set. The processes take turns, one round after the other, so that a machine
that gets faster or slower does so for all of them. Before that, one step from
the same weights must give the same loss and gradients in each.
"""
import argparse
import importlib.util
import json
import math
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

if __name__ == '__main__':
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import numpy

from benchmarks import kernel_times, machine, nets, variants
from benchmarks.arguments import output_file
from benchmarks.variants import VARIANTS
from system.command_line import ArgumentParser, integer, number
from training.array_dataset import get_mnist

TOLERANCE = 1e-5

# Steps whose kernels are measured.
PROFILED_STEPS = 200

# The step of a larger network is compared at this size.
CHECKED_UNITS, CHECKED_LAYERS, CHECKED_CHANNELS = 1000, 2, 16

# Images of that step, with convolutions: of a million activations some lie so
# near to 0 or 1 that rounding decides, of those of a few images none does.
CHECKED_IMAGES = 10


def initial_parameters(args):
    """Returns the parameters that every variant starts from, by name."""
    random = numpy.random.RandomState(0)
    parameters = {}
    for k, shape in enumerate(nets.weight_shapes(args)[0], 1):
        n_out, *n_in = shape
        W = random.normal(0, math.prod(n_in) ** -.5, shape)
        parameters[f'l{k}/W'] = W.astype(numpy.float32)
        for name, value in (f'l{k}/b', 0), (f'bn{k}/gamma', 1), (
                f'bn{k}/beta', 0):
            parameters[name] = numpy.full(n_out, value, numpy.float32)
    return parameters


def work(args):
    """Runs one variant: one line of JSON for each line on stdin."""
    numpy.random.seed(0)
    train, test = get_mnist()
    variant = VARIANTS[args.variants[0]](args, train, test)
    updates_per_epoch = len(train) / args.batchsize
    n_updates = max(1, round(args.share * updates_per_epoch))

    def epoch(_):
        start = time.perf_counter()
        variant.train(n_updates)
        trained = time.perf_counter()
        variant.evaluate()
        # The evaluation is always a whole one.
        return ((trained - start) * updates_per_epoch / n_updates
                + time.perf_counter() - trained)

    def step(path):
        parameters = initial_parameters(args)
        variant.set_parameters(parameters)
        x, t = (array[:args.batchsize] for array in variants.arrays(train))
        loss, gradients = variant.gradients(x, t, parameters)
        numpy.savez(path, loss=loss, **gradients)

    def profile(n_updates):
        with kernel_times.measured() as seconds:
            start = time.perf_counter()
            variant.train(n_updates)
            taken = time.perf_counter() - start
        return taken / n_updates, {
            name: s / n_updates for name, s in seconds.items()}

    def warm_up(_):
        variant.train(40)  # until the cores are chosen
        variant.evaluate()
        return machine.blas()

    def peak(_):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    commands = {'epoch': epoch, 'step': step, 'warm_up': warm_up,
                'peak': peak, 'profile': profile}
    with variant.context() as variant.cores:
        for line in sys.stdin:
            command, argument = json.loads(line)
            print(json.dumps(commands[command](argument)), flush=True)


class Worker:
    """A process that runs one variant when it is told to.

    Args:
        name (str): Name of the variant.
        n_cores (str): ``'all'`` or ``'one'``.
        args (argparse.Namespace): Arguments of the program.

    """

    def __init__(self, name, n_cores, args):
        self.name = name
        self.title = VARIANTS[name].title + ', one core' * (n_cores == 'one')

        def use_one_core():
            os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])

        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), '--worker',
             '--variants', name, '--unit', str(args.unit),
             '--layers', str(args.layers), '--channels', str(args.channels),
             '--blocks', str(args.blocks), '--batchsize', str(args.batchsize),
             '--share', str(args.share)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            preexec_fn=use_one_core if n_cores == 'one' else None)

    def __call__(self, command, argument=None):
        try:
            print(json.dumps([command, argument]), file=self.process.stdin,
                  flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ''
        if not line:
            sys.exit(f'the process of the variant {self.name} has failed')
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def check(workers):
    """Ends the program unless all binary variants compute the same step."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'step.npz')
        for title, worker in workers.items():
            if VARIANTS[worker.name].is_checked:
                worker('step', path)
                with numpy.load(path) as f:
                    results[title] = dict(f)
    reference = next(iter(results), None)
    for name, result in results.items():
        for key, array in result.items():
            difference = abs(array - results[reference][key]).max()
            if not difference <= TOLERANCE:
                sys.exit(f'{key} of {name} differs from that of {reference} '
                         f'by {difference:.2g}')


def start(args):
    """Returns the processes of the variants by their titles."""
    workers = [Worker(name, n_cores, args)
               for name in dict.fromkeys(args.variants)
               for n_cores in dict.fromkeys(args.cores)]
    return {worker.title: worker for worker in workers}


def measure(args):
    """Returns the seconds per epoch and round, and more, of each variant."""
    checked = argparse.Namespace(**{
        **vars(args), 'unit': min(args.unit, CHECKED_UNITS),
        'layers': min(args.layers, CHECKED_LAYERS),
        'channels': min(args.channels, CHECKED_CHANNELS),
        'batchsize': min(args.batchsize, CHECKED_IMAGES) if args.channels
        else args.batchsize})
    workers = start(checked)
    check(workers)
    if checked != args:
        for worker in workers.values():
            worker.close()
        workers = start(args)
    for worker in workers.values():
        worker('peak')  # All have started when the first one begins.
    blas = {name: worker('warm_up') for name, worker in workers.items()}
    seconds = {name: [] for name in workers}
    for _ in range(args.rounds):
        for name, worker in workers.items():
            seconds[name].append(worker('epoch'))
    peak = {name: worker('peak') for name, worker in workers.items()}
    profiles = {title: worker('profile', PROFILED_STEPS)
                for title, worker in workers.items()
                if args.profile and worker.name == 'project'}
    for worker in workers.values():
        worker.close()
    return {'seconds': seconds, 'blas': blas, 'peak': peak,
            'profiles': profiles}


def print_table(args, result):
    """Prints a row of seconds, their ratio and the memory of each variant."""
    print((f'{args.blocks} blocks of {args.channels} channels and more, '
           if args.channels else '')
          + f'{args.layers} x {args.unit} units, batch {args.batchsize}, '
          f'{args.rounds} rounds'
          + ('' if args.share == 1 else f' of {args.share:g} epochs each'))
    print(f'CPU: {machine.description()}')
    for name, blas in result['blas'].items():
        if name.startswith((variants.Project.title, variants.Torch.title)):
            print(f'Libraries and threads of {name}: {blas}')
    print()
    print(f'{"":40} {"s/epoch":>8} {"min":>7} {"max":>7} '
          f'{"project/it":>10} {"peak MB":>8}')
    for name, seconds in result['seconds'].items():
        # The ratio round by round, so that a slow round counts for both; to
        # this project on as many cores.
        ratio = '-'
        ours = result['seconds'].get(
            variants.Project.title + ', one core' * name.endswith('one core'))
        if ours:
            ratios = [a / b for a, b in zip(ours, seconds)]
            ratio = f'{statistics.median(ratios):.2f}'
        print(f'{name:40} {statistics.median(seconds):8.2f} '
              f'{min(seconds):7.2f} {max(seconds):7.2f} {ratio:>10} '
              f'{result["peak"][name]:8.0f}')
    if result['profiles']:
        names = {title: 'one core' if title.endswith('one core') else 'all'
                 for title in result['profiles']}
        kernel_times.print_table(*(
            {names[title]: profile[k]
             for title, profile in result['profiles'].items()}
            for k in (0, 1)))


def parse_args():
    parser = ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--unit', type=integer(1), default=1000)
    parser.add_argument('--layers', type=integer(1), default=2,
                        help='number of hidden layers')
    parser.add_argument('--channels', type=integer(0, 4096), default=0,
                        help='channels of the first block of convolutions; 0: '
                             'no convolutions')
    parser.add_argument('--blocks', type=integer(1, 4), default=2,
                        help='number of blocks of convolutions')
    parser.add_argument('--batchsize', type=integer(1, 60000), default=100)
    parser.add_argument('--rounds', type=integer(1), default=5)
    parser.add_argument('--share', type=number(1e-6, 1), default=1.,
                        help='share of the epoch to train in a round, for '
                             'networks that take long')
    parser.add_argument('--variants', nargs='+', choices=VARIANTS,
                        metavar='NAME', help='some of ' + ', '.join(VARIANTS))
    parser.add_argument('--cores', nargs='+', choices=['all', 'one'],
                        default=['all'],
                        help='on all cores, on one, or both')
    parser.add_argument('--profile', action='store_true',
                        help="print the times of this project's kernels")
    parser.add_argument('--save', metavar='FILE', type=output_file,
                        help='write the medians as JSON, for the README')
    parser.add_argument('--worker', action='store_true',
                        help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variants is None:
        args.variants = [
            name for name in variants.DEFAULT
            if VARIANTS[name].has_convolutions or not args.channels]
    without = [name for name in args.variants
               if args.channels and not VARIANTS[name].has_convolutions]
    if without:
        parser.error(f'{" and ".join(without)} have no --channels, choose '
                     'other --variants')
    if 'one' in args.cores and not hasattr(os, 'sched_setaffinity'):
        parser.error('--cores one needs Linux')
    of_torch = [name for name in args.variants
                if issubclass(VARIANTS[name], variants.Torch)]
    if of_torch and importlib.util.find_spec('torch') is None:
        parser.error(f'{" and ".join(of_torch)} need PyTorch: pip install -r '
                     'requirements-bench.txt, or choose other --variants')
    return args


def main():
    args = parse_args()
    if args.worker:
        work(args)
        return
    result = measure(args)
    print_table(args, result)
    if args.save:
        with open(args.save, 'w') as f:
            json.dump({name: round(statistics.median(seconds), 3)
                       for name, seconds in result['seconds'].items()}, f,
                      indent=4)
            f.write('\n')


if __name__ == '__main__':
    main()
