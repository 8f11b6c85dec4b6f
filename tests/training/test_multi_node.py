"""Several processes on this machine, by mpiexec."""
import argparse
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import types

import chainer_compat
import chainer
import numpy
import pytest

from layers.batch_normalization import BatchNormalization
from system import snapshot_file
from system.command_line import ArgumentParser
from tests.helpers import ROOT, write_random_data
from training import multi_node
from training.array_dataset import ArrayDataset
from training.processes import join

MPIEXEC = pathlib.Path(sys.executable).parent / 'mpiexec'

needs_mpi = pytest.mark.skipif(
    importlib.util.find_spec('mpi4py') is None or not MPIEXEC.exists(),
    reason='needs MPI: pip install -r requirements-mpi.txt')
without_mpi = pytest.mark.skipif(
    importlib.util.find_spec('mpi4py') is not None,
    reason='mpi4py is installed')


def mpi(n, *command, cwd):
    """Starts n processes, which may be more than there are cores."""
    return subprocess.Popen(
        [str(MPIEXEC), '--oversubscribe', '--bind-to', 'none', '-n', str(n),
         sys.executable, *map(str, command)], cwd=cwd, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={
            **os.environ, 'PYTHONPATH': str(ROOT),
            'OMPI_ALLOW_RUN_AS_ROOT': '1',
            'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1',
            # Waiting processes leave the core to the others.
            'OMPI_MCA_mpi_yield_when_idle': '1'})


def run(n, *command, cwd, status=0):
    process = mpi(n, *command, cwd=cwd)
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, out + err
    return out, err


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with a small data set, 100 images to train with."""
    folder = tmp_path_factory.mktemp('mpi')
    write_random_data(folder, 100, 31)
    return folder


def train(*arguments):
    return [ROOT / 'train_mnist.py', '--data', '.', '--mpi', '--unit', 9,
            '--batchsize', 10, '--noplot', *arguments]


class Twins:
    """Two processes with the same batch."""

    size = 2

    def Allreduce(self, sent, received):
        received[...] = 2 * sent


@pytest.mark.gpu
@pytest.mark.parametrize('shape', [(12, 3), (4, 3, 5, 2)])
def test_batch_normalization_of_processes_on_a_gpu_is_that_of_the_cpu(
        shape, random):
    world = multi_node.MultiNodeWorld(
        types.SimpleNamespace(mpi_comm=Twins(), rank=0, size=2))
    x, gy = (random.standard_normal(shape).astype('f') + 30 for _ in range(2))
    results = []
    for name in '@numpy', '@cupy:0':
        device = chainer.get_device(name)
        link = BatchNormalization(3)
        link.impl_selector = world._select_impl
        link.to_device(device)
        v = chainer.Variable(device.send(x))
        y = link(v)
        y.grad = device.send(gy)
        y.backward()
        results.append(chainer.get_device('@numpy').send([
            y.array, v.grad, link.gamma.grad, link.beta.grad, link.avg_mean,
            link.avg_var]))
    for a, b in zip(*results):
        numpy.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@needs_mpi
@pytest.mark.parametrize('flags', [[], ['--channels', 3]])
def test_gradients_of_1_2_and_4_processes_are_the_same(flags, tmp_path):
    results = []
    for n in 1, 2, 4:
        run(n, ROOT / 'tests' / 'helpers' / 'multi_node_steps.py',
            tmp_path / f'{n}.npz', 3, *flags, cwd=tmp_path)
        with numpy.load(tmp_path / f'{n}.npz') as f:
            results.append(dict(f))
    for n, result in zip((1, 2, 4), results):
        # Equal bit for bit in all processes, from the start, but not fixed.
        digests = result.pop('digests')
        assert digests.shape == (4, n)
        assert (digests == digests[:, :1]).all()
        assert len(set(digests[:, 0])) == 4
    for result in results[1:]:
        assert result.keys() == results[0].keys()
        for name, array in result.items():
            # The running statistics are those of three steps of Adam, which
            # are as large for gradients next to 0, of many pixels' sums.
            numpy.testing.assert_allclose(
                array, results[0][name], err_msg=name,
                atol=1e-6 if name[0].isdigit() else 1e-4 if flags else 1e-5)


@needs_mpi
def test_rank_0_alone_prints_and_saves_and_autoload_goes_on(folder):
    def log(name):
        entries = json.loads((folder / name / 'log').read_text())
        return [{k: v for k, v in entry.items() if k != 'elapsed_time'}
                for entry in entries]

    out, err = run(2, *train('-e', 2, '-o', 'whole'), cwd=folder)
    assert err == ''
    assert '# processes: 2, 20 images in an iteration' in out
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ['1', '2']
    assert out.count('GPU: -1') == 1
    assert log('whole')[-1]['iteration'] == 10

    run(2, *train('-e', 1, '-o', 'parts'), cwd=folder)
    run(2, *train('-e', 2, '-o', 'parts', '--autoload'), cwd=folder)
    assert log('parts') == log('whole')
    out, _ = run(2, *train('-e', 2, '-o', 'parts', '--autoload'), cwd=folder)
    assert 'is at epoch 2 already' in out

    # Another number of processes is another order of the examples.
    _, err = run(3, *train('-e', 3, '-o', 'parts', '--resume',
                           'parts/snapshot_iter_10'), cwd=folder, status=2)
    assert 'iterator:main/order: (50,) in the file' in err


@needs_mpi
def test_bop_in_several_processes_goes_on_as_if_uninterrupted(folder):
    arrays = []
    for name, epochs in ('bop', [2]), ('bop_parts', [1, 2]):
        for epoch in epochs:
            _, err = run(2, *train(
                '--recipe', 'bop', '--gamma', .1, '--final-gamma', .1, '-e',
                epoch, '-o', name, '--autoload'), cwd=folder)
            assert err == ''
        arrays.append(snapshot_file.read(
            str(folder / name / 'snapshot_iter_10')))
    for name in arrays[0]:
        if name.startswith(('updater/model', 'updater/optimizer')):
            numpy.testing.assert_array_equal(
                arrays[0][name], arrays[1][name], err_msg=name)
    assert set(numpy.unique(
        arrays[0][f'{snapshot_file.NET}l1/W'])) == {-1, 1}


@needs_mpi
@pytest.mark.parametrize(('name', 'flags', 'line', 'n_blocked'), [
    ('conv', ['--channels', 3, '--evaluation', 'population'],
     '# channels: 3, blocks: 2', 6),
    ('shift', ['--recipe', 'paper-shift', '--validation', 20],
     '# recipe: paper-shift', 3)])
def test_other_nets_in_several_processes_go_on_as_if_uninterrupted(
        name, flags, line, n_blocked, folder):
    logs = []
    for out, epochs in (name, [2]), (f'{name}_parts', [1, 2]):
        for epoch in epochs:
            printed, err = run(2, *train(*flags, '-e', epoch, '-o', out,
                                         '--autoload'), cwd=folder)
            assert err == ''
            assert line in printed
        logs.append([{k: v for k, v in entry.items() if k != 'elapsed_time'}
                     for entry in json.loads(
                         (folder / out / 'log').read_text())])
    assert logs[0] == logs[1]
    assert f'main/predictor/blocked{n_blocked}' in logs[0][0]


@needs_mpi
def test_images_held_out_are_validated_on(folder):
    out, err = run(2, *train('-e', 1, '-o', 'held', '--validation', 20),
                   cwd=folder)
    assert err == ''
    assert out.splitlines()[-1].startswith('test error: ')


@needs_mpi
def test_more_processes_than_test_images(tmp_path):
    write_random_data(tmp_path, 40, 2)
    out, err = run(3, *train('-e', 1), cwd=tmp_path)
    assert err == ''
    assert out.splitlines()[-1].split()[0] == '1'


@needs_mpi
@pytest.mark.parametrize('evaluation', ['running', 'population'])
def test_the_evaluation_is_that_of_all_examples(evaluation, folder):
    # 31 images among 4 processes: shares of two sizes.
    run(4, *train('-e', 1, '-o', 'of4', '--evaluation', evaluation),
        cwd=folder)
    entry = json.loads((folder / 'of4' / 'log').read_text())[-1]
    process = subprocess.run(
        [sys.executable, str(ROOT / 'predict_mnist.py'), '--data', '.',
         f'of4/snapshot_iter_{entry["iteration"]}'], cwd=folder,
        capture_output=True, text=True, check=True, timeout=120)
    assert (f'Chainer net: {100 * entry["validation/main/accuracy"]:.2f} %'
            in process.stdout)


@needs_mpi
@pytest.mark.parametrize(('arguments', 'message'), [
    (['--batchsize', '51'], '--batchsize must be at most 50, the number of '
     'images of each of 2 processes, got 51'),
    (['--data', 'none'], 'there is no folder none'),
])
def test_bad_arguments_end_all_with_one_line(folder, arguments, message):
    start = time.monotonic()
    _, err = run(2, *train(*arguments), cwd=folder, status=2)
    assert err.count(f'train_mnist.py: error: {message}') == 1
    assert time.monotonic() - start < 30


FAILING = '''
import chainer_compat, train_mnist
from mpi4py import MPI
from training.array_iterator import ArrayIterator
next_batch = ArrayIterator.next
def fail(self):
    if MPI.COMM_WORLD.rank == 1 and self.repeat and self.epoch_detail > 1:
        {action}
    return next_batch(self)
ArrayIterator.__next__ = ArrayIterator.next = fail
train_mnist.main()
'''


@needs_mpi
@pytest.mark.parametrize(('action', 'message'), [
    ("raise OSError('a broken disk')", 'rank 1:\n.*OSError: a broken disk'),
    ('import os, signal; os.kill(os.getpid(), signal.SIGKILL)',
     'signal 9|Killed'),
])
def test_an_error_or_a_kill_of_one_process_ends_all(
        folder, action, message):
    process = mpi(2, '-c', FAILING.format(action=action),
                  *train('-e', 100000, '-o', 'failing')[1:], cwd=folder)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert re.search(message, err, re.DOTALL), err


@without_mpi
def test_mpi_without_mpi4py_is_refused(tmp_path):
    process = subprocess.run(
        [sys.executable, str(ROOT / 'train_mnist.py'), '--mpi'],
        cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert process.returncode == 2
    line, = process.stderr.splitlines()
    assert '--mpi needs mpi4py and an MPI library: install ' in line


class FakeCommunicator:

    def __init__(self, rank, size):
        self.rank, self.size, self.mpi_comm = rank, size, None


@pytest.mark.parametrize('size', [1, 2, 3, 4, 7])
@pytest.mark.parametrize('n', [1, 6, 7, 100])
def test_shares_are_of_one_size_and_leave_nothing_out(n, size):
    dataset = ArrayDataset(numpy.arange(n))
    worlds = [multi_node.MultiNodeWorld(FakeCommunicator(rank, size))
              for rank in range(size)]
    shares = [world.scatter(dataset).arrays[0] for world in worlds]
    assert {len(share) for share in shares} == {-(-n // size)}
    assert set(numpy.concatenate(shares)) == set(range(n))
    parts = [world.share(dataset).arrays[0] for world in worlds]
    assert sorted(numpy.concatenate(parts)) == list(range(n))


def test_shares_are_drawn_at_random():
    world = multi_node.MultiNodeWorld(FakeCommunicator(0, 2))
    share, = world.scatter(
        ArrayDataset(numpy.arange(10000))).arrays
    # Neither every second one nor the first half.
    assert .45 < (share % 2).mean() < .55
    assert .45 < (share < 5000).mean() < .55


def test_one_process_has_it_all():
    dataset = ArrayDataset(numpy.arange(3))
    with join(ArgumentParser(), argparse.Namespace(mpi=False)) as world:
        assert world.scatter(dataset) is dataset
        assert world.share(dataset) is dataset
    assert (world.rank, world.size) == (0, 1)


@needs_mpi
@pytest.mark.parametrize('name', ['SIGUSR1', 'SIGTERM'])
def test_a_signal_to_mpiexec_writes_a_snapshot_to_go_on_from(folder, name):
    out = f'stopped_{name}'
    process = mpi(2, *train('-e', 100000, '-o', out), cwd=folder)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (
            folder / out / 'snapshot_iter_5').exists():
        time.sleep(.1)
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=60)
    snapshot = snapshot_file.find(str(folder / out))[0]
    iteration = snapshot_file.iteration(snapshot)
    assert not list((folder / out).glob('.*.tmp'))
    stdout, _ = run(2, *train('-e', iteration // 5 + 2, '-o', out,
                              '--autoload'), cwd=folder)
    assert f'# going on from: {out}/snapshot_iter_{iteration}' in stdout
