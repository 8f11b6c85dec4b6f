#!/usr/bin/env python
"""How an epoch's time grows with units and batch size.

Prints a table of seconds per epoch, beside the matrix products alone, and
draws it. Each point is measured as in train_speed.py, on a share of an epoch.
"""
import argparse
import json
import pathlib
import statistics
import sys

if __name__ == '__main__':
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import train_speed
from benchmarks.arguments import output_file
from benchmarks.variants import VARIANTS
from system.command_line import (
    ArgumentParser, check_matplotlib, integer, number)


def point(unit, batchsize, args):
    """Returns each variant's median seconds per epoch at one size."""
    # About a second of updates in a round.
    share = args.work / (unit * (784 + unit) * 60000 * 6 * 2)
    share = min(1, max(share, 10 * batchsize / 60000))
    result = train_speed.measure(argparse.Namespace(
        unit=unit, layers=2, channels=0, blocks=2, batchsize=batchsize,
        rounds=args.rounds,
        share=share, variants=['project', 'products'], cores=['all'],
        profile=False))
    print('.', end='', file=sys.stderr, flush=True)
    return {name: statistics.median(result['seconds'][VARIANTS[name].title])
            for name in ('project', 'products')}


def print_table(title, points):
    """Prints the seconds per epoch at each size, as Markdown."""
    print(f'\n| {title} | this project, s/epoch | products alone, s/epoch '
          '| ratio |')
    print('| --- | --- | --- | --- |')
    for x, medians in points:
        print(f'| {x} | {medians["project"]:.2f} | '
              f'{medians["products"]:.2f} | '
              f'{medians["project"] / medians["products"]:.2f} |')


def draw(tables, path):
    """Draws the seconds per epoch against units and batch size."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    figure = Figure(figsize=(10, 4), dpi=120, layout='constrained')
    for axes, (label, points) in zip(
            figure.subplots(1, 2, sharey=True), tables.items()):
        x = [x for x, _ in points]
        for name, style in ('project', 'o-'), ('products', 's--'):
            axes.plot(x, [medians[name] for _, medians in points], style,
                      label=VARIANTS[name].title)
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
    parser = ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--units', type=integer(1), nargs='+', metavar='N',
                        default=[250, 500, 1000, 2000, 4096])
    parser.add_argument('--batchsizes', type=integer(1, 60000), nargs='+',
                        metavar='N', default=[25, 50, 100, 250, 500, 1000])
    parser.add_argument('--fixed', type=integer(1, 60000), nargs=2,
                        metavar=('UNIT', 'BATCHSIZE'), default=[1000, 100],
                        help='the units while the batch size grows, and the '
                             'batch size while the units grow')
    parser.add_argument('--rounds', type=integer(1), default=5)
    parser.add_argument('--work', type=number(0, 1e18), default=2e11,
                        help='floating-point operations of a round, which '
                             'has ten updates at least')
    parser.add_argument('--draw', metavar='PNG', type=output_file,
                        help='draw the table')
    parser.add_argument('--json', metavar='FILE', type=output_file,
                        help='write the medians')
    args = parser.parse_args()
    if args.draw:
        try:
            check_matplotlib('--draw')
        except ValueError as e:
            parser.error(e)

    unit, batchsize = args.fixed
    by_unit = [(n, point(n, batchsize, args)) for n in args.units]
    by_batchsize = [(n, point(unit, n, args)) for n in args.batchsizes]
    print(file=sys.stderr)
    print_table(f'units, batch {batchsize}', by_unit)
    print_table(f'batch size, {unit} units', by_batchsize)
    if args.json:
        with open(args.json, 'w') as f:
            json.dump({'unit': by_unit, 'batchsize': by_batchsize}, f)
    if args.draw:
        draw({f'units of a hidden layer, batch {batchsize}': by_unit,
              f'batch size, {unit} units': by_batchsize}, args.draw)


if __name__ == '__main__':
    main()
