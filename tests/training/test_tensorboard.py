"""TensorBoard's files; what needs tensorboardX is skipped without it."""
import json
import os
import pathlib
import struct
import subprocess
import sys

import chainer_compat
import pytest

from tests.helpers import ROOT

SMALL_RUN = ROOT / 'tests' / 'helpers' / 'small_run.py'
FLAGS = ['--unit', '9', '--batchsize', '70', '--noplot', '--tensorboard',
         'board']


def run(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, str(SMALL_RUN), 'never', *FLAGS, *arguments],
        cwd=cwd, capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment})


def events(folder):
    """Yields the events in TensorBoard's files, in their order."""
    from tensorboardX.proto import event_pb2
    for path in sorted(pathlib.Path(folder).iterdir()):
        data = path.read_bytes()
        while data:
            # A record is length, its checksum, content, its checksum.
            n, = struct.unpack('<Q', data[:8])
            yield event_pb2.Event.FromString(data[12:12 + n])
            data = data[16 + n:]


def numbers(folder):
    """Returns {(tag, step): value} of the scalars."""
    return {(value.tag, event.step): value.simple_value
            for event in events(folder) for value in event.summary.value
            if value.HasField('simple_value')}


def test_the_numbers_are_those_of_the_log(tmp_path):
    pytest.importorskip('tensorboardX')
    process = run('-e', '2', '--inside', cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, '')
    log = json.loads((tmp_path / 'result' / 'log').read_text())
    expected = {(key, entry['epoch']): pytest.approx(value, rel=1e-6)
                for entry in log for key, value in entry.items()
                if key != 'epoch' and '/weights' not in key}
    assert numbers(tmp_path / 'board') == expected
    assert ('main/predictor/sign_changes3', 2) in expected
    histograms = {(value.tag, event.step): value.histo
                  for event in events(tmp_path / 'board')
                  for value in event.summary.value if value.HasField('histo')}
    assert set(histograms) == {(f'latent weights/layer {k}', epoch)
                               for k in (1, 2, 3) for epoch in (1, 2)}
    last = histograms['latent weights/layer 3', 2]
    assert list(last.bucket)[-40:] == pytest.approx([
        log[1][f'main/predictor/weights3/{(k - 20) / 20:+.2f}']
        for k in range(40)])
    assert list(last.bucket_limit)[-40:] == pytest.approx(
        [(k - 19) / 20 for k in range(40)])


def test_a_run_that_goes_on_adds_a_file_that_begins_there(tmp_path):
    pytest.importorskip('tensorboardX')
    for epochs in '1', '3':
        process = run('-e', epochs, '--autoload', cwd=tmp_path)
        assert (process.returncode, process.stderr) == (0, '')
    assert len(list((tmp_path / 'board').iterdir())) == 2
    assert {step for _, step in numbers(tmp_path / 'board')} == {1, 2, 3}
    starts = [event.step for event in events(tmp_path / 'board')
              if event.HasField('session_log')]
    assert starts == [1, 2]


def test_files_of_one_second_are_several(tmp_path, monkeypatch):
    pytest.importorskip('tensorboardX')
    import time
    from unittest import mock

    from training.tensorboard import TensorBoard
    monkeypatch.setattr(time, 'time', lambda: 1.5)
    for epoch in 0, 1:
        board = TensorBoard(str(tmp_path))
        monkeypatch.setattr('os.getpid', lambda epoch=epoch: 10 + epoch)
        trainer = mock.Mock()
        trainer.updater.epoch = epoch
        board.initialize(trainer)
        board.finalize()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name.split('.')[-2:] for name in names] == [
        ['000000', '10'], ['000001', '11']]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    pytest.importorskip('tensorboardX')
    (tmp_path / 'board').write_text('kept')
    process = run('-e', '1', cwd=tmp_path)
    assert process.returncode == 2
    assert process.stderr == (
        'train_mnist.py: error: cannot make the folder board: File exists; '
        'choose another one with --tensorboard\n')
    assert (tmp_path / 'board').read_text() == 'kept'


def test_a_folder_inside_that_of_the_results_is_renamed_with_it(tmp_path):
    pytest.importorskip('tensorboardX')
    for _ in range(2):
        process = run('-e', '1', '--tensorboard', 'result/board',
                      cwd=tmp_path)
        assert (process.returncode, process.stderr) == (0, '')
    for name in 'result', 'result.1':
        assert len(list((tmp_path / name / 'board').iterdir())) == 1
        assert (tmp_path / name / 'log').exists()


@pytest.mark.parametrize('name', ['log', 'loss.png', 'train_mnist.lock/x'])
def test_a_folder_in_the_place_of_the_runs_files_is_refused(name, tmp_path):
    pytest.importorskip('tensorboardX')
    process = run('-e', '1', '--tensorboard', f'result/{name}', cwd=tmp_path)
    assert process.returncode == 2
    assert process.stderr == (
        f'train_mnist.py: error: cannot make the folder result/{name}: it is '
        'a file of the results; choose another one with --tensorboard\n')
    assert not (tmp_path / 'result').exists()


@pytest.mark.parametrize(('error', 'reason'), [
    ("ModuleNotFoundError(name='tensorboardX')", 'pip install tensorboardX'),
    ("ImportError('it wants another protobuf')",
     'it wants another protobuf')])
def test_without_tensorboardx_it_is_named_in_one_line(
        error, reason, tmp_path):
    (tmp_path / 'tensorboardX.py').write_text(f'raise {error}')
    process = run(cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert process.returncode == 2
    assert process.stderr == (
        f'train_mnist.py: error: --tensorboard needs tensorboardX: {reason}\n')
    assert not (tmp_path / 'result').exists()
