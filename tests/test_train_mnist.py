"""The program as a person runs it: a command, its output and its files."""
import json
import os
import shutil
import subprocess
import sys

import chainer_compat
import numpy
import pytest

import train_mnist
from data import description, mnist, reading
from recipes import choices
from tests.helpers import FOLDERS, ROOT
from training import run_folder

COLUMNS = ['epoch', 'main/loss', 'validation/main/loss', 'main/accuracy',
           'validation/main/accuracy', 'elapsed_time']

# A network that trains an epoch of the real MNIST in a second.
SMALL = ['--unit', '20', '--batchsize', '500']


def command(*arguments):
    return [sys.executable, str(ROOT / 'train_mnist.py'),
            *map(str, arguments)]


def run(*arguments, cwd, **environment):
    return subprocess.run(
        command(*arguments), cwd=cwd, capture_output=True, text=True,
        timeout=120, env={**os.environ, **environment})


@pytest.fixture(scope='module')
def two_epochs(tmp_path_factory):
    """The process and the folder of a run of two epochs."""
    cwd = tmp_path_factory.mktemp('two_epochs')
    process = run(*SMALL, '--epoch', 2, cwd=cwd)
    assert process.returncode == 0, process.stderr
    return process, cwd / 'result'


def log_of(folder):
    """Returns the log without the time that it took."""
    entries = json.loads((folder / 'log').read_text())
    for entry in entries:
        del entry['elapsed_time']
    return entries


def arrays_of(snapshot):
    """Returns the arrays of the model and of the optimizer."""
    with numpy.load(snapshot) as f:
        return {name: f[name] for name in f
                if name.startswith(('updater/model', 'updater/optimizer'))}


def assert_same_arrays(a, b):
    assert a.keys() == b.keys()
    for name in a:
        numpy.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_output_is_that_of_the_original_and_the_kernels(two_epochs):
    lines = two_epochs[0].stdout.splitlines()
    assert lines[:4] == [
        'GPU: -1', '# unit: 20', '# Minibatch-size: 500', '# epoch: 2']
    assert lines[4].startswith('# kernels: N')
    assert lines[5] == ''
    assert lines[6].split() == COLUMNS
    assert [line.split()[0] for line in lines[7:]] == ['1', '2']
    assert all(len(line.split()) == len(COLUMNS) for line in lines[7:])


def test_redirected_output_is_plain_text_and_stderr_is_empty(two_epochs):
    process, _ = two_epochs
    assert process.stderr == ''
    assert '\033' not in process.stdout
    assert '\r' not in process.stdout


def test_it_learns(two_epochs):
    entries = log_of(two_epochs[1])
    assert entries[-1]['main/loss'] < entries[0]['main/loss']
    assert entries[-1]['validation/main/accuracy'] > 0.75


def test_the_folder_holds_what_the_readme_says(two_epochs):
    names = {path.name for path in two_epochs[1].iterdir()}
    assert names == {'log', 'args.json', 'loss.png', 'accuracy.png',
                     'sign_changes.png', 'blocked.png', 'cg.dot',
                     'train_mnist.lock',
                     'snapshot_iter_120', 'snapshot_iter_240'}
    assert all(map(run_folder.is_of_a_run, names))
    readme = (ROOT / 'README.md').read_text()
    for name in names - {'snapshot_iter_120', 'snapshot_iter_240'}:
        assert f'`{name}`' in readme


def test_args_json_holds_every_argument(two_epochs):
    assert json.loads((two_epochs[1] / 'args.json').read_text()) == {
        **choices.RECIPES['binarized'], 'recipe': 'binarized',
        'batchsize': 500, 'epoch': 2, 'unit': 20, 'gpu': -1, 'out': 'result',
        'resume': None, 'autoload': False, 'frequency': 1, 'seed': 0,
        'noplot': False, 'summary': False, 'mpi': False, 'inside': False,
        'tensorboard': None,
        **dict.fromkeys(['data', *reading.FLAGS]),
        'training_set': mnist.CHECKSUM,
        'images': description.DIGITS.to_json()}


def test_the_graph_shows_the_quantized_functions(two_epochs):
    graph = (two_epochs[1] / 'cg.dot').read_text()
    assert graph.startswith('digraph')
    assert graph.count('label="QST"') == 2
    assert graph.count('label="QuantizedLinearFunction"') == 3


@pytest.mark.parametrize('name', [
    'loss.png', 'accuracy.png', 'sign_changes.png', 'blocked.png'])
def test_the_pictures_are_pictures(two_epochs, name):
    assert (two_epochs[1] / name).read_bytes().startswith(b'\x89PNG')


def test_the_same_seed_without_numba_or_plots_gives_the_same_numbers(
        two_epochs, tmp_path):
    run(*SMALL, '--epoch', 2, '--noplot', cwd=tmp_path, NUMBA_DISABLE_JIT='1')
    assert log_of(tmp_path / 'result') == log_of(two_epochs[1])
    assert_same_arrays(arrays_of(tmp_path / 'result' / 'snapshot_iter_240'),
                       arrays_of(two_epochs[1] / 'snapshot_iter_240'))
    assert not (tmp_path / 'result' / 'loss.png').exists()


def test_another_seed_gives_other_numbers(two_epochs, tmp_path):
    run(*SMALL, '--epoch', 1, '--noplot', '--seed', 1, cwd=tmp_path)
    ours, other = (log_of(path)[0]
                   for path in (tmp_path / 'result', two_epochs[1]))
    assert ours['main/loss'] != other['main/loss']


@pytest.mark.parametrize('way', ['--autoload', '--resume'])
def test_a_run_that_goes_on_from_a_snapshot_is_the_uninterrupted_one(
        two_epochs, tmp_path, way):
    first = run(*SMALL, '--epoch', 1, cwd=tmp_path)
    assert first.returncode == 0
    snapshot = [] if way == '--autoload' else ['result/snapshot_iter_120']
    second = run(*SMALL, '--epoch', 2, '--noplot', way, *snapshot,
                 cwd=tmp_path)
    assert second.returncode == 0
    assert second.stderr == ''
    assert log_of(tmp_path / 'result') == log_of(two_epochs[1])
    assert_same_arrays(arrays_of(tmp_path / 'result' / 'snapshot_iter_240'),
                       arrays_of(two_epochs[1] / 'snapshot_iter_240'))


def test_autoload_without_a_snapshot_starts_anew(tmp_path):
    process = run(*SMALL, '--epoch', 1, '--noplot', '--autoload', cwd=tmp_path)
    assert process.returncode == 0
    assert len(log_of(tmp_path / 'result')) == 1


def test_a_finished_run_says_that_it_is_finished(two_epochs, tmp_path):
    snapshot = two_epochs[1] / 'snapshot_iter_240'
    process = run(*SMALL, '--epoch', 1, '--resume', snapshot, cwd=tmp_path)
    assert process.returncode == 0
    assert 'is at epoch 2 already' in process.stdout


def test_snapshots_come_with_the_frequency_and_at_the_end(tmp_path):
    run(*SMALL, '--epoch', 3, '--frequency', 2, '--noplot', cwd=tmp_path)
    assert sorted(
        path.name for path in (tmp_path / 'result').glob('snapshot*')) == [
            'snapshot_iter_240', 'snapshot_iter_360']


def refusal(process):
    """Returns the one line on stderr of a process that was refused."""
    assert process.returncode == 2
    assert process.stdout == ''
    line, = process.stderr.splitlines()
    prefix = 'train_mnist.py: error: '
    assert line.startswith(prefix)
    return line[len(prefix):]


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--batchsize', '0'], 'must be at least 1, got 0'),
    (['--batchsize', '60001'], '--batchsize must be at most 60000'),
    (['--batchsize', 'x'], "must be a whole number, got 'x'"),
    (['--epoch', '0'], 'must be at least 1, got 0'),
    (['--epoch', '1.5'], "must be a whole number, got '1.5'"),
    (['--unit', '-3'], 'must be at least 1, got -3'),
    (['--unit', '9' * 9], 'memory'),
    (['--unit', '9' * 18], 'must be at most 1073741824, got 9999'),
    (['--frequency', '0'], 'must be at least 1, got 0'),
    (['--seed', '-1'], 'must be at least 0, got -1'),
    (['--seed', '4294967296'], 'must be at most 4294967295'),
    (['--gpu', '-2'], 'must be at least -1, got -2'),
    (['--resume', 'nothing'], 'cannot read nothing: No such'),
    (['--resume', '.'], 'cannot read .: Is a directory'),
    (['--resume', 'a', '--autoload'], 'not allowed with argument'),
    (['--out', 'file'], 'cannot make the folder file: File exists'),
    (['--out', 'file/folder'], 'cannot make the folder file/folder: Not a'),
    (['--nonsense'], 'unrecognized arguments: --nonsense'),
    (['--recipe', 'x'], "invalid choice: 'x' (choose from"),
    (['--epo', '1'], 'unrecognized arguments: --epo 1'),
    (['--weight-quantizer', 'log:9'], 'bits must be from 2 to 7, got 9'),
    (['--activation-quantizer', 'x'], 'must be one of binary, stochastic'),
    (['--gradient-quantizer', 'linear:0'], 'bits must be from 1 to 16'),
    (['--dropout', '1'], 'must be from 0 to 0.99, got 1'),
    (['--alpha', 'nan'], 'must be from 1e-12 to 1000.0, got nan'),
    (['--alpha', 'x'], "must be a number, got 'x'"),
    (['--evaluation', 'batch', '--normalization', 'shift'],
     '--evaluation batch needs --normalization batch'),
    (['--evaluation', 'population', '--normalization', 'shift'],
     '--evaluation population needs --normalization batch'),
    (['--estimator', 'unit'], "invalid choice: 'unit' (choose from"),
    (['--activation-quantizer', 'dorefa:2', '--estimator', 'swish'],
     '--activation-quantizer dorefa:2 has no estimator but clip, got swish'),
    (['--activation-quantizer', 'ternary:2'], 'threshold must be 0 or more'),
    (['--optimizer', 'bop'], '--optimizer bop needs --gamma, or take'),
    (['--gamma', '.1'], '--gamma needs --optimizer bop'),
    (['--recipe', 'bop', '--weight-quantizer', 'log'],
     '--optimizer bop needs binary weights, got --weight-quantizer log'),
    (['--validation', '60000'], '--validation must be less than 60000'),
    (['--recipe', 'paper', '-b', '50001'], 'must be at most 50000'),
])
def test_bad_arguments_are_one_line_and_exit_status_two(
        arguments, message, tmp_path):
    (tmp_path / 'file').write_text('kept')
    line = refusal(run(*arguments, cwd=tmp_path))
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ['file']
    assert (tmp_path / 'file').read_text() == 'kept'


def test_a_gpu_that_is_not_there_is_refused(tmp_path):
    # Hides the devices of a machine that has some.
    process = run('--gpu', '0', cwd=tmp_path, CUDA_VISIBLE_DEVICES='')
    assert '--gpu=0 needs CuPy and a CUDA device' in refusal(process)


@pytest.mark.parametrize(('error', 'reason'), [
    ("ModuleNotFoundError(name='matplotlib')", 'pip install matplotlib'),
    ("ModuleNotFoundError('no kiwisolver', name='kiwisolver')",
     'no kiwisolver'),
    ("ImportError('it requires numpy>=99')", 'it requires numpy>=99'),
])
def test_plots_without_matplotlib_are_refused(error, reason, tmp_path):
    (tmp_path / 'matplotlib.py').write_text(f'raise {error}')
    process = run(cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert refusal(process) == (
        f'a run without --noplot needs Matplotlib: {reason}')


def test_the_log_holds_sign_changes_and_blocked_gradients(two_epochs):
    entries = log_of(two_epochs[1])
    for name in 'sign_changes1', 'sign_changes3', 'blocked1', 'blocked2':
        shares = [entry[f'main/predictor/{name}'] for entry in entries]
        assert all(0 < share < 1 for share in shares), name
    assert 'main/predictor/blocked3' not in entries[0]


def test_a_held_out_part_is_validated_on_and_the_test_error_printed(tmp_path):
    process = run(*SMALL, '--epoch', 2, '--validation', 20000, '--noplot',
                  cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    entries = log_of(tmp_path / 'result')
    assert entries[-1]['iteration'] == 160
    best = max(entries, key=lambda e: e['validation/main/accuracy'])
    last = process.stdout.splitlines()[-1]
    assert last == (
        f'test error: {100 * (1 - best["test/main/accuracy"]):.2f} % at the '
        f'best validation epoch, {best["epoch"]}; '
        f'{100 * (1 - entries[1]["test/main/accuracy"]):.2f} % at the last, 2')
    assert 'test/main/accuracy' in process.stdout


@pytest.mark.parametrize('recipe', ['original', 'paper', 'paper-shift',
                                    'bop'])
def test_every_recipe_goes_on_from_a_snapshot_as_if_uninterrupted(
        recipe, tmp_path):
    # Two epochs that draw random numbers and change the step size.
    flags = [*SMALL, '--recipe', recipe, '--validation', 40000, '--noplot',
             '--halve-every', 1]
    if recipe == 'paper':
        # Its exponential decay depends on the number of epochs, which changes.
        flags += ['--final-alpha', .003]
    if recipe == 'bop':
        flags += ['--final-gamma', 1e-4]
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    for folder, epochs in (whole, [2]), (parts, [1, 2]):
        for epoch in epochs:
            process = run(*flags, '--epoch', epoch, '--autoload',
                          '--out', folder, cwd=tmp_path)
            assert process.returncode == 0, process.stderr
            assert f'# recipe: {recipe}' in process.stdout
    assert log_of(parts) == log_of(whole)
    assert_same_arrays(arrays_of(parts / 'snapshot_iter_80'),
                       arrays_of(whole / 'snapshot_iter_80'))


def test_a_run_that_goes_on_with_a_look_inside_is_the_same(
        two_epochs, tmp_path):
    run(*SMALL, '--epoch', 1, '--noplot', cwd=tmp_path)
    process = run(*SMALL, '--epoch', 2, '--autoload', '--inside', cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, '')
    assert_same_arrays(arrays_of(tmp_path / 'result' / 'snapshot_iter_240'),
                       arrays_of(two_epochs[1] / 'snapshot_iter_240'))
    first, second = log_of(tmp_path / 'result')
    assert first == log_of(two_epochs[1])[0]
    others = {key: value for key, value in second.items()
              if '/weights' not in key}
    assert others == log_of(two_epochs[1])[1]
    assert len(second) == len(others) + 3 * 40
    for k in 1, 2, 3:
        assert sum(value for key, value in second.items()
                   if f'/weights{k}/' in key) == pytest.approx(1)
    picture = tmp_path / 'result' / 'latent_weights.png'
    assert picture.read_bytes().startswith(b'\x89PNG')
    assert run_folder.is_of_a_run(picture.name)


@pytest.mark.parametrize('flags', [
    ['--estimator', 'approx'], ['--estimator', 'swish'],
    ['--estimator', 'identity'], ['--activation-quantizer', 'heaviside'],
    ['--activation-quantizer', 'ternary:0.05'],
    ['--activation-quantizer', 'dorefa:2']])
def test_every_estimator_and_rule_learns(flags, tmp_path):
    process = run(*SMALL, '--epoch', 2, '--noplot', *flags, cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, '')
    entries = log_of(tmp_path / 'result')
    assert entries[-1]['main/loss'] < entries[0]['main/loss']
    assert entries[-1]['validation/main/accuracy'] > .75
    blocked = entries[-1]['main/predictor/blocked1']
    assert (blocked == 0) == (flags[1] in ('swish', 'identity'))


def test_a_run_with_bop_is_small_and_is_packed_as_any_other(
        two_epochs, tmp_path):
    process = run(*SMALL, '--recipe', 'bop', '--epoch', 2, '--noplot',
                  cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, '')
    entries = log_of(tmp_path / 'result')
    assert entries[-1]['validation/main/accuracy'] > .75
    assert entries[1]['gamma'] < entries[0]['gamma'] == 1e-4
    assert 0 < entries[-1]['main/predictor/sign_changes2'] < 1
    snapshot = tmp_path / 'result' / 'snapshot_iter_240'
    of_bop, of_adam = (sum(a.nbytes for name, a in arrays_of(path).items()
                           if '/W' in name) for path in (
        snapshot, two_epochs[1] / 'snapshot_iter_240'))
    assert of_bop < .35 * of_adam
    process = subprocess.run(
        [sys.executable, str(ROOT / 'predict_mnist.py'), str(snapshot),
         '--export', 'net.npz'], cwd=tmp_path, capture_output=True, text=True,
        timeout=120)
    assert process.returncode == 0, process.stderr
    accuracy = 100 * entries[-1]['validation/main/accuracy']
    assert f'packed net: {accuracy:.2f} %' in process.stdout
    assert 'predictions that differ: 0' in process.stdout


@pytest.mark.parametrize(('flags', 'message'), [
    (['--estimator', 'approx'],
     'estimator is clip in the file, approx here'),
    (['--activation-quantizer', 'log'],
     'activation_quantizer is binary in the file, log here'),
    (['--alpha', '.01'], 'alpha is 0.001 in the file, 0.01 here'),
    (['--relu'], 'relu is False in the file, True here')])
def test_a_snapshot_of_other_settings_is_refused(
        two_epochs, tmp_path, flags, message):
    snapshot = two_epochs[1] / 'snapshot_iter_240'
    line = refusal(run(*SMALL, *flags, '--resume', snapshot, cwd=tmp_path))
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_of_another_size_is_refused(two_epochs, tmp_path):
    snapshot = two_epochs[1] / 'snapshot_iter_240'
    line = refusal(run('--unit', 30, '--resume', snapshot, cwd=tmp_path))
    assert 'in the file' in line
    assert list(tmp_path.iterdir()) == []


def test_a_missing_data_file_is_refused(tmp_path):
    for path in ROOT.glob('*.py'):
        shutil.copy(path, tmp_path)
    for folder in FOLDERS:
        shutil.copytree(
            ROOT / folder, tmp_path / folder,
            ignore=shutil.ignore_patterns('__pycache__', '*.npz'))
    process = subprocess.run(
        [sys.executable, 'train_mnist.py'], cwd=tmp_path, capture_output=True,
        text=True, timeout=60)
    assert 'train.npz: No such file or directory' in refusal(process)


def test_help_names_every_flag_and_its_default(tmp_path):
    process = run('--help', cwd=tmp_path)
    assert process.returncode == 0
    for name in vars(train_mnist.parse_args([])[1]):
        assert '--' + name.replace('_', '-') in process.stdout
    assert '(default: 100)' in process.stdout
    paper = run('--recipe', 'paper', '--help', cwd=tmp_path).stdout
    assert '(default: 4096)' in paper
    assert '(default: 3e-07)' in paper


def test_summary_is_a_table_and_trains_nothing(tmp_path):
    process = run('--summary', '--unit', 500, cwd=tmp_path)
    assert process.returncode == 0
    assert '(-1, 500)' in process.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
def test_a_run_on_the_gpu_is_that_on_the_cpu_within_noise(
        two_epochs, tmp_path):
    process = run(*SMALL, '--epoch', 2, '--gpu', 0, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    ours, other = (log_of(path)[-1]
                   for path in (tmp_path / 'result', two_epochs[1]))
    for column in COLUMNS[1:-1]:
        assert ours[column] == pytest.approx(other[column], abs=0.03)
