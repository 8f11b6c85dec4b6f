"""The tables of results in the documents, made from the logs.

``TABLES`` holds them by name: functions that return Markdown.
"""
import statistics

from experiments import search_tables, speed_tables, student
from experiments.markdown import markdown
from experiments.plan import OPTIMIZERS, estimator_log
from experiments.runs import (
    COLUMNS, LOGS, MEASURED, PAPER, best, deviations, error, p_value,
    read_json, read_log, read_published, read_runs, values)
from quantizers import ESTIMATORS

# Quantizers of weights and activations by the files' names.
BITS = {'binarized': ('binary', 'binary'),
        'binary_linear2': ('binary', 'linear:2'),
        'log2': ('ternary', 'ternary'), 'linear2': ('linear:2', 'linear:2'),
        'linear4': ('linear:4', 'linear:4'), 'log4': ('log:4', 'log:4'),
        'none': ('none', 'none')}

# The net that estimators are compared with, seeds of a comparison, optimizers.
SIZES = [784, 1000, 1000, 10]
ESTIMATOR_SEEDS = 5
OPTIMIZER_NAMES = {'adam': 'Adam', 'shift': 'shift-based AdaMax',
                   'bop': 'Bop'}

# What is done in another way, by the variants of the recipe original.
VARIANTS = {
    'recipe': 'the recipe',
    'plain-gradient': 'gradients not rounded',
    'no-relu': 'no relu',
    'running-averages': 'evaluated with running averages',
    'rounded-inputs': "x rounded in gW's product",
    'small-gradients': 'gradients of 1/64',
    'clip-after': 'clip after the update',
    'rounded-activations': 'gradients rounded behind activations, too',
}

# Statistics that Fashion-MNIST's test images are evaluated with.
FASHION = {
    'fashion_mnist': 'running averages, decay .9, the default',
    'fashion_mnist_decay': 'running averages, decay .99',
    'fashion_mnist_population': 'averages taken anew after each epoch',
    'fashion_mnist_batch': "each batch's own",
}


def plus_minus(numbers, digits=4):
    """Returns the mean and the standard deviation of numbers, as text."""
    return (f'{statistics.mean(numbers):.{digits}f} ± '
            f'{statistics.stdev(numbers):.{digits}f}')


def last_epoch(name):
    """Returns the table of an experiment's last epoch."""
    logs = read_runs(name)
    epoch = len(logs[0])
    return markdown(
        ['epoch', *COLUMNS],
        [[str(epoch), *(plus_minus(values(logs, epoch, column))
                        for column in COLUMNS)]])


def against(name, published_name):
    """Returns the table of an experiment's epochs beside a published one."""
    logs, published = read_runs(name), read_published(published_name)
    limit = student.limit(.05, len(logs) - 1)
    header = ['epoch']
    for column in COLUMNS:
        header += [column, 'published']
    rows = []
    for entry, row in zip(published, deviations(logs, published)):
        cells = [str(entry['epoch'])]
        for column, t in zip(COLUMNS, row):
            mark = '**' if abs(t) > limit else ''
            cells += [plus_minus(values(logs, entry['epoch'], column)),
                      f'{mark}{entry[column]:.4f} ({t:+.1f}){mark}']
        rows.append(cells)
    return markdown(header, rows) + '\n\n' + within(logs, published)


def within(logs, published):
    """Returns sentences: how far a published run is from an experiment."""
    n, epochs = len(logs), len(published)
    limit = student.limit(.05, n - 1)
    counts, p_values = [], []
    for column, of_column in zip(COLUMNS, zip(*deviations(logs, published))):
        counts.append(f'{column} {sum(abs(t) <= limit for t in of_column)}')
        p_values.append(f'{column} {p_value(logs, published, column):.2g}')
    return (
        f'Inside the 95 % prediction interval of one run more '
        f'(\\|t\\| <= {limit:.2f}, {n - 1} degrees of freedom), of {epochs} '
        f'epochs: {", ".join(counts)}. By chance one of {epochs} is outside. '
        f'p-values over all epochs: {", ".join(p_values)}.')


def bits():
    """Returns the table of errors and speed for each quantizer."""
    speed = read_json(MEASURED / 'quantizer_speed.json')
    speed['binary'] = speed['this project']
    speed['ternary'] = speed['log:2']
    rows = []
    for name, (weights, activations) in BITS.items():
        logs = read_runs(name)
        if len(logs) < 2:
            continue
        rows.append([
            f'`{weights}`', f'`{activations}`', str(len(logs)),
            plus_minus([error(log[-1]) for log in logs], 2) + ' %',
            plus_minus([100 * (1 - log[-1]['main/accuracy'])
                        for log in logs], 2) + ' %',
            f'{speed[weights]:.2f}' if weights == activations else ''])
    return markdown(['weights', 'activations', 'runs', 'test error',
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


def variants():
    """Returns the first epochs of the recipe original and its variants."""
    recipe, rows = read_runs('original'), []
    for name, text in VARIANTS.items():
        logs = recipe if name == 'recipe' else read_runs(f'variants/{name}')
        if len(logs) < 2:
            continue
        row = [text, str(len(logs))]
        for column in 'main/loss', 'main/accuracy', 'validation/main/accuracy':
            means = [statistics.mean(values(logs, e, column))
                     for e in range(1, 5)]
            row.append(' '.join(f'{mean:.4f}' for mean in means))
            p = _p_of_difference(logs, recipe, column)
            # A difference of two numbers next to 1 has no more digits.
            row.append('' if logs is recipe else '< 1e-9' if p < 1e-9
                       else f'{p:.2g}')
        rows.append(row)
    original = read_published('original')
    rows.append(["the original's table", '1'])
    for column in 'main/loss', 'main/accuracy', 'validation/main/accuracy':
        rows[-1] += [' '.join(f'{original[e][column]:.4f}'
                              for e in range(4)), '']
    return markdown(
        ['', 'runs', 'main/loss of 4 epochs', 'p', 'main/accuracy', 'p',
         'validation/main/accuracy', 'p'], rows)


def _p_of_difference(logs, others, column):
    """Returns the p-value of the difference in the mean of 4 epochs."""
    numbers = [[statistics.mean(entry[column] for entry in log[:4])
                for log in runs] for runs in (logs, others)]
    return student.probability_outside(*student.of_two_samples(*numbers))


def fashion():
    """Returns the table of Fashion-MNIST: accuracies and their jumps."""
    rows = []
    for name, text in FASHION.items():
        logs = read_runs(name)
        if len(logs) < 2:
            continue
        accuracies = [[100 * entry['validation/main/accuracy']
                       for entry in log] for log in logs]
        jumps = [statistics.mean(abs(b - a) for a, b in zip(of[9:], of[10:]))
                 for of in accuracies]
        rows.append([
            text, str(len(logs)),
            plus_minus([of[-1] for of in accuracies], 2) + ' %',
            plus_minus([max(of) for of in accuracies], 2) + ' %',
            plus_minus(jumps, 2) + ' %'])
    return markdown(
        ['evaluated with', 'runs', 'test accuracy at the last epoch',
         'at the best', 'mean jump from an epoch to the next, from the 10th'],
        rows)


def convolutions():
    """Returns the table of the recipe conv beside the default.

    Differences have the 95 % interval of two samples of one variance.
    """
    rows = []
    for images, name, mlp in (('MNIST', 'conv', 'binarized'),
                              ('Fashion-MNIST', 'conv_fashion',
                               'fashion_mnist')):
        logs = read_runs(name)
        if len(logs) < 2:
            continue
        errors, others = ([error(log[-1]) for log in runs]
                          for runs in (logs, read_runs(mlp)))
        middle, half = student.interval_of_two(errors, others)
        rows.append([
            images, str(len(logs)), str(len(logs[0])),
            plus_minus(errors, 2) + ' %', plus_minus(others, 2) + ' %',
            f'{middle:+.2f} ± {half:.2f} %',
            plus_minus([log[-1]['elapsed_time'] / 60 for log in logs], 1)
            + ' min'])
    return markdown(
        ['images', 'runs', 'epochs', 'test error', 'that of the default',
         'difference', 'time on one core'], rows)


def estimators():
    """Returns the table of estimators and optimizers, and its sentence.

    Test errors have 95 % intervals of their mean, differences from ``clip``
    under the same optimizer those of two samples of one variance.
    """
    rows, outside = [], []
    for fashion in False, True:
        for optimizer in OPTIMIZERS:
            clip = None
            for estimator in ESTIMATORS:
                logs = read_runs(estimator_log(optimizer, estimator, fashion))
                last = [log[-1] for log in logs[:ESTIMATOR_SEEDS]]
                errors = list(map(error, last))
                if estimator == 'clip':
                    clip, difference = errors, ''
                else:
                    middle, half = student.interval_of_two(errors, clip)
                    difference = f'{middle:+.2f} ± {half:.2f} %'
                    outside.append(abs(middle) > half)
                rows.append([
                    'Fashion-MNIST' if fashion else 'MNIST',
                    OPTIMIZER_NAMES[optimizer], f'`{estimator}`',
                    str(len(last)),
                    '{:.2f} ± {:.2f} %'.format(*student.interval(errors)),
                    difference,
                    f'{100 * statistics.mean(map(flips, last)):.2f} %',
                    f'{100 * statistics.mean(map(blocked, last)):.1f} %'])
    expected = .05 * len(outside)
    return markdown(
        ['images', 'optimizer', 'estimator', 'runs', 'test error',
         'less that of `clip`', 'flips in the last epoch',
         'blocked gradients'], rows) + (
        f'\n\nOf {len(outside)} differences from `clip`, {sum(outside)} have '
        f'a 95 % interval without 0; by chance {expected:.1f} would.')


def flips(entry):
    """Returns the share of all weights that changed sign in an epoch."""
    counts = [entry[f'main/predictor/sign_changes{k}'] * a * b
              for k, (a, b) in enumerate(zip(SIZES, SIZES[1:]), 1)]
    return sum(counts) / sum(a * b for a, b in zip(SIZES, SIZES[1:]))


def blocked(entry):
    """Returns the share of hidden activations with a blocked gradient."""
    return statistics.mean(entry[f'main/predictor/blocked{k}']
                           for k in range(1, len(SIZES) - 1))


def pythons():
    """Returns the table of the Pythons that nox has run the tests on."""
    return markdown(
        ['Python', 'NumPy', 'Numba', 'passed', 'failed', 'skipped', 'commit'],
        [[entry['python'], entry['numpy'], entry['numba'] or 'none',
          *(str(entry[name]) for name in ('passed', 'failed', 'skipped')),
          entry['commit']]
         for entry in read_json(LOGS / 'nox.json')])


def results():
    """Returns the README's table: test errors of eight experiments."""
    def last(name):
        logs = read_runs(name)
        return [str(len(logs)), str(len(logs[0])),
                plus_minus([error(log[-1]) for log in logs], 2) + ' %']

    def long_run(name):
        log = read_log(LOGS / f'{name}.json')
        return ['1', str(len(log)), f'{error(best(log), "test"):.2f} %',
                f'{PAPER[name][1]:.2f} %, the paper']

    original = error(read_published('original')[-1])
    return markdown(
        ['', 'runs', 'epochs', 'test error', 'published'],
        [['`--recipe binarized`, the default', *last('binarized'), ''],
         ['`--recipe original`', *last('original'),
          f"{original:.2f} %, the original's README"],
         ['weights and activations `linear:4`', *last('linear4'), ''],
         ['`--recipe paper`, changed', *long_run('paper')],
         ['`--recipe paper-shift`, changed', *long_run('paper_shift')],
         ['`--recipe conv`', *last('conv'), ''],
         ['Fashion-MNIST, the default', *last('fashion_mnist'), ''],
         ['Fashion-MNIST, `--recipe conv`', *last('conv_fashion'), '']])


TABLES = {
    'results': results,
    'speeds': speed_tables.speeds,
    'processors': speed_tables.processors,
    'binarized': lambda: last_epoch('binarized'),
    'original': lambda: against('original', 'original'),
    'binary-net': lambda: against('binary_net', 'binary_net'),
    'variants': variants,
    'bits': bits,
    'paper': long_runs,
    'durations': speed_tables.durations,
    'pythons': pythons,
    'search': search_tables.paper,
    'convolutions': convolutions,
    'conv_search': search_tables.convolutions,
    'fashion_mnist': fashion,
    'estimators': estimators,
    'exports': speed_tables.exports,
}
