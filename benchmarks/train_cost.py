#!/usr/bin/env python
"""How an epoch's time grows with units and batch size.

Prints a table of seconds per epoch, beside the matrix products alone, and
draws it. Each point is measured as in train_speed.py, on a share of an epoch.
"""
import argparse
import json
import statistics
import sys

import train_speed

UNITS = [250, 500, 1000, 2000, 4096]
BATCHSIZES = [25, 50, 100, 250, 500, 1000]
VARIANTS = ['project', 'products']


def point(unit, batchsize, args):
    """Returns the median seconds per epoch of each variant."""
    # About a second of updates in a round.
    share = min(1, args.work / (unit * (784 + unit) * 60000 * 6 * 2))
    share = max(share, 10 * batchsize / 60000)
    result = train_speed.measure(argparse.Namespace(
        unit=unit, layers=2, batchsize=batchsize, rounds=args.rounds,
        share=share, variants=VARIANTS))
    return {name: statistics.median(seconds)
            for name, seconds in result['seconds'].items()}


def print_table(title, points):
    print(f'\n| {title} | this project, s/epoch | products alone, s/epoch '
          '| ratio |')
    print('| --- | --- | --- | --- |')
    for x, medians in points:
        print(f'| {x} | {medians["project"]:.2f} | '
              f'{medians["products"]:.2f} | '
              f'{medians["project"] / medians["products"]:.2f} |')


def draw(by_unit, by_batchsize, path):
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    figure = Figure(figsize=(10, 4), dpi=120, layout='constrained')
    for axes, points, label in zip(
            figure.subplots(1, 2, sharey=True), (by_unit, by_batchsize),
            ('units of a hidden layer, batch 100',
             'batch size, 1000 units')):
        x = [x for x, _ in points]
        for name, style in ('project', 'o-'), ('products', 's--'):
            axes.plot(x, [medians[name] for _, medians in points], style,
                      label=train_speed.VARIANTS[name])
        axes.set_xscale('log')
        axes.set_yscale('log')
        axes.set_xticks(x)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter('{:.0f}'.format))
        axes.yaxis.set_major_formatter(FuncFormatter('{:g}'.format))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(label)
        axes.grid(alpha=.3)
        axes.legend()
    figure.axes[0].set_ylabel('seconds per epoch')
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--work', type=float, default=2e11,
                        help='floating-point operations of a round')
    parser.add_argument('--draw', metavar='PNG', help='draw the table')
    parser.add_argument('--json', metavar='FILE', help='write the medians')
    args = parser.parse_args()

    by_unit, by_batchsize = [], []
    for unit in UNITS:
        by_unit.append((unit, point(unit, 100, args)))
        print('.', end='', file=sys.stderr, flush=True)
    for batchsize in BATCHSIZES:
        by_batchsize.append((batchsize, point(1000, batchsize, args)))
        print('.', end='', file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print_table('units, batch 100', by_unit)
    print_table('batch size, 1000 units', by_batchsize)
    if args.json:
        with open(args.json, 'w') as f:
            json.dump({'unit': by_unit, 'batchsize': by_batchsize}, f)
    if args.draw:
        draw(by_unit, by_batchsize, args.draw)


if __name__ == '__main__':
    main()
