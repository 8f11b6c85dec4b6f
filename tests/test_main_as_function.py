"""The programs' main() from a notebook or another program."""
import os
import pathlib
import signal
import sys
import threading

import pytest

import predict_mnist
import train_mnist
from tests.helpers import write_random_data

SMALL = ['--data', 'data', '-u', '4', '-b', '10', '-e', '1', '--noplot']


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # What ipykernel is started with is no argument of the programs.
    monkeypatch.setattr(sys, 'argv', ['ipykernel', '-f', 'kernel.json'])
    os.mkdir('data')
    write_random_data(pathlib.Path('data'), 40, 20)


def state():
    return (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM),
            sys.stdout, sys.stderr, os.getcwd(), sys.argv, list(sys.path))


def test_what_they_change_is_put_back():
    before = state()
    train_mnist.main(SMALL)
    assert state() == before
    predict_mnist.main(['result/snapshot_iter_4', '--data', 'data'])
    assert state() == before


@pytest.mark.parametrize('program', [train_mnist, predict_mnist])
def test_a_refusal_is_an_exit_that_can_be_caught(program, capsys):
    before = state()
    with pytest.raises(SystemExit) as info:
        program.main(['--data', 'nothing', '--noplot']
                     if program is train_mnist else ['nothing'])
    assert info.value.code == 2
    assert capsys.readouterr().err.count('\n') == 1
    assert state() == before


def test_the_folder_is_free_again_after_an_error(monkeypatch):
    def fail(trainer):
        raise RuntimeError('a fault')

    with monkeypatch.context() as patch:
        patch.setattr(train_mnist.snapshots, 'save', fail)
        with pytest.raises(RuntimeError, match='a fault'):
            train_mnist.main(SMALL)
    train_mnist.main(SMALL)
    assert os.path.exists('result/snapshot_iter_4')


def test_training_runs_in_a_thread():
    errors = []

    def run():
        try:
            train_mnist.main(SMALL)
        except BaseException as e:
            errors.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert errors == []
    assert os.path.exists('result/snapshot_iter_4')


def test_ctrl_c_in_a_notebook_writes_a_snapshot_and_exits(monkeypatch):
    update = train_mnist.updaters.StandardUpdater.update

    def interrupted(self):
        update(self)
        if self.iteration == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(
        train_mnist.updaters.StandardUpdater, 'update', interrupted)
    with pytest.raises(SystemExit) as info:
        train_mnist.main(SMALL)
    assert info.value.code == 130
    assert os.path.exists('result/snapshot_iter_2')
