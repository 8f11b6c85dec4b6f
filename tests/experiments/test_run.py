import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

import train_mnist
from experiments import fingerprint, plan, run, runs
from experiments.plan import EXPERIMENTS, Experiment
from tests.helpers import ROOT, scripts

SMALL = {'small': Experiment('--unit 8 --batchsize 500 --epoch 1', 2),
         'wrong': Experiment('--unit 8 --relu --batchsize 70000', 1)}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Folders of logs and unfinished runs, for the small experiments."""
    monkeypatch.setattr(runs, 'LOGS', tmp_path / 'logs')
    monkeypatch.setattr(run, 'LOGS', tmp_path / 'logs')
    monkeypatch.setattr(run, '_FOLDER', tmp_path / 'unfinished')
    for name, experiment in SMALL.items():
        monkeypatch.setitem(EXPERIMENTS, name, experiment)
    monkeypatch.setattr(
        fingerprint, 'measure',
        lambda names: {name: fingerprint.compute(EXPERIMENTS[name].arguments)
                       for name in names})
    return tmp_path


def main(*arguments):
    """Returns the exit status of the program."""
    with pytest.raises(SystemExit) as e:
        run.main([*arguments, '--no-update'])
    return e.value.code


def test_logs_are_made_once_and_say_what_made_them(folders, capsys):
    assert main('small') == 0
    assert capsys.readouterr().out.startswith('2 of 2 runs are to be done\n')
    contents = [json.loads((folders / 'logs' / f'small_seed_{seed}.json')
                           .read_text()) for seed in (0, 1)]
    assert contents[0]['command'] == (
        './train_mnist.py --unit 8 --batchsize 500 --epoch 1 --seed 0')
    assert 'NumPy' in contents[0]['versions']
    assert contents[0]['commit']
    assert contents[0]['log'] != contents[1]['log']
    assert runs.read_runs('small') == [c['log'] for c in contents]
    assert list((folders / 'unfinished').iterdir()) == []
    assert main('small') == 0
    assert capsys.readouterr().out == '0 of 2 runs are to be done\n'


def test_a_log_of_another_arithmetic_or_command_is_made_again(
        folders, capsys):
    one = run.Run('small', 0, '')
    path = folders / 'logs' / 'small_seed_0.json'
    path.parent.mkdir()
    today = [1., 2.]
    log = {'command': './train_mnist.py --unit 8 --batchsize 500 --epoch 1 '
                      '--seed 0', 'fingerprint': today}
    for content, is_done in ((log, True), ([], False),
                             ({**log, 'fingerprint': [1., 2.1]}, False),
                             ({**log, 'fingerprint': [1.]}, False),
                             ({**log, 'command': './train_mnist.py'}, False)):
        path.write_text(json.dumps(content))
        assert one.is_done(today) == is_done


def test_a_run_that_fails_is_named_and_the_others_go_on(folders, capsys):
    assert main('wrong', 'small') == 1
    out = capsys.readouterr().out
    assert 'wrong, seed 0: failed with status 2: train_mnist.py: error' in out
    assert 'small, seed 1: 1 epochs in' in out


def test_a_name_that_is_none_is_refused():
    assert "invalid choice: 'smal'" in scripts.error(run.main, 'smal')


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='there are no signals')
@pytest.mark.parametrize(('number', 'status'), [
    (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_goes_on(number, status, tmp_path):
    code = f'''
import pathlib, sys
from experiments import run, runs
from experiments.plan import EXPERIMENTS, Experiment
folder = pathlib.Path({str(tmp_path)!r})
runs.LOGS = run.LOGS = folder / 'logs'
run._FOLDER = folder / 'unfinished'
EXPERIMENTS['binarized'] = Experiment('--unit 8 --batchsize 100 --epoch 3', 1)
run.main(['binarized', '--no-update'])
'''
    command = [sys.executable, '-c', code]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    log = tmp_path / 'unfinished' / 'binarized_seed_0' / 'log'
    for _ in range(600):
        if log.exists():
            break
        time.sleep(.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (status, b'')
    assert any(name.startswith('snapshot') for name in os.listdir(log.parent))
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    content = json.loads((tmp_path / 'logs' / 'binarized.json').read_text())
    assert [entry['epoch'] for entry in content['log']] == [1, 2, 3]


# The fingerprint


@pytest.fixture(scope='module')
def today():
    return fingerprint.measure(list(EXPERIMENTS))


def test_what_changes_the_arithmetic_changes_the_fingerprint(today):
    # The data are no part of it.
    different = {name: of for name, of in today.items()
                 if not EXPERIMENTS[name].fashion or name.endswith('decay')}
    names = list(different)
    assert len(names) >= 15
    for i, name in enumerate(names):
        for other in names[:i]:
            assert not fingerprint.are_equal(
                different[name], different[other]), (name, other)


def test_the_logs_are_of_todays_arithmetic(today):
    for name, experiment in EXPERIMENTS.items():
        for seed in range(experiment.seeds):
            path = runs.log_path(name, seed)
            content = runs.read_json(path)
            assert fingerprint.are_equal(
                content['fingerprint'], today[name]), path
            assert f'--seed {seed}' in content['command']
            assert 'dirty' not in content['commit']


def test_the_runs_of_an_experiment_are_all_there():
    for name, experiment in EXPERIMENTS.items():
        _, args = train_mnist.parse_args(shlex.split(experiment.arguments))
        logs = runs.read_runs(name)
        assert [len(log) for log in logs] == [args.epoch] * experiment.seeds
        # Different seeds gave different runs.
        assert len({log[-1]['main/loss'] for log in logs}) == len(logs)


def test_every_file_is_of_an_experiment():
    known = {runs.log_path(name, seed) for name, experiment
             in EXPERIMENTS.items() for seed in range(experiment.seeds)}
    others = {path for path in runs.LOGS.rglob('*.json')
              if path.parent.name != 'search'} - known
    assert {path.name for path in others} == {
        'original_readme.json', 'binary_net_readme.json', 'nox.json'}


def test_the_groups_are_all_experiments():
    assert set(EXPERIMENTS) == {
        name for group in plan.GROUPS.values() for name in group}
