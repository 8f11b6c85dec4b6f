#!/usr/bin/env python
"""Prints the table of several runs' logs and draws their curves.

The logs are those that train_mnist.py writes, one file per seed.
"""
import argparse
import json
import statistics

COLUMNS = ['main/loss', 'validation/main/loss', 'main/accuracy',
           'validation/main/accuracy']


def read_logs(paths):
    """Returns the logs, lists of one dictionary per epoch."""
    logs = []
    for path in paths:
        with open(path) as f:
            logs.append(json.load(f))
    return logs


def values(logs, epoch, column):
    """Returns one value per run."""
    return [log[epoch - 1][column] for log in logs]


def table(logs, epochs=None):
    """Returns a table in Markdown, mean and standard deviation of the runs.

    Args:
        logs (list): Logs of one length, two at least.
        epochs (list of int): Epochs to show; the last one by default.

    """
    lines = ['| epoch | ' + ' | '.join(COLUMNS) + ' |',
             '| --- |' + ' --- |' * len(COLUMNS)]
    for epoch in epochs or [len(logs[0])]:
        cells = []
        for column in COLUMNS:
            v = values(logs, epoch, column)
            cells.append(f'{statistics.mean(v):.4f} ± '
                         f'{statistics.stdev(v):.4f}')
        lines.append(f'| {epoch} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def draw(logs, path):
    """Draws loss and accuracy over the epochs: each run, and their mean."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = range(1, len(logs[0]) + 1)
    figure = Figure(figsize=(10, 4), dpi=120, layout='constrained')
    for axes, value in zip(figure.subplots(1, 2), ('loss', 'accuracy')):
        for column, label, color in (
                (f'main/{value}', 'training', 'tab:blue'),
                (f'validation/main/{value}', 'test', 'tab:orange')):
            runs = [[e[column] for e in log] for log in logs]
            for run in runs:
                axes.plot(epochs, run, color=color, alpha=.25, linewidth=1)
            axes.plot(epochs, [statistics.mean(v) for v in zip(*runs)],
                      color=color, linewidth=2, label=f'{label}, mean')
        axes.set_xlabel('epoch')
        axes.set_ylabel(value)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=.3)
        axes.legend()
    figure.suptitle(f'{len(logs)} runs, one seed each')
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('log', nargs='+', help='log of a run')
    parser.add_argument('--all', action='store_true',
                        help='show every epoch, not only the last')
    parser.add_argument('--draw', metavar='PNG', help='draw the curves')
    args = parser.parse_args()
    logs = read_logs(args.log)
    lengths = {len(log) for log in logs}
    if len(logs) < 2 or len(lengths) != 1:
        parser.error('needs two logs or more of one length, got lengths '
                     f'{sorted(len(log) for log in logs)}')
    print(table(logs, list(range(1, lengths.pop() + 1)) if args.all else None))
    if args.draw:
        draw(logs, args.draw)


if __name__ == '__main__':
    main()
