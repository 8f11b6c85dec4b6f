"""Whatever the arguments of a run: success, or one clear line."""
import io
import os
import sys

import chainer_compat
import hypothesis
import pytest
from hypothesis import strategies as st

import train_mnist
from data import sets
from system import interruption
from tests.helpers import small_run
from tests.helpers.fuzzing import CASES, examples, refusal
from training import run_folder

FLAGS = [action.option_strings[-1] for action in
         train_mnist.parse_args([])[0]._actions if action.dest != 'help']
junk = st.sampled_from([
    '', ' ', '-1', '0', '1', '2', '10', '641', '1e3', 'nan', 'inf', '-inf',
    '.5', '1e-300', '1e300', '9' * 30, '9' * 5000, '٣', ' 7 ', '1_0', '0x10',
    '--', '-', 'None', '\udcff', 'a\nb', 'log:9', 'linear:0', 'linear:8',
    'binary', 'none', 'stochastic', 'unit', 'paper', 'a\0b', '{}', '%s'
]) | st.text(max_size=8)


@examples
@hypothesis.given(st.lists(st.sampled_from(FLAGS) | junk, max_size=6))
def test_any_arguments_are_parsed_or_refused_in_one_line(argv):
    CASES['arguments'] += 1
    stderr, sys.stderr = sys.stderr, io.StringIO()
    stdout, sys.stdout = sys.stdout, io.StringIO()
    try:
        code = refusal(SystemExit, train_mnist.parse_args, argv)
        lines = sys.stderr.getvalue().splitlines()
    finally:
        sys.stderr, sys.stdout = stderr, stdout
    if code in (None, '0'):  # Some are how --help is spelled.
        assert lines == []
    else:
        assert code == '2'
        assert len(lines) == 1
        assert ': error: ' in lines[0]


# Runs that end soon, if they begin.
SIZES = {'--batchsize': ['1', '7', '639', '640', '641'],
         '--epoch': ['0', '1', '2'], '--unit': ['0', '1', '9', '9' * 12],
         '--layers': ['0', '1', '3'], '--channels': ['0', '1', '2', '9' * 12],
         '--blocks': ['0', '1', '4', '5'], '--validation': ['1', '639', '640'],
         '--frequency': ['1', '99', '9' * 30], '--seed': ['1', '4294967296'],
         '--resume': ['args.json', 'result', 'no', '', 'pipe', 'a\0b'],
         '--out': ['result', '.', '', 'args.json', 'a/b', 'x' * 300, 'a\0b',
                   '\udcff', 'a\nb', 'pipe', 'link'],
         '--recipe': ['paper', 'original', 'paper-shift', 'bop', 'conv'],
         '--autoload': None, '--inside': None, '--gpu': ['-1', '5', '9' * 30]}
FREE = sorted(set(FLAGS) - SIZES.keys() - {
    '--noplot', '--summary', '--relu', '--no-relu'})


@examples
@hypothesis.given(st.data())
def test_any_run_succeeds_or_ends_with_one_line(tmp_path_factory, data):
    CASES['runs'] += 1
    argv = ['--noplot', '-b', '320', '-e', '1', '-u', '4', '--layers', '1']
    for flag in data.draw(st.sets(st.sampled_from(sorted(SIZES)), max_size=4)):
        argv += [flag]
        if SIZES[flag]:
            argv += [data.draw(st.sampled_from(SIZES[flag]))]
    for flag in data.draw(st.sets(st.sampled_from(FREE), max_size=2)):
        argv += [flag, data.draw(junk)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp('run'))
        with open('args.json', 'w') as f:
            f.write('not of a run')
        os.mkfifo('pipe')
        os.symlink('nowhere', 'link')
        patch.setattr(sys, 'argv', ['train_mnist.py', *argv])
        patch.setattr(sys, 'stderr', io.StringIO())
        patch.setattr(sys, 'stdout', io.StringIO())
        patch.setattr(sets, 'read', small_run.small_mnist)
        patch.setattr(interruption, '_set', lambda *args: {})
        code = refusal(SystemExit, train_mnist.main)
        lines = [line for line in sys.stderr.getvalue().splitlines()
                 if 'Warning' not in line and not line.startswith(' ')]
        with open('args.json') as f:
            assert f.read() == 'not of a run'
        if code is None:
            assert lines == []
        else:
            assert code == '2'
            assert len(lines) == 1
            assert lines[0].startswith('train_mnist.py: error: ')
        for _, _, names in os.walk('.'):
            assert not [name for name in names if name.endswith('.tmp')]
            assert code is None or run_folder.LOCK not in names or (
                'diverged' in lines[0])
