"""Runs that are killed, interrupted, repeated and short of space."""
import json
import os
import random
import resource
import signal
import subprocess
import sys

import pytest

from system import snapshot_file
from tests import torture

ARGUMENTS = ['--unit', 4, '--batchsize', 70, '--noplot']


def start(cwd, *arguments, moment='never', **kwargs):
    """Starts a run without Numba: there is no time to compile anything."""
    return subprocess.Popen(
        torture.command(moment, *ARGUMENTS, *arguments), cwd=cwd, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, 'NUMBA_DISABLE_JIT': '1'},
        **kwargs)


def run(cwd, *arguments, **kwargs):
    process = start(cwd, *arguments, **kwargs)
    process.stdout, process.stderr = process.communicate(timeout=120)
    return process


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """The folder of a run of two epochs; it must not be changed."""
    cwd = tmp_path_factory.mktemp('finished')
    assert run(cwd, '--epoch', 2).returncode == 0
    return cwd / 'result'


def test_a_run_that_was_killed_again_and_again_is_the_uninterrupted_one(
        tmp_path):
    counts = torture.survive(tmp_path, random.Random(2), 4, torture.KINDS[2])
    assert counts['killed'] + counts['ended'] == 4
    assert counts['resumed'] > 0
    assert counts['differences'] == 0


@pytest.mark.parametrize(('number', 'code'), [
    (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_an_epoch_writes_a_snapshot_to_go_on_from(
        tmp_path, finished, number, code):
    # The signal comes in iteration 14, at the second epoch's first batches.
    process = start(tmp_path, '--epoch', 2, moment=(
        f'training.array_iterator.ArrayIterator.next:14:{number:d}'))
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (code, (
        'interrupted at iteration 14, result/snapshot_iter_14 is written; the '
        'same command with --autoload goes on from there\n'))
    process = run(tmp_path, '--epoch', 2, '--autoload')
    assert process.returncode == 0
    assert '# going on from: result/snapshot_iter_14' in process.stdout
    assert list(torture.differences(finished.parent / 'result',
                                    tmp_path / 'result')) == []


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_iteration_ends_a_run_in_one_line(
        tmp_path, number):
    process = start(tmp_path, moment=f'train_mnist.make_trainer:1:{number:d}')
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (
        128 + number, 'interrupted before the first iteration\n')
    assert names(tmp_path) == []


def test_a_background_job_ignores_ctrl_c_as_its_shell_says(tmp_path):
    process = start(
        tmp_path, '--epoch', 1,
        moment='training.array_iterator.ArrayIterator.next:3:2',
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_second_run_renames_the_folder_of_the_first(tmp_path):
    for _ in range(2):
        process = run(tmp_path, '--epoch', 1)
        assert (process.returncode, process.stderr) == (0, '')
    assert '# earlier run: renamed to result.1\n' in process.stdout
    assert names(tmp_path) == ['result', 'result.1']
    assert names(tmp_path / 'result') == names(tmp_path / 'result.1')


def test_a_full_disk_ends_a_run_in_one_line_and_keeps_its_files(tmp_path):
    assert run(tmp_path, '--epoch', 1).returncode == 0
    size = (tmp_path / 'result' / 'snapshot_iter_10').stat().st_size
    before = {name: (tmp_path / 'result' / name).read_bytes()
              for name in names(tmp_path / 'result')}
    process = run(tmp_path, '--epoch', 2, '--autoload',
                  preexec_fn=lambda: resource.setrlimit(
                      resource.RLIMIT_FSIZE, (size // 2, size)))
    assert (process.returncode, process.stderr) == (2, (
        'train_mnist.py: error: cannot write result/snapshot_iter_19: '
        'File too large\n'))
    assert names(tmp_path / 'result') == sorted(before)
    path = tmp_path / 'result' / 'snapshot_iter_10'
    assert path.read_bytes() == before[path.name]


def test_a_full_standard_output_ends_a_run_in_one_line(tmp_path):
    if not os.path.exists('/dev/full'):
        pytest.skip('needs /dev/full')
    with open('/dev/full', 'w') as full:
        process = subprocess.run(
            torture.command('never', *ARGUMENTS), cwd=tmp_path, stdout=full,
            stderr=subprocess.PIPE, text=True, timeout=60)
    assert (process.returncode, process.stderr) == (
        2, 'train_mnist.py: error: cannot write the output: No space left on '
        'device\n')


def test_a_damaged_snapshot_is_named_and_the_one_before_it_used(
        tmp_path, finished):
    run(tmp_path, '--epoch', 2)
    path = tmp_path / 'result' / 'snapshot_iter_19'
    path.write_bytes(path.read_bytes()[:-1000])
    process = run(tmp_path, '--epoch', 2, '--autoload')
    line, = process.stderr.splitlines()
    assert line.startswith('train_mnist.py: warning: result/snapshot_iter_19 ')
    assert process.returncode == 0
    assert list(torture.differences(finished, tmp_path / 'result')) == []


def python(cwd, code, *arguments):
    """Runs train_mnist on a few images after some lines of code."""
    code = (f'import sys; sys.path.insert(0, {str(torture.HERE.parent)!r})\n'
            'from tests.helpers import small_run\n'
            'import train_mnist\n'
            'from data import sets\n'
            f'sets.read = small_run.small_mnist\n{code}\n'
            'train_mnist.main()')
    return subprocess.run(
        [sys.executable, '-c', code, *map(str, arguments)], cwd=cwd,
        capture_output=True, text=True, timeout=60)


def test_divergence_ends_a_run_in_one_line(tmp_path):
    process = python(tmp_path, """
make = train_mnist.make_trainer
def make_trainer(*args):
    trainer = make(*args)
    def spoil(trainer):
        if trainer.updater.iteration == 15:
            net = trainer.updater.get_optimizer('main').target.predictor
            net.l2.W.array[1, 2] = float('nan')
    trainer.extend(spoil, trigger=lambda _: True, priority=999)
    return trainer
train_mnist.make_trainer = make_trainer""", *ARGUMENTS)
    assert (process.returncode, process.stderr) == (2, (
        'train_mnist.py: error: the run diverged at iteration 15: the first '
        'layer affected is l2/W; the last good snapshot: '
        'result/snapshot_iter_10\n'))
    assert snapshot_file.read(str(tmp_path / 'result' / 'snapshot_iter_10'))


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--batchsize', 80], 'batchsize is 70 in the file, 80 here'),
    (['--unit', 5], 'l1/W: (4, 784) in the file, (5, 784) here'),
    (['--layers', 3], 'l3/W: (10, 4) in the file, (4, 4) here'),
    (['--relu'], 'relu is False in the file, True here'),
])
def test_a_snapshot_of_another_run_says_what_differs(
        tmp_path, finished, arguments, message):
    process = run(tmp_path, '--epoch', 3, '--resume',
                  finished / 'snapshot_iter_19', *arguments)
    assert process.returncode == 2
    line, = process.stderr.splitlines()
    assert message in line
    assert names(tmp_path) == []


def test_neither_plots_nor_the_evaluation_batch_size_change_the_training(
        tmp_path, finished):
    arguments = [a for a in ARGUMENTS if a != '--noplot']
    process = python(
        tmp_path, 'import net; net.MnistMLP.evaluation_batchsize = 7',
        *arguments, '--epoch', 2)
    assert process.returncode == 0, process.stderr
    # With Numba, where it is there: without it, in the other run.
    assert [name for name in torture.differences(finished, tmp_path / 'result')
            if name != 'log'] == []
    ours, theirs = (json.loads((path / 'log').read_text())
                    for path in (finished, tmp_path / 'result'))
    assert [e['main/loss'] for e in ours] == [e['main/loss'] for e in theirs]
