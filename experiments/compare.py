#!/usr/bin/env python
"""Draws runs over each other: test error, loss, flips and blocked gradients.

LOG is a run's folder, its log, or a log of experiments/logs/. Runs that differ
by their seed alone, as NAME_seed_0.json and NAME_seed_1.json, are one curve,
their mean, with a band of a standard deviation on either side.
"""
import json
import os
import pathlib
import re
import statistics
import sys

if __name__ == '__main__':
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from system import files
from system.command_line import ArgumentParser, check_matplotlib, running
from system.errors import InputError

_NET = 'main/predictor/'
_SEED = re.compile(r'[_-]?seed[_-]?[0-9]+')


def error(entry):
    """Returns the test error of an entry in percent."""
    accuracy = entry.get('test/main/accuracy',
                         entry.get('validation/main/accuracy'))
    return None if accuracy is None else 100 * (1 - accuracy)


def mean_over_layers(name):
    """Returns a function: the mean of a report of each layer, or None."""
    def of(entry):
        layers = [value for key, value in entry.items()
                  if re.fullmatch(rf'{_NET}{name}[0-9]+', key)]
        return statistics.mean(layers) if layers else None
    return of


# What is drawn, each in one panel: functions of a log's entry.
PANELS = {
    'test error in %': error,
    'training loss': lambda entry: entry.get('main/loss'),
    'share of weights that changed sign': mean_over_layers('sign_changes'),
    'share of blocked gradients': mean_over_layers('blocked'),
}


def read(path):
    """Returns the log in a file or a run's folder.

    Args:
        path (str): The file, or the folder.

    Returns:
        list of dict: Entries, one an epoch.

    Raises:
        InputError: If it cannot be read or is no log.

    """
    file = pathlib.Path(path)
    file = file / 'log' if file.is_dir() else file
    try:
        content = json.loads(files.read_regular(str(file)))
    except (RecursionError, ValueError) as e:
        if isinstance(e, InputError):
            raise
        raise InputError(f'{file} is no log: {e}') from e
    log = content.get('log') if isinstance(content, dict) else content
    if not (isinstance(log, list) and log and all(
            isinstance(entry, dict) and 'epoch' in entry and all(
                isinstance(value, (int, float)) for value in entry.values())
            for entry in log)):
        raise InputError(f'{file} is no log of a run')
    return log


def group(paths):
    """Returns the paths of runs that differ by their seed alone, by name.

    Args:
        paths (list of str): Files and folders of runs.

    Returns:
        dict: Lists of paths by names: the path without ``log``, ``.json``, the
        seed, and the folder that all names have in common.

    """
    groups = {}
    for path in paths:
        folder, name = os.path.split(path.rstrip('/'))
        if name == 'log' and folder:
            folder, name = os.path.split(folder)
        name = name[:-5] if name.endswith('.json') else name
        name = os.path.join(folder, _SEED.sub('', name) or name)
        groups.setdefault(os.path.normpath(name), []).append(path)
    folders = {os.path.dirname(os.path.abspath(name)) for name in groups}
    common = os.path.commonpath(folders)
    return {os.path.relpath(os.path.abspath(name), common): paths
            for name, paths in groups.items()}


def curve(logs, value):
    """Returns the means and standard deviations of a value by epoch.

    Args:
        logs (list): Logs of runs.
        value (callable): Takes an entry, returns a number or ``None``.

    Returns:
        list of tuple: Epoch, mean and standard deviation (0 of a single run),
        for the epochs that all runs have.

    """
    runs = [{entry['epoch']: value(entry) for entry in log} for log in logs]
    rows = []
    for epoch in runs[0]:
        values = [run.get(epoch) for run in runs]
        if None not in values:
            rows.append((epoch, statistics.mean(values),
                         statistics.stdev(values) if values[1:] else 0.))
    return rows


def draw(groups):
    """Returns the picture.

    Args:
        groups (dict): Lists of logs by the names of their curves.

    Returns:
        matplotlib.figure.Figure: The picture.

    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(13, 7), dpi=120, layout='constrained')
    rows = figure.subplots(2, 3, gridspec_kw={'width_ratios': (3, 3, 1)})
    for axes, (title, value) in zip(rows[:, :2].flat, PANELS.items()):
        for k, (name, logs) in enumerate(groups.items()):
            points = curve(logs, value)
            if not points:
                continue
            epochs, means, deviations = zip(*points)
            runs = f', {len(logs)} runs' if logs[1:] else ''
            # Ten colours, then the same with other lines.
            style = {'color': f'C{k % 10}', 'linestyle': '-:'[k // 10 % 2]}
            axes.plot(epochs, means, label=name + runs, **style)
            axes.fill_between(
                epochs, [m - d for m, d in zip(means, deviations)],
                [m + d for m, d in zip(means, deviations)],
                color=style['color'], alpha=.2, linewidth=0)
        axes.set_xlabel('epoch')
        axes.set_ylabel(title)
        axes.xaxis.set_major_locator(
            MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=.3)
    # All names, beside the panels.
    for axes in rows[:, 2]:
        axes.axis('off')
    handles, names = max(
        (axes.get_legend_handles_labels() for axes in figure.axes),
        key=lambda pair: len(pair[1]))
    if names:
        rows[0, 2].legend(handles, names, loc='upper left', fontsize=8)
    return figure


def parse_args(argv=None):
    parser = ArgumentParser('experiments/compare.py', description=__doc__)
    parser.add_argument('logs', nargs='+', metavar='LOG',
                        help='folder of a run, or a log')
    parser.add_argument('--out', '-o', default='compare.png', metavar='FILE',
                        help='the picture, a PNG')
    return parser, parser.parse_args(argv)


def main(argv=None):
    parser, args = parse_args(argv)
    with running(parser):
        check_matplotlib('compare.py')
        groups = {name: list(map(read, paths))
                  for name, paths in group(args.logs).items()}
        figure = draw(groups)
        files.write(args.out, lambda f: figure.savefig(f, format='png'))
        for name, logs in groups.items():
            last = curve(logs, error)
            text = 'no test error'
            if last:
                text = '{1:.2f} ± {2:.2f} % at epoch {0}'.format(*last[-1])
            runs = f'{len(logs)} runs' if logs[1:] else '1 run'
            print(f'{name}: {runs}, {text}')


if __name__ == '__main__':
    main()
