"""What users have met by mistake: one clear line, and nothing is lost."""
import functools
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import chainer_compat
import chainer
import numpy
import pytest

import predict_mnist
import train_mnist
from data import mnist, sets
from tests.helpers import ROOT, scripts, write_random_data

TRAIN = ['--data', 'data', '-u', '4', '-b', '10', '--noplot']


def write_data(name, seed):
    os.mkdir(name)
    write_random_data(pathlib.Path(name), 40, 20, seed=seed)


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_data('data', 0)


@pytest.fixture
def refused(capsys):
    """Runs a program that must be refused; returns its one line."""
    return functools.partial(scripts.refused, capsys)


def log():
    return json.loads(pathlib.Path('result', 'log').read_text())


# Another data set


def test_a_run_does_not_go_on_with_another_data_set(refused):
    train_mnist.main([*TRAIN, '-e', '1'])
    write_data('other', 1)
    before = log()
    for way in ['--autoload'], ['--resume', 'result/snapshot_iter_4']:
        line = refused(train_mnist, *TRAIN, '-e', 2, '-d', 'other', *way)
        assert re.search(
            r'training_set is [0-9a-f]{12} in the file, [0-9a-f]{12} here',
            line)
    assert log() == before


def test_a_prediction_on_another_data_set_says_so(capsys):
    train_mnist.main([*TRAIN, '-e', '1'])
    write_data('other', 1)
    for model, more in (('result/snapshot_iter_4', ['--export', 'net.npz']),
                        ('net.npz', [])):
        predict_mnist.main([model, '--data', 'data', *more])
        assert capsys.readouterr().err == ''
        predict_mnist.main([model, '--data', 'other'])
        assert capsys.readouterr().err.startswith(
            f'predict_mnist.py: warning: {model} was trained on another data '
            'set than other: the checksum of its training set is ')


@pytest.mark.parametrize('value', [5, [], 'x', '', 'a' * 65])
def test_a_checksum_that_is_none_is_refused(value, refused):
    train_mnist.main([*TRAIN, '-e', '1'])
    with numpy.load('result/snapshot_iter_4') as npz:
        arrays = dict(npz)
    name = 'extensions/Settings/json'
    settings = json.loads(arrays[name].tobytes())
    arrays[name] = numpy.frombuffer(
        json.dumps({**settings, 'training_set': value}).encode(), 'u1')
    with open('snapshot', 'wb') as f:
        numpy.savez(f, **arrays)
    line = refused(predict_mnist, 'snapshot', '--data', 'data')
    assert f'settings: training_set is {value!r}' in line
    assert 'training_set is ' in refused(
        train_mnist, *TRAIN, '-e', 2, '--resume', 'snapshot')


def test_args_json_has_the_checksum_of_the_training_set():
    train_mnist.main([*TRAIN, '-e', '1'])
    args = json.loads(pathlib.Path('result', 'args.json').read_text())
    assert args['training_set'] == sets.read('data').checksum


def test_the_checksum_of_mnist_is_known():
    parts = map(mnist.read, mnist.NAMES)
    assert sets.ImageSet(*parts, None).checksum == mnist.CHECKSUM
    assert sets.read().checksum == mnist.CHECKSUM


def test_the_checksum_is_of_images_labels_and_their_shapes():
    x = numpy.arange(12, dtype=numpy.uint8)
    t = numpy.zeros(3, numpy.uint8)
    others = [(x.reshape(3, 4), t), (x[::-1].reshape(3, 4), t),
              (x.reshape(3, 4), t + 1), (x.reshape(2, 6), t[:2])]
    checksums = {sets.ImageSet(part, part, None).checksum for part in others}
    assert len(checksums) == 4


# Settings


def test_another_number_of_epochs_under_a_decay_is_said(capsys):
    decay = ['--alpha', '.01', '--final-alpha', '.0001']
    train_mnist.main([*TRAIN, '-e', '1', *decay])
    train_mnist.main([*TRAIN, '-e', '2', *decay, '--autoload'])
    err = capsys.readouterr().err
    assert err.count('\n') == 1
    assert 'warning: --epoch 2 in the place of 1 stretches the decay' in err
    assert [entry['alpha'] for entry in log()] == pytest.approx([.01, .001])


def test_another_number_of_epochs_without_a_decay_is_nothing(capsys):
    train_mnist.main([*TRAIN, '-e', '1'])
    train_mnist.main([*TRAIN, '-e', '2', '--autoload'])
    assert capsys.readouterr().err == ''
    assert [entry['alpha'] for entry in log()] == [.001, .001]


def test_a_mini_batch_of_one_is_refused(refused):
    line = refused(train_mnist, *TRAIN, '-b', 1)
    assert '--batchsize must be at least 2, got 1' in line
    assert not os.path.exists('result')


@pytest.mark.parametrize('dtype', ['float16', 'float64'])
def test_another_dtype_is_refused_to_train_in(dtype, refused):
    with chainer.using_config('dtype', numpy.dtype(dtype)):
        line = refused(train_mnist, *TRAIN)
    assert f'CHAINER_DTYPE is {dtype}: the program trains in float32' in line


def test_a_prediction_is_of_float32_whatever_the_dtype(capsys):
    train_mnist.main([*TRAIN, '-e', '1'])
    outputs = []
    for dtype in numpy.float32, numpy.float64, chainer.mixed16:
        capsys.readouterr()
        with chainer.using_config('dtype', dtype):
            predict_mnist.main(['result/snapshot_iter_4', '--data', 'data'])
        outputs.append([line for line in capsys.readouterr().out.splitlines()
                        if 'images/s' not in line])
    assert outputs[0] == outputs[1] == outputs[2]
    assert 'predictions that differ: 0' in outputs[0]


def test_the_environment_sets_the_dtype_that_is_refused():
    process = subprocess.run(
        [sys.executable, str(ROOT / 'train_mnist.py'), *TRAIN],
        capture_output=True, text=True, timeout=60,
        env={**os.environ, 'CHAINER_DTYPE': 'mixed16'})
    assert process.returncode == 2
    assert process.stderr.count('\n') == 1


# Files


@pytest.mark.parametrize('name', [
    'train-images-idx3-ubyte', 't10k-labels-idx1-ubyte'])
def test_a_pipe_among_the_data_is_refused(name, refused):
    os.unlink(f'data/{name}')
    os.mkfifo(f'data/{name}')
    for program, arguments in (train_mnist, TRAIN), (
            predict_mnist, [old_export(), '--data', 'data']):
        assert f'cannot read data/{name}: Not a regular file' in refused(
            program, *arguments)


def old_export():
    return ROOT / 'tests' / 'old_files' / 'binarized_export.npz'


def test_a_folder_of_data_that_cannot_be_read_is_named(refused, monkeypatch):
    listdir = os.listdir

    def forbidden(path='.'):
        if path == 'data':
            raise PermissionError(13, 'Permission denied', path)
        return listdir(path)

    monkeypatch.setattr(os, 'listdir', forbidden)
    line = refused(train_mnist, *TRAIN)
    assert 'cannot read the folder data: Permission denied' in line


def test_an_export_never_replaces_a_snapshot(refused):
    train_mnist.main([*TRAIN, '-e', '2'])
    for name in 'snapshot_iter_4', 'snapshot_iter_8':
        path = pathlib.Path('result', name)
        before = path.read_bytes()
        line = refused(predict_mnist, 'result/snapshot_iter_8', '--data',
                       'data', '--export', path)
        assert f'{path} is a snapshot, which --export does not' in line
        assert path.read_bytes() == before
    # An export is replaced, and any other file, too.
    for _ in range(2):
        predict_mnist.main(['result/snapshot_iter_8', '--data', 'data',
                            '--export', 'net.npz'])


def test_a_snapshot_that_was_moved_with_its_run_is_named_where_it_is(capsys):
    train_mnist.main([*TRAIN, '-e', '2'])
    capsys.readouterr()
    train_mnist.main([*TRAIN, '-e', '3', '-r', 'result/snapshot_iter_4'])
    lines = capsys.readouterr().out.splitlines()
    assert '# earlier run: renamed to result.1' in lines
    assert '# going on from: result.1/snapshot_iter_4' in lines
    assert os.path.exists('result.1/snapshot_iter_4')


# Terminals and signals


class Terminal(io.StringIO):

    def isatty(self):
        return True


@pytest.mark.parametrize(('columns', 'has_bar'), [(80, True), (40, False)])
def test_a_narrow_terminal_has_no_progress_bar(
        columns, has_bar, monkeypatch):
    monkeypatch.setattr(sys, 'stdout', Terminal())
    monkeypatch.setattr(shutil, 'get_terminal_size',
                        lambda: os.terminal_size((columns, 24)))
    monkeypatch.setattr(
        train_mnist.extensions, 'ProgressBar',
        lambda: lambda trainer: print('a bar'))
    train_mnist.main([*TRAIN, '-e', '1'])
    assert ('a bar' in sys.stdout.getvalue()) == has_bar


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_prediction_that_is_interrupted_at_its_start_says_so(number):
    process = subprocess.Popen(
        [sys.executable, '-c', STARTED, str(ROOT / 'predict_mnist.py')],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'importing\n'
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, 'interrupted\n')


# Stops in an import, after the handlers are set.
STARTED = '''
import runpy, sys, time
class Finder:
    def find_spec(self, name, *args):
        if name == 'numpy':
            print('importing', flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Finder())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
'''
