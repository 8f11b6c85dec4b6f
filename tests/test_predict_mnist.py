import json
import os
import re
import subprocess
import sys

import numpy
import pytest

import predict_mnist
from data import mnist
from recipes import choices
from tests.helpers import ROOT, scripts, write_random_data


def run(*args, code=0, program='predict_mnist.py'):
    """Runs the program as a person would; returns what it prints."""
    result = subprocess.run(
        [sys.executable, os.path.join(ROOT, program), *map(str, args)],
        capture_output=True, text=True, timeout=120)
    assert result.returncode == code, result.stderr
    return result.stderr if code else result.stdout


def refused(capsys, *args):
    """Returns the one line on stderr of a call that fails."""
    err = scripts.refused(capsys, predict_mnist, *args)
    assert err.startswith('predict_mnist.py: error: ')
    return err


def main(*args):
    predict_mnist.main([*map(str, args)])


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Folder of a small trained net's snapshot and its export."""
    folder = tmp_path_factory.mktemp('trained')
    run('-e', 1, '-u', 70, '-b', 200, '-o', folder, '--noplot',
        program='train_mnist.py')
    folder.joinpath('snapshot_iter_300').rename(folder / 'snapshot')
    folder.joinpath('first').write_text(
        run(folder / 'snapshot', '--export', folder / 'packed',
            '--report', folder / 'report'))
    return folder


def number(pattern, text):
    return float(re.search(pattern, text).group(1).replace(',', ''))


def test_a_snapshot_is_compared_with_chainer(trained):
    text = (trained / 'first').read_text()
    assert 'snapshot: 784-70-70-10' in text
    accuracy = number(r'packed net: ([\d.]+) % of 10,000', text)
    assert accuracy > 85
    assert abs(accuracy - number(r'Chainer net: ([\d.]+) %', text)) <= .02
    assert number(r'predictions that differ: (\d+)', text) <= 2
    assert number(r'packed net: ([\d,]+) images/s', text) > 0
    assert number(r'Chainer net: ([\d,]+) images/s', text) > 0
    size = os.path.getsize(trained / 'packed')
    assert number(r'exported: .*, ([\d,]+) bytes', text) == size
    assert number(r'\(([\d.]+) times as many\)', text) > 20


def test_an_export_gives_the_same_without_chainer(trained):
    code = '''
import sys
sys.modules.update(chainer=None, PIL=None, matplotlib=None)
import predict_mnist
predict_mnist.main()
'''
    text = subprocess.run(
        [sys.executable, '-c', code, str(trained / 'packed')], cwd=ROOT,
        capture_output=True, text=True, check=True, timeout=60).stdout
    assert 'packed file: 784-70-70-10' in text
    assert 'Chainer' not in text
    line = re.search('packed net: .* wrong', text).group()
    assert line in (trained / 'first').read_text()


def test_a_snapshot_is_packed_without_chainer(trained, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'chainer', None)
    for name in 'prediction.chainer_net', 'recipes.build', 'net':
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr('prediction.chainer_net', raising=False)
    main(trained / 'snapshot')
    out = capsys.readouterr().out
    assert 'Chainer net: not compared' in out
    assert re.search(r'packed net: [\d,]+ images/s', out)


def test_the_report_draws_three_pictures(trained):
    Image = pytest.importorskip('PIL.Image')
    for name in 'confusion', 'mistakes', 'first_layer':
        with Image.open(trained / 'report' / f'{name}.png') as image:
            assert min(image.size) > 500
            # Neither white nor of one colour.
            assert len(image.convert('L').getcolors()) > 20


def test_pictures_are_classified(trained, tmp_path, capsys):
    Image = pytest.importorskip('PIL.Image')
    images, labels = mnist.read('test.npz')
    paths = []
    for i in range(12):
        # Large, and dark on light: as a person would have them.
        picture = Image.fromarray(255 - images[i].reshape(28, 28))
        paths.append(tmp_path / f'{i}.png')
        picture.resize((300, 300), Image.Resampling.BICUBIC).save(paths[-1])
    main(trained / 'packed', '--image', *paths)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(paths)
    right = 0
    for path, label, line in zip(paths, labels, lines):
        match = re.match(
            r'(\S+) +(\d) +([\d.]+) % +\(then (\d), ([\d.]+) %\)$', line)
        assert match.group(1) == str(path)
        assert float(match.group(3)) >= float(match.group(5))
        right += int(match.group(2)) == label
    assert right >= 10


def test_the_summary_is_of_the_model(trained, capsys):
    for name in 'snapshot', 'packed':
        main(trained / name, '--summary')
        out = capsys.readouterr().out
        assert re.search(r'l2 .*\(-1, 70\) +4,900 +70', out)
        assert 'images' not in out


def test_the_program_fails_with_one_line(trained, tmp_path):
    err = run(tmp_path / 'missing', code=2)
    assert err == (f'predict_mnist.py: error: cannot read '
                   f'{tmp_path / "missing"}: No such file or directory\n')


def test_wrong_arguments_are_refused(trained, tmp_path, capsys):
    packed = trained / 'packed'
    assert 'required: MODEL' in refused(capsys)
    assert 'at least -1, got -2' in refused(capsys, packed, '--gpu', -2)
    if 'cupy' not in sys.modules:
        assert 'needs CuPy' in refused(capsys, packed, '--gpu', 99)
    assert '--summary stops before' in refused(
        capsys, packed, '--summary', '--report', tmp_path)
    a_file = tmp_path / 'file'
    a_file.write_text('no folder')
    assert 'cannot make the folder' in refused(
        capsys, packed, '--report', a_file)
    assert 'cannot write' in refused(
        capsys, packed, '--export', tmp_path / 'missing' / 'file')
    assert 'cannot write' in refused(capsys, packed, '--export', tmp_path)


def test_files_that_are_neither_are_refused(trained, tmp_path, capsys):
    bad = tmp_path / 'bad'
    bad.write_text('neither')
    assert 'no .npz file' in refused(capsys, bad)
    assert 'cannot read' in refused(capsys, tmp_path)
    with open(bad, 'wb') as f:
        numpy.savez(f, a=numpy.zeros(3))
    assert 'neither a snapshot' in refused(capsys, bad)
    assert 'no picture' in refused(
        capsys, trained / 'packed', '--image', trained / 'packed')
    for name in 'snapshot', 'packed':
        data = (trained / name).read_bytes()
        for length in 0, 1000, len(data) // 2, len(data) - 1:
            bad.write_bytes(data[:length])
            assert str(bad) in refused(capsys, bad)


def change_snapshot(trained, path, **changes):
    prefix = 'updater/model:main/predictor/'
    with numpy.load(trained / 'snapshot') as npz:
        arrays = {n: npz[n] for n in npz.files
                  if n.startswith((prefix, 'extensions/Settings'))}
    for name, a in changes.items():
        if name == 'settings':
            arrays['extensions/Settings/json'] = a
        else:
            arrays[prefix + name.replace('_', '/', 1)] = a
    with open(path, 'wb') as f:
        numpy.savez(f, **arrays)


def as_bytes(text):
    return numpy.frombuffer(text.encode(), numpy.uint8)


def settings(**changes):
    return as_bytes(json.dumps(
        {**choices.RECIPES['binarized'], 'unit': 70, **changes}))


@pytest.mark.parametrize(('changes', 'match'), [
    ({'l1_W': numpy.zeros((70, 784))}, 'dtype float64, expected float32'),
    ({'l1_W': numpy.array(None)}, 'dtype object, expected float32'),
    ({'l1_W': numpy.zeros((70, 783), 'f')}, 'the net takes 783 pixels'),
    ({'l3_W': numpy.zeros((11, 70), 'f')}, r'of shape \(11,\)'),
    ({'bn2_gamma': numpy.full(70, numpy.nan, 'f')}, 'bn2/gamma holds NaN'),
    ({'bn2_avg_var': numpy.full(70, -1, 'f')}, 'avg_var has negative'),
    ({'l5_b': numpy.zeros(70, 'f')}, 'l5/b belongs to no layer'),
    ({'settings': numpy.zeros(3, 'u1')}, 'the settings cannot be read'),
    ({'settings': as_bytes('[1]')}, 'the settings cannot be read'),
    ({'settings': as_bytes('[' * 10 ** 6)}, 'the settings cannot be read'),
    ({'settings': as_bytes('{}')}, 'cannot be packed|there is no'),
    ({'settings': numpy.array(None)}, 'dtype object, expected uint8'),
    ({'settings': settings(normalization_eps='1')}, "_eps is '1'"),
    ({'settings': settings(layers=10 ** 9)}, 'must be at most 100'),
    ({'settings': settings(layers=7)}, 'not the weights of 8 layers'),
    ({'settings': settings(unit=10 ** 9)}, 'unit is 1000000000, the layers'),
    ({'settings': settings(weight_quantizer='log:99')}, 'bits must be from'),
    ({'settings': settings(relu='yes')}, "relu is 'yes'"),
    ({'settings': settings(loss='other')}, 'invalid choice'),
])
def test_a_snapshot_of_something_else_is_refused(
        trained, tmp_path, capsys, changes, match):
    change_snapshot(trained, tmp_path / 'bad', **changes)
    assert re.search(match, refused(capsys, tmp_path / 'bad'))


@pytest.mark.parametrize(('flags', 'is_packed'), [
    (['--recipe', 'original'], False),
    (['--recipe', 'paper', '--validation', 59000], True),
    (['--recipe', 'paper-shift', '--validation', 59000], True),
    (['--weight-quantizer', 'linear:4'], False),
    (['--activation-quantizer', 'none'], False),
])
def test_every_recipes_snapshot_gives_the_accuracy_of_its_log(
        tmp_path, flags, is_packed):
    run('-e', 1, '-u', 20, '-b', 500, '-o', tmp_path, '--noplot', *flags,
        program='train_mnist.py')
    snapshot, = tmp_path.glob('snapshot_iter_*')
    text = run(snapshot)
    entry, = json.loads((tmp_path / 'log').read_text())
    accuracy = entry.get('test/main/accuracy',
                         entry['validation/main/accuracy'])
    assert f'Chainer net: {100 * accuracy:.2f} %' in text
    assert ('packed net: ' in text) == is_packed
    assert ('not packed: ' in text) != is_packed
    if is_packed:
        assert number(r'predictions that differ: (\d+)', text) <= 2
    else:
        error = run(snapshot, '--export', tmp_path / 'packed', code=2)
        assert 'cannot be packed' in error
        assert not (tmp_path / 'packed').exists()


def test_pictures_and_test_images_have_statistics_of_their_own(
        tmp_path, capsys):
    # 19 batches of 3 and one of 4: a single image would have none.
    write_random_data(tmp_path, 50, 61, shape=(28, 28))
    image = pytest.importorskip('PIL.Image')
    image.fromarray(numpy.eye(28, dtype='u1') * 255).save(
        tmp_path / 'line.png')
    run('--data', tmp_path, '-e', 1, '-u', 20, '-b', 3, '--noplot', '--recipe',
        'binary-net', '-o', tmp_path / 'result', program='train_mnist.py')
    snapshot, = (tmp_path / 'result').glob('snapshot_iter_*')
    entry, = json.loads((tmp_path / 'result' / 'log').read_text())
    accuracy = f'{100 * entry["validation/main/accuracy"]:.2f} %'
    for flags in [], ['--image', tmp_path / 'line.png', '--report',
                      tmp_path / 'report']:
        main(snapshot, '--data', tmp_path, *flags)
        out, err = capsys.readouterr()
        assert f'Chainer net: {accuracy} of 61 test images right' in out
        assert 'UserWarning' not in err


def test_images_of_another_shape_are_refused(tmp_path, capsys):
    for name, shape in ('wide', (14, 56)), ('square', (28, 28)):
        (tmp_path / name).mkdir()
        write_random_data(tmp_path / name, 30, 20, shape=shape)
    run('--data', tmp_path / 'square', '-e', 1, '-u', 9, '-b', 10, '--noplot',
        '--channels', 2, '-o', tmp_path / 'result', program='train_mnist.py')
    snapshot, = (tmp_path / 'result').glob('snapshot_iter_*')
    capsys.readouterr()
    line = refused(capsys, snapshot, '--data', tmp_path / 'wide')
    assert 'takes images of 28 x 28 pixels, not the 14 x 56 of ' in line


def test_a_snapshot_may_be_compressed(trained, tmp_path, capsys):
    with numpy.load(trained / 'snapshot') as npz:
        arrays = {n: npz[n] for n in npz.files
                  if n.startswith(('updater/m', 'extensions/S'))}
    # As after a long training: every weight at its limit.
    name = 'updater/model:main/predictor/l2/W'
    arrays[name] = numpy.where(arrays[name] >= 0, 1, -1).astype('f')
    with open(tmp_path / 'compressed', 'wb') as f:
        numpy.savez_compressed(f, **arrays)
    main(tmp_path / 'compressed', '--summary')
    assert '(-1, 70)' in capsys.readouterr().out


def test_a_missing_data_file_is_named(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mnist.read, '__defaults__', (str(tmp_path),))
    err = refused(capsys, trained / 'packed')
    assert 'restore it from the repository' in err
