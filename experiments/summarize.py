#!/usr/bin/env python
"""Makes the tables of results and their pictures from the logs in logs/.

Each log is what train_mnist.py wrote, one file a run; original_readme.json is
the table in the original repository's README.
"""
import argparse
import json
import pathlib
import re
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOGS = ROOT / 'experiments' / 'logs'
MEASURED = ROOT / 'benchmarks' / 'measured'
PICTURES = ROOT / 'docs' / 'pictures'
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
COLUMNS = ['main/loss', 'validation/main/loss', 'main/accuracy',
           'validation/main/accuracy']

# Name of the quantizers on the command line by that of the files.
BITS = {'binarized': 'binary', 'linear2': 'linear:2', 'linear4': 'linear:4',
        'log2': 'log:2', 'log4': 'log:4', 'none': 'none'}

# Flags of other runs of the recipe paper by their files.
SEARCH = {
    'dropout_2_4': '-u 1024 -e 30 --input-dropout .2 --dropout .4',
    'dropout_2_2': '-u 1024 -e 30 --input-dropout .2 --dropout .2',
    'dropout_2_0': '-u 1024 -e 30 --input-dropout .2 --dropout 0',
    'dropout_1_1': '-u 1024 -e 30 --input-dropout .1 --dropout .1',
    'batch_200': '-u 1024 -e 30 --input-dropout .1 --dropout .1 -b 200',
    'two_layers': '--layers 2 -u 1448 -e 30 --input-dropout .1 --dropout .1',
    'long_dropout_15_3': '-e 92 --alpha .001 --final-alpha 4e-6 '
    '--input-dropout .15 --dropout .3',
    # Stopped before its last epoch.
    'long_dropout_2_4': '-e 140 --alpha .0003 --final-alpha 3e-6 '
    '--input-dropout .2 --dropout .4',
}

# What variants.py changes in the recipe original.
VARIANTS = {
    'none': 'the recipe',
    'rounded-input': 'pixels rounded to powers of two',
    'rounded-gradient': 'gradients rounded to powers of two',
    'no-mask': 'no mask in the straight-through estimator',
    'clip-before': 'clip before the update',
}


def read_log(path):
    """Returns a log, a list of one dictionary per epoch."""
    with open(path) as f:
        return json.load(f)


def read_runs(name):
    """Returns the logs of all seeds of an experiment."""
    return [read_log(path)
            for path in sorted(LOGS.glob(f'{name}_seed_*.json'))]


def values(logs, epoch, column):
    """Returns one value per run."""
    return [log[epoch - 1][column] for log in logs]


def error(entry, name='validation'):
    """Returns an error rate in percent."""
    return 100 * (1 - entry[f'{name}/main/accuracy'])


def plus_minus(numbers, digits=4):
    """Returns mean and standard deviation as text."""
    return (f'{statistics.mean(numbers):.{digits}f} ± '
            f'{statistics.stdev(numbers):.{digits}f}')


def markdown(header, rows):
    """Returns a table in Markdown."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def last_epoch(name):
    """Returns the table of an experiment's last epoch."""
    logs = read_runs(name)
    epoch = len(logs[0])
    return markdown(
        ['epoch', *COLUMNS],
        [[str(epoch), *(plus_minus(values(logs, epoch, column))
                        for column in COLUMNS)]])


def deviations(name):
    """Returns how far the original's table is from an experiment.

    Returns:
        list: For each epoch and column (mean - original) / standard deviation
        is what it would be of a run like these.

    """
    logs = read_runs(name)
    original = read_log(LOGS / 'original_readme.json')
    rows = []
    for entry in original:
        row = []
        for column in COLUMNS:
            v = values(logs, entry['epoch'], column)
            row.append((entry[column] - statistics.mean(v))
                       / statistics.stdev(v))
        rows.append(row)
    return rows


def against_original(name):
    """Returns the table of all epochs beside the original's."""
    logs = read_runs(name)
    original = read_log(LOGS / 'original_readme.json')
    header = ['epoch']
    for column in COLUMNS:
        header += [column, 'original']
    rows = []
    for entry, row in zip(original, deviations(name)):
        cells = [str(entry['epoch'])]
        for column, deviation in zip(COLUMNS, row):
            cells += [plus_minus(values(logs, entry['epoch'], column)),
                      f'{entry[column]:.4f} ({deviation:+.1f})']
        rows.append(cells)
    return markdown(header, rows)


def within(name):
    """Returns a sentence: how many of the original's values are how near."""
    parts = []
    rows = deviations(name)
    for column, of_column in zip(COLUMNS, zip(*rows)):
        near = sum(abs(deviation) <= 2 for deviation in of_column)
        parts.append(f'{column} {near}')
    return (f'Within two standard deviations, of {len(rows)} epochs: '
            + ', '.join(parts) + '.')


def bits():
    """Returns the table of test errors for each pair of quantizers."""
    path = MEASURED / 'quantizer_speed.json'
    speed = read_log(path) if path.exists() else {}
    speed['binary'] = speed.get('this project')
    rows = []
    for name, quantizer in BITS.items():
        logs = read_runs(name)[:3]
        if not logs:
            continue
        seconds = speed.get(quantizer)
        rows.append([
            f'`{quantizer}`', str(len(logs)),
            plus_minus([error(log[-1]) for log in logs], 2) + ' %',
            plus_minus([100 * (1 - log[-1]['main/accuracy'])
                        for log in logs], 2) + ' %',
            f'{seconds:.2f}' if seconds else ''])
    return markdown(['weights and activations', 'seeds', 'test error',
                     'training error', 's/epoch'], rows)


def long_runs():
    """Returns the table of the paper's two experiments."""
    rows = []
    for name, text, paper in (
            ('paper', 'Theano experiment', .96),
            ('paper_shift', 'Torch7 experiment, shift-based', 1.40)):
        path = LOGS / f'{name}.json'
        if not path.exists():
            continue
        log = read_log(path)
        best = max(log, key=lambda e: e['validation/main/accuracy'])
        rows.append([
            text, str(len(log)), f'{log[-1]["elapsed_time"] / 60:.0f} min',
            f'{error(best, "test"):.2f} % ({best["epoch"]})',
            f'{error(log[-1], "test"):.2f} %', f'{paper:.2f} %'])
    return markdown(
        ['', 'epochs', 'time', 'test error at the best validation epoch',
         'at the last', 'paper'], rows)


def search():
    """Returns the table of other runs of the paper's experiment."""
    rows = []
    for name, flags in SEARCH.items():
        log = read_log(LOGS / 'search' / f'{name}.json')
        best = max(log, key=lambda e: e['validation/main/accuracy'])
        rows.append([f'`{flags}`', str(len(log)),
                     f'{error(best):.2f} %', f'{error(best, "test"):.2f} %',
                     f'{error(log[-1], "test"):.2f} %'])
    return markdown(
        ['`--recipe paper` and', 'epochs', 'best validation error',
         'test error there', 'at the last'], rows)


def variants():
    """Returns how far variants of the recipe original are from its table."""
    original = read_log(LOGS / 'original_readme.json')
    base = read_runs('original')
    rows = []
    for name, text in VARIANTS.items():
        logs = [read_log(path) for path in sorted(
            (LOGS / 'variants').glob(f'{name}_seed_*.json'))] or base
        row = [text, str(len(logs))]
        for column in 'main/loss', 'main/accuracy':
            row += [f'{statistics.mean(values(logs, e, column)):.4f}'
                    for e in (1, 2, 3, 4)]
        rows.append(row)
    rows.append(["the original's table", ''] + [
        f'{original[e][column]:.4f}'
        for column in ('main/loss', 'main/accuracy') for e in range(4)])
    return markdown(
        ['', 'seeds', *(f'{name} {e}' for name in ('loss', 'accuracy')
                        for e in (1, 2, 3, 4))], rows)


def pythons():
    """Returns the table of what nox has run."""
    return markdown(
        ['Python', 'NumPy', 'Numba', 'passed', 'failed', 'skipped', 'commit'],
        [[entry['python'], entry['numpy'], entry['numba'] or 'none',
          *(str(entry[name]) for name in ('passed', 'failed', 'skipped')),
          entry['commit']]
         for entry in read_log(LOGS / 'nox.json')])


def results():
    """Returns the README's table: test errors of six experiments."""
    def last(name):
        logs = read_runs(name)
        return [str(len(logs)), str(len(logs[0])),
                plus_minus([error(log[-1]) for log in logs], 2) + ' %']

    def best(name):
        log = read_log(LOGS / f'{name}.json')
        entry = max(log, key=lambda e: e['validation/main/accuracy'])
        return ['1', str(len(log)), f'{error(entry, "test"):.2f} %']

    original = error(read_log(LOGS / 'original_readme.json')[-1])
    return markdown(
        ['', 'runs', 'epochs', 'test error', 'published'],
        [['`--recipe binarized`, the default', *last('binarized'), ''],
         ['`--recipe original`', *last('original'),
          f"{original:.2f} %, the original's README"],
         ['weights and activations `linear:4`', *last('linear4'), ''],
         ['`--recipe paper`, changed', *best('paper'), '0.96 %, the paper'],
         ['`--recipe paper-shift`, changed', *best('paper_shift'),
          '1.40 %, the paper'],
         ['Fashion-MNIST, the default', *last('fashion_mnist'), '']])


def speeds():
    """Returns the README's table: times to train and to predict."""
    training = read_log(MEASURED / 'train_speed.json')
    inference = read_log(MEASURED / 'inference_speed.json')
    rows = [
        [text, *(f'{training[name]:.2f} s' for name in (
            *names, 'Chainer, written straightforwardly')), '']
        for text, *names in (
            ('training, an epoch, 2 x 1000 units', 'this project',
             'PyTorch, compiled, fused Adam'),
            ('the same, not compiled', 'this project without Numba',
             'PyTorch, eager'))]
    for net, times in inference.items():
        for key, text, factor, unit in (
                ('all', 'predicting 10,000 images', 1e3, 'ms'),
                ('one', 'predicting one image', 1e6, 'us')):
            rows.append([f'{text}, {net} units', *(
                f'{factor * times[name][key]:,.1f} {unit}' for name in (
                    'packed', 'PyTorch float32', 'Chainer float32',
                    'NumPy float32'))])
    return markdown(['', 'this project', 'PyTorch', 'Chainer', 'NumPy'], rows)


TABLES = {
    'results': results,
    'speeds': speeds,
    'binarized': lambda: last_epoch('binarized'),
    'original': lambda: against_original('original') + '\n\n'
    + within('original'),
    'binarized and the original': lambda: against_original('binarized')
    + '\n\n' + within('binarized'),
    'variants': variants,
    'bits': bits,
    'paper': long_runs,
    'pythons': pythons,
    'search': search,
    'fashion_mnist': lambda: last_epoch('fashion_mnist'),
}


def draw(name, path, original=None):
    """Draws loss and accuracy over the epochs: each run, and their mean."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    logs = read_runs(name)
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
            if original:
                axes.plot(epochs, [e[column] for e in original], 'o',
                          color=color, markeredgecolor='black', markersize=4,
                          label=f"{label}, the original's README")
        axes.set_xlabel('epoch')
        axes.set_ylabel(value)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=.3)
        axes.legend()
    figure.suptitle(f'{name}: {len(logs)} runs, one seed each')
    figure.savefig(path)


def draw_long_runs(path):
    """Draws the errors of the paper's two experiments over the epochs."""
    from matplotlib.figure import Figure

    runs = [(name, paper)
            for name, paper in (('paper', .96), ('paper_shift', 1.40))
            if (LOGS / f'{name}.json').exists()]
    figure = Figure(figsize=(5 * len(runs), 4), dpi=120, layout='constrained')
    for axes, (name, paper) in zip(
            figure.subplots(1, len(runs), squeeze=False)[0], runs):
        log = read_log(LOGS / f'{name}.json')
        epochs = [e['epoch'] for e in log]
        for label in 'validation', 'test':
            axes.plot(epochs, [error(e, label) for e in log], label=label)
        axes.axhline(paper, color='black', linestyle=':',
                     label=f"the paper's test error, {paper:.2f} %")
        axes.set_ylim(.8, 4)
        axes.set_xlabel('epoch')
        axes.set_ylabel('error in %')
        axes.set_title(name)
        axes.grid(alpha=.3)
        axes.legend()
    figure.savefig(path)


def draw_overview():
    """Draws the pictures that the README opens with."""
    import numpy

    import overview

    sys.path.append(str(ROOT))
    from prediction.packed_net import PackedMLP

    seconds = read_log(MEASURED / 'train_speed.json')
    inference = read_log(MEASURED / 'inference_speed.json')['2 x 1000']
    sizes = [784, 1000, 1000, 10]
    net = PackedMLP.from_arrays({
        f'l{i}/W': numpy.ones((n_out, n_in), numpy.float32)
        for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:]), 1)})
    for theme in 'light', 'dark':
        overview.draw(
            PICTURES / f'overview_{theme}.png', theme, read_runs('original'),
            read_log(LOGS / 'original_readme.json'),
            {name: seconds[name] for name in (
                'this project', 'PyTorch, compiled, fused Adam',
                'PyTorch, eager', 'Chainer, written straightforwardly')},
            {name.replace('packed', 'this project, packed'): 10 / times['all']
             for name, times in inference.items()},
            {'this project, packed': net.nbytes / 1000,
             'float32': net.float32_nbytes / 1000})


def with_tables(text):
    """Returns a page's text with its tables made anew.

    A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``.
    """
    def replace(match):
        return f'{match[1]}\n\n{TABLES[match[2]]()}\n\n{match[3]}'

    return re.sub(r'(<!-- table: (.*?) -->).*?(<!-- end -->)', replace, text,
                  flags=re.DOTALL)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--update', action='store_true',
                        help='write the tables to README.md and docs/ and '
                             'draw the pictures, rather than print the tables')
    args = parser.parse_args()
    if not args.update:
        for name, table in TABLES.items():
            print(f'{name}\n\n{table()}\n')
        return
    for page in PAGES:
        page.write_text(with_tables(page.read_text(encoding='utf-8')),
                        encoding='utf-8')
    original = read_log(LOGS / 'original_readme.json')
    draw('binarized', PICTURES / 'binarized.png')
    draw('original', PICTURES / 'original.png', original)
    draw_long_runs(PICTURES / 'paper.png')
    if all((MEASURED / f'{name}_speed.json').exists()
           for name in ('train', 'inference')):
        draw_overview()


if __name__ == '__main__':
    main()
