import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from tests.helpers import ROOT
from training import run_folder
from training.run_folder import LOCK, claim

ARGS = json.dumps(dict.fromkeys(run_folder._KEYS, 1))


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def names(folder='result'):
    return sorted(os.listdir(folder))


def write(*paths, text='kept'):
    for path in map(pathlib.Path, paths):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def make_run(folder='result', more=()):
    with claim(folder, False) as moved:
        write(f'{folder}/args.json', text=ARGS)
        write(f'{folder}/log', f'{folder}/snapshot_iter_5',
              *(f'{folder}/{name}' for name in more))
    return moved


RUN = ['args.json', 'log', 'snapshot_iter_5', LOCK]


def test_an_earlier_run_is_renamed_to_the_next_number():
    assert make_run() is None
    assert make_run() == 'result.1'
    write('result/mine')  # Put there afterwards, it belongs to that run.
    os.mkdir('result.7')
    assert make_run() == 'result.8'
    assert names() == names('result.1') == RUN
    assert names('result.8') == sorted([*RUN, 'mine'])


@pytest.mark.parametrize('path', ['result/', './result', 'x/../result'])
def test_any_spelling_of_the_folder_will_do(path, tmp_path):
    os.mkdir('x')
    make_run()
    make_run(path)
    assert names() == names('result.1') == RUN


def test_of_a_link_the_folder_that_it_leads_to_is_renamed(tmp_path):
    os.mkdir('there')
    os.symlink('there', 'result')
    make_run()
    assert make_run() == str(tmp_path / 'there.1')
    assert os.path.islink('result')
    assert names('there') == names('there.1') == RUN


def test_a_run_that_goes_on_stays_where_it_is():
    make_run()
    with claim('result', True) as moved:
        assert moved is None
        assert names() == RUN


def test_leftovers_of_killed_writes_are_removed():
    make_run()
    write('result/.log.1.tmp', 'result/.snapshot_iter_7.22.tmp',
          'result/.mine.1.tmp', 'result/log.tmp')
    with claim('result', True):
        assert names() == sorted([*RUN, '.mine.1.tmp', 'log.tmp'])


def test_a_run_that_was_killed_before_its_first_file_is_in_nobodys_way():
    write(f'empty/{LOCK}', text='')
    write(f'full/{LOCK}', text='12\nown\n')
    write('full/.args.json.3.tmp')
    for folder in 'empty', 'full':
        assert make_run(folder) is None
        assert names(folder) == RUN


def test_a_lock_that_a_killed_run_has_left_says_nothing_of_other_files():
    write(f'full/{LOCK}', text='12\nown\n')
    write('full/thesis.txt')
    make_run('full')
    with pytest.raises(ValueError, match='an earlier run among other files'):
        make_run('full')
    write(f'empty/{LOCK}', text='12\nshared\n')
    make_run('empty')
    assert make_run('empty') == 'empty.1'


def test_a_lock_alone_makes_no_run_of_a_folder():
    write('result/log')
    write(f'result/{LOCK}', text='')  # Killed before it had a look
    with pytest.raises(ValueError, match='holds log, which is not of'):
        make_run()
    assert 'log' in names()


def test_the_files_of_others_stay_and_may_be_shared_with():
    write('result/thesis.txt')
    make_run()
    with pytest.raises(ValueError, match='an earlier run among other files'):
        make_run()
    with claim('result', True):
        pass
    with pytest.raises(ValueError, match='an earlier run among other files'):
        make_run()
    assert names() == sorted([*RUN, 'thesis.txt'])
    assert names('.') == ['result']


@pytest.mark.parametrize('name', [
    'log', 'args.json', 'loss.png', 'cg.dot', 'snapshot_iter_3'])
@pytest.mark.parametrize('text', ['kept', '{}', '[' * 9999, ''])
def test_files_of_no_run_are_not_written_over(name, text):
    write(f'result/{name}', text=text)
    with pytest.raises(ValueError, match=f'holds {name}, which is not of'):
        make_run()
    assert names() == [name]
    assert pathlib.Path('result', name).read_text() == text


def test_leftovers_in_a_folder_of_no_run_stay():
    write('result/.log.1.tmp', 'result/x')
    make_run()
    assert '.log.1.tmp' in names()


def test_a_run_of_the_program_before_it_had_locks_is_renamed():
    write('result/args.json', text=ARGS)
    write('result/log')
    assert make_run() == 'result.1'
    write('old/args.json', text=ARGS)
    write('old/thesis.txt')
    with pytest.raises(ValueError, match='among other files'):
        make_run('old')


@pytest.mark.parametrize('path', ['.', '', '/'])
def test_a_folder_that_others_need_is_not_renamed(path, monkeypatch):
    write('args.json', text=ARGS)
    write('log')
    if path == '/':
        monkeypatch.setattr(run_folder, '_has_args', lambda path: True)
        monkeypatch.setattr(os, 'listdir', lambda path: ['log'])
    with pytest.raises(ValueError, match=r'cannot be renamed|cannot make|'
                       'among other'):
        make_run(path)
    assert sorted(os.listdir(os.curdir))[:1] in (['args.json'], ['log'])


def test_where_nothing_was_written_nothing_is_left():
    with claim('result', False):
        assert names() == [LOCK]
    assert names('.') == []
    os.mkdir('result')
    with pytest.raises(KeyError), claim('result', True):
        raise KeyError
    assert names() == []


def test_a_folder_that_cannot_be_made_is_named():
    write('file')
    with pytest.raises(ValueError, match='cannot make the folder file/x'):
        make_run('file/x')


@pytest.mark.parametrize('make', [
    os.mkdir, lambda path: os.symlink('no/thing', path)])
def test_a_lock_that_cannot_be_written_is_named(make):
    os.mkdir('result')
    make(f'result/{LOCK}')
    with pytest.raises(ValueError, match=f'cannot write result/{LOCK}'):
        make_run()


@pytest.mark.skipif(run_folder.fcntl is None, reason='needs flock')
def test_a_second_run_is_refused_while_the_first_lives():
    code = ("from training import run_folder\n"
            "with run_folder.claim('result', False):\n"
            "    print('ready', flush=True); input()")
    first = subprocess.Popen(
        [sys.executable, '-c', code], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert first.stdout.readline() == b'ready\n'
    for go_on in False, True:
        with pytest.raises(ValueError, match=(
                rf'another run is writing to result \(process {first.pid}\)')):
            claim('result', go_on).__enter__()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert names() == [LOCK]
    make_run()
    assert names() == RUN
