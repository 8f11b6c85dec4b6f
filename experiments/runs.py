"""The logs of training runs that lie in logs/, and statistics of them.

A log is what train_mnist.py wrote in one run: a list of one dictionary per
epoch. In the files that run.py has written it stands beside the command and
what it was made with. original_readme.json is the table in the original
repository's README, binary_net_readme.json that in its ancestor's.
"""
import json
import pathlib
import statistics

from experiments.plan import EXPERIMENTS

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOGS = ROOT / 'experiments' / 'logs'
MEASURED = ROOT / 'benchmarks' / 'measured'
COLUMNS = ['main/loss', 'validation/main/loss', 'main/accuracy',
           'validation/main/accuracy']

# The paper's experiments by the logs of their runs, and its test error in
# percent.
PAPER = {'paper': ('Theano experiment', .96),
         'paper_shift': ('Torch7 experiment, shift-based', 1.40)}


def log_path(name, seed=0):
    """Returns the path of the log of an experiment's run."""
    alone = EXPERIMENTS[name].seeds == 1
    return LOGS / (f'{name}.json' if alone else f'{name}_seed_{seed}.json')


def read_json(path):
    """Returns the content of a JSON file."""
    with open(path, encoding='utf-8') as f:
        return json.load(f)


def read_log(path):
    """Returns the log in a file."""
    content = read_json(path)
    return content['log'] if isinstance(content, dict) else content


def read_runs(name):
    """Returns the logs of all seeds of an experiment."""
    paths = [log_path(name, seed) for seed in range(EXPERIMENTS[name].seeds)]
    return [read_log(path) for path in paths if path.exists()]


def read_original():
    """Returns the table of the original's README, as a log."""
    return read_log(LOGS / 'original_readme.json')


def values(logs, epoch, column):
    """Returns a column's value at an epoch of each log."""
    return [log[epoch - 1][column] for log in logs]


def error(entry, name='validation'):
    """Returns the error rate, in percent, in a log's entry of one epoch."""
    return 100 * (1 - entry[f'{name}/main/accuracy'])


def best(log):
    """Returns the entry of the epoch with the best validation accuracy."""
    return max(log, key=lambda entry: entry['validation/main/accuracy'])


def deviations(name):
    """Returns how far the original's table is from an experiment.

    Returns:
        list: For each epoch and column, the original's value less the mean
        over the seeds, in standard deviations.

    """
    logs = read_runs(name)
    rows = []
    for entry in read_original():
        row = []
        for column in COLUMNS:
            v = values(logs, entry['epoch'], column)
            row.append((entry[column] - statistics.mean(v))
                       / statistics.stdev(v))
        rows.append(row)
    return rows
