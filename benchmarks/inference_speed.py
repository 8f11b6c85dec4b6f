#!/usr/bin/env python
"""Measures how fast a packed net is, beside the same net in float32.

Every contender runs in a process of its own, so that no library's threads
are in another's way, and they take turns: a busy machine is busy for all of
them. Times are medians over the rounds, ratios the medians of the rounds'
ratios. The float32 nets get their pixels as float32 already.
"""
import argparse
import json
import multiprocessing
import pathlib
import statistics
import sys
import time

if __name__ == '__main__':
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import numpy

from benchmarks import machine, popcount_limit
from benchmarks.arguments import output_file
from benchmarks.contenders import (
    CONTENDERS, conv_shapes, layer_sizes, linear_shapes, random_arrays)
from data import mnist
from prediction.packed_net import PackedNet
from system import snapshot_file
from system.command_line import ArgumentParser, integer
from system.npz_reader import NpzReader

_SINGLES = 100

# Seconds in which the threads of the contender before stop waiting for work.
# Then comes a run that does not count, in which threads find their cores.
_REST = .2


def work(connection, name, arrays):
    """A contender's process: answers each request with a time in seconds."""
    try:
        predict, description = CONTENDERS[name](arrays)
    except ImportError as e:
        connection.send(e)
        return
    x, _ = mnist.read('test.npz')
    if name != 'packed':
        x = x.astype(numpy.float32) * numpy.float32(1 / 255)
    connection.send((description, predict(x)))
    predict(x[:1])
    while True:
        request = connection.recv()
        if request is None:
            return
        time.sleep(_REST)
        predict(x)
        start = time.perf_counter()
        if request == 'all':
            predict(x)
            n = 1
        else:
            n = _SINGLES
            for i in range(n):
                predict(x[i:i + 1])
        connection.send((time.perf_counter() - start) / n)


def start(arrays):
    """Starts a process for each contender.

    Returns:
        tuple: Process, connection and description by name, and predictions
        by name; a contender whose library is missing is in neither.

    """
    context = multiprocessing.get_context('spawn')
    started = {}
    for name in CONTENDERS:
        connection, there = context.Pipe()
        process = context.Process(
            target=work, args=(there, name, arrays), daemon=True)
        process.start()
        there.close()
        started[name] = process, connection
    workers, predictions = {}, {}
    for name, (process, connection) in started.items():
        try:
            answer = connection.recv()
        except EOFError:
            sys.exit(f'the process of {name} has failed')
        if isinstance(answer, ImportError):
            print(f'{name}: not measured, {answer}')
            process.join()
            continue
        description, predictions[name] = answer
        workers[name] = process, connection, description
    return workers, predictions


def measure(title, arrays, rounds):
    """Prints a net's speed in each form, and returns the median seconds."""
    sizes = layer_sizes(arrays)
    print(f'\n{"-".join(map(str, sizes))}, {title}')
    workers, predictions = start(arrays)
    times = {}
    for _ in range(rounds):
        for request in 'one', 'all':
            for name, (_, connection, _) in workers.items():
                connection.send(request)
                times.setdefault((request, name), []).append(
                    connection.recv())
    for process, connection, _ in workers.values():
        connection.send(None)
        process.join()
    print_table(times, predictions, {
        name: description for name, (_, _, description) in workers.items()})
    return {name: {request: statistics.median(times[request, name])
                   for request in ('all', 'one')} for name in workers}


def print_table(times, predictions, descriptions):
    """Prints a row of times, ratios and differing answers per contender."""
    def ratio(request, name):
        return statistics.median(
            slow / fast for slow, fast in zip(times[request, name],
                                              times[request, 'packed']))

    print(f'{"":16} {"10,000 images":>14} {"":>8} {"one image":>11} '
          f'{"":>8} {"differ":>6}')
    for name, description in descriptions.items():
        everything, single = (statistics.median(times[request, name])
                              for request in ('all', 'one'))
        differ = (predictions[name] != predictions['packed']).sum()
        print(f'{name:16} {1e3 * everything:>11.1f} ms '
              f'{ratio("all", name):>6.1f} x {1e6 * single:>8.1f} us '
              f'{ratio("one", name):>6.1f} x {differ:>6}   {description}')
    others = [name for name in descriptions if name != 'packed']
    for request, label in (('all', '10,000 images'), ('one', 'one image')):
        best = min(others, key=lambda name, r=request:
                   statistics.median(times[r, name]))
        print(f'{label}: {ratio(request, best):.1f} times the speed of the '
              f'best float32 ({best})')


def multiple_of_64(text):
    """Returns a number of units that fill whole words of bits."""
    value = integer(64)(text)
    if value % 64:
        raise argparse.ArgumentTypeError(
            f'must be a multiple of 64, got {value}')
    return value


def parse_args():
    parser = ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    net = parser.add_mutually_exclusive_group()
    net.add_argument('--snapshot', metavar='FILE',
                     help='trained net; left out, weights are random')
    net.add_argument('--unit', type=integer(1), default=1000,
                     help='units of its two hidden layers if it is random')
    parser.add_argument('--rounds', type=integer(1), default=9)
    parser.add_argument('--large-rounds', type=integer(0), default=5,
                        help='rounds of the net with 3 x 4096 units')
    parser.add_argument('--channels', type=integer(1), nargs='+', default=[],
                        metavar='N', help='measure nets with two blocks of '
                        'convolutions as well, of N and 2 N channels, and '
                        '256 hidden units')
    parser.add_argument('--product-units', type=multiple_of_64, nargs='+',
                        metavar='N', default=[1024, 4096],
                        help='sizes of the layers whose product is measured '
                             'beside the popcount limit')
    parser.add_argument('--save', metavar='FILE', type=output_file,
                        help='write the median seconds as JSON, for the '
                             'README')
    args = parser.parse_args()
    args.arrays = random_arrays(
        linear_shapes([784, args.unit, args.unit, 10]))
    if args.snapshot:
        try:
            with NpzReader(args.snapshot) as npz:
                args.arrays = snapshot_file.read_net(npz)
            PackedNet.from_arrays(args.arrays)
        except ValueError as e:
            parser.error(e)
    return args


def main():
    args = parse_args()
    print(machine.description())
    popcount_limit.measure(args.product_units, args.rounds)
    _, n_units, *more, _ = layer_sizes(args.arrays)
    medians = {f'{1 + len(more)} x {n_units}': measure(
        'trained' if args.snapshot else 'random weights', args.arrays,
        args.rounds)}
    if args.large_rounds:
        medians['3 x 4096'] = measure(
            'random weights', random_arrays(
                linear_shapes([784, 4096, 4096, 4096, 10])),
            args.large_rounds)
    for channels in args.channels:
        medians[f'{channels} channels, 256'] = measure(
            'convolutions, random weights',
            random_arrays(conv_shapes(channels, 256)), args.rounds)
    if args.save:
        with open(args.save, 'w') as f:
            json.dump(medians, f, indent=4)
            f.write('\n')


if __name__ == '__main__':
    main()
