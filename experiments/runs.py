"""The logs of training runs that lie in logs/, and statistics of them.

A log is what train_mnist.py wrote in one run: a list of one dictionary per
epoch. In the files that run.py has written it stands beside the command and
what it was made with. original_readme.json is the table in the original
repository's README, binary_net_readme.json that in its ancestor's.
"""
import json
import pathlib
import statistics

from experiments import student
from experiments.plan import EXPERIMENTS

ROOT = pathlib.Path(__file__).resolve().parents[1]
LOGS = ROOT / 'experiments' / 'logs'
# A folder for each processor; the pictures are of one.
PROCESSORS = ROOT / 'benchmarks' / 'measured'
MEASURED = PROCESSORS / 'amd-epyc'
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


def read_published(name):
    """Returns a published table as a log: ``original`` or ``binary_net``."""
    return read_log(LOGS / f'{name}_readme.json')


def values(logs, epoch, column):
    """Returns a column's value at an epoch of each log."""
    return [log[epoch - 1][column] for log in logs]


def error(entry, name='validation'):
    """Returns the error rate, in percent, in a log's entry of one epoch."""
    return 100 * (1 - entry[f'{name}/main/accuracy'])


def best(log):
    """Returns the entry of the epoch with the best validation accuracy."""
    return max(log, key=lambda entry: entry['validation/main/accuracy'])


def deviations(logs, published):
    """Returns how far a published run is from an experiment, by epochs.

    Args:
        logs (list): Logs of the experiment.
        published (list): The log of one run more.

    Returns:
        list: For each epoch and column, the t of the published value; see
        :func:`experiments.student.of_one_more`.

    """
    return [[student.of_one_more(
                entry[column], values(logs, entry['epoch'], column))
             for column in COLUMNS] for entry in published]


def p_value(logs, published, column):
    """Returns the probability of a run as far off as a published one.

    Each run gives one number, the mean over its epochs of the value in
    standard deviations of the experiment at that epoch. So the epochs need
    not be independent. The number of the published run is compared with
    those of the experiment.

    Args:
        logs, published: See :func:`deviations`.
        column (str): One of ``COLUMNS``.

    """
    scales = [statistics.stdev(values(logs, entry['epoch'], column))
              for entry in published]

    def number(log):
        return statistics.mean(
            entry[column] / scale for entry, scale in zip(log, scales))

    t = student.of_one_more(number(published), list(map(number, logs)))
    return student.probability_outside(t, len(logs) - 1)
