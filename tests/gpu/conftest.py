"""Programs that have run in the stand-in for CuPy, and what they have used."""
import json
import subprocess
import sys

import pytest

from tests.helpers import ROOT
from tests.helpers.gpu import STAND_IN, small_data

# The tests marked gpu that run in the stand-in: all but the one that starts
# the program itself, outside of it.
MARKED_TESTS = ['tests', '--ignore=tests/test_train_mnist.py']


def on_stand_in(report, *command, cwd=ROOT):
    """Runs a program in the stand-in; returns its process and its report."""
    process = subprocess.run(
        [sys.executable, str(STAND_IN), str(report),
         *map(str, command)], cwd=cwd, capture_output=True, text=True,
        timeout=300)
    assert process.returncode == 0, process.stdout + process.stderr
    return process, json.loads(report.read_text())


def train(cwd, *arguments):
    """Runs train_mnist.py as it is."""
    return subprocess.run(
        [sys.executable, str(ROOT / 'train_mnist.py'), *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, check=True, timeout=300)


def train_on_both(folder, *arguments):
    """Trains two epochs of 30 iterations with --gpu=0 and without."""
    data = small_data(folder / 'data')
    arguments = ['--data', data, '--unit', 8, '--batchsize', 10, '--epoch', 2,
                 '--noplot', *arguments]
    train(folder, *arguments, '--out', 'cpu')
    process, report = on_stand_in(
        folder / 'report', ROOT / 'train_mnist.py', *arguments, '--gpu', 0,
        '--out', 'gpu', cwd=folder)
    return process, report, folder


@pytest.fixture(scope='session')
def training(tmp_path_factory):
    """The training of an MLP on both."""
    return train_on_both(tmp_path_factory.mktemp('training'))


@pytest.fixture(scope='session')
def training_of_convolutions(tmp_path_factory):
    """The training of a convolutional net on both."""
    return train_on_both(
        tmp_path_factory.mktemp('convolutions'), '--channels', 2)


@pytest.fixture(scope='session')
def marked(tmp_path_factory):
    """The tests marked gpu, run in the stand-in."""
    return on_stand_in(
        tmp_path_factory.mktemp('marked') / 'report', '-m', 'pytest', '-m',
        'gpu', '-p', 'no:cacheprovider', *MARKED_TESTS)


@pytest.fixture(scope='session')
def used_kernels(training, training_of_convolutions, marked):
    """The kernels of all of these, as entries of the report."""
    return [entry for one in (training, training_of_convolutions, marked)
            for entry in one[1]['kernels']]
