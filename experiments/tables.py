"""The tables of results in the documents, made from the logs.

``TABLES`` holds them by name: functions that return Markdown.
"""
import statistics

from experiments.runs import (
    COLUMNS, LOGS, MEASURED, PAPER, best, deviations, error, read_log,
    read_original, read_runs, values)

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


def plus_minus(numbers, digits=4):
    """Returns the mean and the standard deviation of numbers, as text."""
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


def against_original(name):
    """Returns the table of an experiment's epochs beside the original's."""
    logs = read_runs(name)
    header = ['epoch']
    for column in COLUMNS:
        header += [column, 'original']
    rows = []
    for entry, row in zip(read_original(), deviations(name)):
        cells = [str(entry['epoch'])]
        for column, deviation in zip(COLUMNS, row):
            cells += [plus_minus(values(logs, entry['epoch'], column)),
                      f'{entry[column]:.4f} ({deviation:+.1f})']
        rows.append(cells)
    return markdown(header, rows) + '\n\n' + within(name)


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
    """Returns the table of errors and speed for each quantizer."""
    speed = read_log(MEASURED / 'quantizer_speed.json')
    speed['binary'] = speed['this project']
    rows = []
    for name, quantizer in BITS.items():
        logs = read_runs(name)[:3]
        rows.append([
            f'`{quantizer}`', str(len(logs)),
            plus_minus([error(log[-1]) for log in logs], 2) + ' %',
            plus_minus([100 * (1 - log[-1]['main/accuracy'])
                        for log in logs], 2) + ' %',
            f'{speed[quantizer]:.2f}'])
    return markdown(['weights and activations', 'seeds', 'test error',
                     'training error', 's/epoch'], rows)


def long_runs():
    """Returns the table of the paper's two experiments."""
    rows = []
    for name, (text, paper) in PAPER.items():
        log = read_log(LOGS / f'{name}.json')
        rows.append([
            text, str(len(log)), f'{log[-1]["elapsed_time"] / 60:.0f} min',
            f'{error(best(log), "test"):.2f} % ({best(log)["epoch"]})',
            f'{error(log[-1], "test"):.2f} %', f'{paper:.2f} %'])
    return markdown(
        ['', 'epochs', 'time', 'test error at the best validation epoch',
         'at the last', 'paper'], rows)


def search():
    """Returns the table of other runs of the paper's experiment."""
    rows = []
    for name, flags in SEARCH.items():
        log = read_log(LOGS / 'search' / f'{name}.json')
        rows.append([f'`{flags}`', str(len(log)),
                     f'{error(best(log)):.2f} %',
                     f'{error(best(log), "test"):.2f} %',
                     f'{error(log[-1], "test"):.2f} %'])
    return markdown(
        ['`--recipe paper` and', 'epochs', 'best validation error',
         'test error there', 'at the last'], rows)


def variants():
    """Returns the first epochs of the recipe original and its variants."""
    rows = []
    for name, text in VARIANTS.items():
        logs = read_runs('original' if name == 'none' else f'variants/{name}')
        row = [text, str(len(logs))]
        for column in 'main/loss', 'main/accuracy':
            row += [f'{statistics.mean(values(logs, e, column)):.4f}'
                    for e in (1, 2, 3, 4)]
        rows.append(row)
    original = read_original()
    rows.append(["the original's table", ''] + [
        f'{original[e][column]:.4f}'
        for column in ('main/loss', 'main/accuracy') for e in range(4)])
    return markdown(
        ['', 'seeds', *(f'{name} {e}' for name in ('loss', 'accuracy')
                        for e in (1, 2, 3, 4))], rows)


def pythons():
    """Returns the table of the Pythons that nox has run the tests on."""
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

    def long_run(name):
        log = read_log(LOGS / f'{name}.json')
        return ['1', str(len(log)), f'{error(best(log), "test"):.2f} %',
                f'{PAPER[name][1]:.2f} %, the paper']

    original = error(read_original()[-1])
    return markdown(
        ['', 'runs', 'epochs', 'test error', 'published'],
        [['`--recipe binarized`, the default', *last('binarized'), ''],
         ['`--recipe original`', *last('original'),
          f"{original:.2f} %, the original's README"],
         ['weights and activations `linear:4`', *last('linear4'), ''],
         ['`--recipe paper`, changed', *long_run('paper')],
         ['`--recipe paper-shift`, changed', *long_run('paper_shift')],
         ['Fashion-MNIST, the default', *last('fashion_mnist'), '']])


def speeds():
    """Returns the README's table: times to train and to predict."""
    training = read_log(MEASURED / 'train_speed.json')
    rows = [[text, *(f'{training[name]:.2f} s' if name else ''
                     for name in names)]
            for text, *names in (
                ('training, an epoch, 2 x 1000 units', 'this project',
                 'PyTorch, compiled, fused Adam', None, None),
                ('the same, not compiled', 'this project without Numba',
                 'PyTorch, eager', 'Chainer, written straightforwardly',
                 None))]
    for net, times in read_log(MEASURED / 'inference_speed.json').items():
        for key, text, factor, unit in (
                ('all', 'predicting 10,000 images', 1e3, 'ms'),
                ('one', 'predicting one image', 1e6, 'us')):
            rows.append([f'{text}, {net} units', *(
                f'{factor * times[name][key]:,.1f} {unit}' for name in (
                    'packed', 'PyTorch float32', 'Chainer float32',
                    'NumPy float32'))])
    return markdown(['', 'this project', 'PyTorch', 'Chainer', 'NumPy'], rows)


def exports():
    """Returns the table of the formats of --export."""
    rows = []
    for net, formats in read_log(MEASURED / 'export_speed.json').items():
        for ending, of in formats.items():
            n_logits = of['n'] * int(net.split('-')[-1])
            rows.append([
                net, f'`{ending}`', f'{of["classes"]} of {of["n"]:,}',
                'has none' if of['logits'] is None
                else f'{of["logits"]} of {n_logits:,}',
                f'{of["size"]:,}',
                '' if of['seconds'] is None
                else f'{1e6 * of["seconds"]:.0f} us'])
    return markdown(['net', 'format', 'classes that differ',
                     'logits that differ in a bit', 'bytes', 'one image'],
                    rows)


TABLES = {
    'results': results,
    'speeds': speeds,
    'binarized': lambda: last_epoch('binarized'),
    'original': lambda: against_original('original'),
    'binarized and the original': lambda: against_original('binarized'),
    'variants': variants,
    'bits': bits,
    'paper': long_runs,
    'pythons': pythons,
    'search': search,
    'fashion_mnist': lambda: last_epoch('fashion_mnist'),
    'exports': exports,
}
