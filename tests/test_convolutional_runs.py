"""Both programs with convolutions, on a small data set."""
import json
import pathlib
import re

import chainer_compat
import numpy
import pytest

import predict_mnist
import train_mnist
from system import snapshot_file
from tests.helpers import write_random_data
from tests.helpers.scripts import printed, refused

SHAPE = 9, 14
FLAGS = ['--data', 'data', '--recipe', 'conv', '--channels', '4', '-u', '12',
         '-b', '10']


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    """A folder with a data set of images that are not square."""
    monkeypatch.chdir(tmp_path)
    pathlib.Path('data').mkdir()
    write_random_data(tmp_path / 'data', 100, 33, SHAPE)


def train(*flags):
    train_mnist.main([*FLAGS, *map(str, flags)])


def predict(capsys, *arguments):
    return printed(capsys, predict_mnist, *arguments)


def log_of(folder='result'):
    entries = json.loads(pathlib.Path(folder, 'log').read_text())
    for entry in entries:
        del entry['elapsed_time']
    return entries


def arrays_of(path):
    return {name: array for name, array in snapshot_file.read(path).items()
            if name.startswith(('updater/model', 'updater/optimizer',
                                'extensions/SignChanges'))}


def assert_same_arrays(a, b):
    assert a.keys() == b.keys()
    for name in a:
        numpy.testing.assert_array_equal(a[name], b[name], err_msg=name)


def percent(text):
    return re.findall(r'net: ([\d.]+) % of 33 test', text)


def test_a_run_prints_logs_and_draws_all_its_layers(capsys):
    pytest.importorskip('matplotlib')
    train('-e', 2, '--inside')
    out, err = capsys.readouterr()
    assert err == ''
    assert out.splitlines()[1:6] == [
        '# data: data, 126 pixels, 3 classes', '# channels: 4, blocks: 2',
        '# unit: 12', '# Minibatch-size: 10', '# epoch: 2']
    entries = log_of()
    for k in range(1, 7):
        prefix = f'main/predictor/weights{k}/'
        for entry in entries:
            assert 0 <= entry[f'main/predictor/sign_changes{k}'] < 1
            assert (f'main/predictor/blocked{k}' in entry) == (k < 6)
            assert sum(value for key, value in entry.items()
                       if key.startswith(prefix)) == pytest.approx(1)
    names = {path.name for path in pathlib.Path('result').iterdir()}
    assert {'loss.png', 'blocked.png', 'sign_changes.png',
            'latent_weights.png', 'snapshot_iter_20'} < names
    args = json.loads(pathlib.Path('result/args.json').read_text())
    assert (args['channels'], args['blocks'], args['layers']) == (4, 2, 1)
    graph = pathlib.Path('result/cg.dot').read_text()
    assert graph.count('label="QST"') == 5
    assert graph.count('label="QuantizedLinearFunction"') == 2


def test_the_plots_have_a_curve_of_each_layer(monkeypatch):
    drawn = {}

    def curves(n_hidden, evaluated):
        drawn['n_hidden'] = n_hidden
        return []

    monkeypatch.setattr(train_mnist.reports, 'curves', curves)
    pytest.importorskip('matplotlib')
    train('-e', 1)
    assert drawn == {'n_hidden': 5}


@pytest.mark.parametrize('flags', [
    [], ['--layers', 2, '--blocks', 1], ['--blocks', 3],
    ['--recipe', 'original'], ['--recipe', 'bop', '--final-gamma', 1e-4],
    ['--recipe', 'paper', '--final-alpha', .003, '--validation', 20],
    ['--evaluation', 'population', '--dropout', .1],
    ['--activation-quantizer', 'stochastic', '--input-dropout', .1,
     '--dropout', .1, '--step-scale', 'glorot'],
    ['--optimizer', 'shift-adamax', '--halve-every', 1, '--relu']])
@pytest.mark.parametrize('way', ['--autoload', '--resume'])
def test_a_run_that_goes_on_from_a_snapshot_is_the_uninterrupted_one(
        way, flags, capsys):
    # The recipe that stands last counts.
    flags = [*flags, '--noplot']
    train(*flags, '-e', 2, '-o', 'whole')
    train(*flags, '-e', 1, '-o', 'parts')
    snapshot, = snapshot_file.find('parts')
    train(*flags, '-e', 2, '-o', 'parts',
          *([way] if way == '--autoload' else [way, snapshot]))
    assert f'# going on from: {snapshot}' in capsys.readouterr().out
    assert log_of('parts') == log_of('whole')
    whole, parts = (snapshot_file.find(folder)[0]
                    for folder in ('whole', 'parts'))
    assert_same_arrays(arrays_of(parts), arrays_of(whole))


def test_bop_keeps_signs_alone():
    train('--recipe', 'bop', '-e', 2, '--noplot')
    arrays = snapshot_file.read('result/snapshot_iter_20')
    for k in range(1, 7):
        W = arrays[f'{snapshot_file.NET}l{k}/W']
        assert set(numpy.unique(W)) == {-1, 1}
    shares = [log_of()[-1][f'main/predictor/sign_changes{k}']
              for k in range(1, 7)]
    assert max(shares) > 0


@pytest.mark.parametrize('flags', [
    [], ['--recipe', 'original'], ['--evaluation', 'batch'],
    ['--evaluation', 'population'],
    ['--recipe', 'paper', '--validation', 20, '--batchsize', 20],
    ['--blocks', 3, '--layers', 2, '--weight-quantizer', 'linear:4']])
def test_a_snapshot_gives_the_accuracy_of_its_log(flags, capsys):
    train(*flags, '-e', 2, '--noplot')
    snapshot = snapshot_file.find('result')[0]
    entry = log_of()[-1]
    accuracy = entry.get('test/main/accuracy',
                         entry['validation/main/accuracy'])
    out = predict(capsys, snapshot, '--data', 'data')
    assert f'{100 * accuracy:.2f}' in percent(out)


def test_a_snapshot_has_a_report_a_summary_and_answers(capsys):
    Image = pytest.importorskip('PIL.Image')
    train('-e', 1, '--noplot')
    out = predict(capsys, 'result/snapshot_iter_10', '--data', 'data',
                  '--report', 'report')
    assert '126-4-4-8-8-12-3' in out
    assert {path.name for path in pathlib.Path('report').iterdir()} == {
        'confusion.png', 'mistakes.png', 'first_layer.png'}
    out = predict(capsys, 'result/snapshot_iter_10', '--summary')
    assert re.search(r'l3 +1 +\(-1, 8, 4, 7\) +288 +8 .* 8,064 +0 \|', out)
    train_mnist.main([*FLAGS, '--summary'])
    assert capsys.readouterr().out in out
    image = numpy.zeros(SHAPE, numpy.uint8)
    image[2:7, 3:11] = 200
    Image.fromarray(image).save('a.png')
    out = predict(capsys, 'result/snapshot_iter_10', '--image', 'a.png')
    assert re.search(r'(?m)^a.png +[012] +[\d.]+ %', out)


def test_a_net_is_not_tried_on_images_of_another_size(capsys):
    train('-e', 1, '--noplot')
    pathlib.Path('other').mkdir()
    write_random_data(pathlib.Path('other'), 20, 10, (9, 15))
    assert 'classes of 126 values, not the 3 of the 135 pixels' in refused(
        capsys, predict_mnist, 'result/snapshot_iter_10', '--data', 'other')
    assert 'in the file' in refused(
        capsys, train_mnist, *FLAGS, '--data', 'other', '--resume',
        'result/snapshot_iter_10', '-e', 2, '--noplot')


@pytest.mark.parametrize(('flags', 'message'), [
    (['--blocks', 4], '--blocks 4 leaves nothing of images of 9 x 14 pixels, '
     'whose height and width each block halves: 3 at most'),
    (['--channels', 0, '--blocks', 3], '--blocks is of convolutions'),
    (['--channels', -1], 'must be at least 0, got -1'),
    (['--channels', 9999], 'must be at most 4096, got 9999'),
    (['--blocks', 0], 'must be at least 1, got 0')])
@pytest.mark.parametrize('more', [[], ['--summary']])
def test_bad_arguments_are_refused(flags, more, message, capsys):
    assert message in refused(
        capsys, train_mnist, *FLAGS, '--noplot', *flags, *more)
    assert not pathlib.Path('result').exists()


@pytest.mark.parametrize(('flags', 'message'), [
    (['--channels', 5], 'channels is 4 in the file, 5 here|in the file'),
    (['--blocks', 1], 'in the file'),
    (['--channels', 0], 'in the file')])
def test_a_snapshot_of_other_convolutions_is_refused(flags, message, capsys):
    train('-e', 1, '--noplot')
    assert re.search(message, refused(
        capsys, train_mnist, *FLAGS, *flags, '-e', 2, '--noplot', '--resume',
        'result/snapshot_iter_10'))


def change_snapshot(settings=(), **arrays):
    """Writes a changed copy of a run's snapshot; returns its name."""
    with numpy.load('result/snapshot_iter_10') as npz:
        changed = {name: npz[name] for name in npz.files if name.startswith(
            (snapshot_file.NET, snapshot_file.SETTINGS))}
    values = json.loads(changed[snapshot_file.SETTINGS].tobytes())
    for name, value in dict(settings).items():
        if value is None:
            del values[name]
        else:
            values[name] = value
    changed[snapshot_file.SETTINGS] = numpy.frombuffer(
        json.dumps(values).encode(), numpy.uint8)
    for name, array in arrays.items():
        changed[snapshot_file.NET + name.replace('_', '/')] = array
    with open('bad', 'wb') as f:
        numpy.savez(f, **changed)
    return 'bad'


def images(*shape):
    return {'images': {'shape': list(shape), 'classes': list('012'),
                       'preparation': 'plain'}}


@pytest.mark.parametrize(('change', 'message'), [
    ({'l1_W': numpy.zeros((4, 1, 3, 3))}, 'dtype float64, expected float32'),
    ({'l1_W': numpy.zeros((4, 3, 3), 'f')}, 'expected 2 or 4 axes'),
    ({'l1_W': numpy.zeros((4, 1, 5, 5), 'f')}, r'not \(4, 1, 3, 3\)|l1/W'),
    ({'l1_W': numpy.zeros((4, 9), 'f')}, r'not \(4, 1, 3, 3\)|l[12]/W'),
    ({'l2_W': numpy.zeros((5, 4, 3, 3), 'f')}, 'the layers are|l2/[Wb]'),
    ({'l6_W': numpy.zeros((3, 12, 3, 3), 'f')}, r'not \(3, 12\)|l6/W'),
    ({'settings': {'channels': 0}}, ''),
    ({'settings': {'channels': 4000}}, ''),
    ({'settings': {'channels': 10 ** 9}}, 'must be at most 4096'),
    ({'settings': {'blocks': 1}}, ''),
    ({'settings': {'blocks': 15}}, ''),
    ({'settings': images(9, 18)}, ''),
    ({'settings': images(1, 126)}, ''),
    ({'settings': images(32768, 32768)}, ''),
    ({'settings': images(0, 5)}, 'images: shape is'),
    ({'settings': {'images': None}}, 'images'),
    ({'settings': {'images': 7}}, 'images: no dictionary')])
def test_a_damaged_snapshot_is_refused_with_one_line(change, message, capsys):
    train('-e', 1, '--noplot')
    name = change_snapshot(**change)
    predict(capsys, change_snapshot(), '--data', 'data')
    change_snapshot(**change)
    line = refused(capsys, predict_mnist, name, '--data', 'data')
    assert re.search(message, line)
    assert name in line
