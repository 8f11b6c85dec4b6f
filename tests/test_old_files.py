"""Files that earlier versions have written are read, and go on."""
import json
import pathlib
import shutil

import numpy
import pytest

import predict_mnist
import train_mnist
from prediction.packed_net import PackedNet
from recipes import choices
from tests.helpers import write_random_data

OLD = pathlib.Path(__file__).parent / 'old_files'

# Wrong predictions of 31, as the version that wrote the files printed them; of
# original 20, when the last image was a batch, with statistics, of its own.
WRONG = {'binarized': 23, 'original': 19, 'paper': 22, 'paper-shift': 18}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The small data set that the files are of."""
    (tmp_path / 'data').mkdir()
    write_random_data(tmp_path / 'data', 100, 31)
    monkeypatch.chdir(tmp_path)
    return 'data'


def test_there_is_a_file_of_each_kind():
    assert sorted(path.name for path in OLD.iterdir()) == sorted([
        *(f'{recipe}_snapshot' for recipe in WRONG),
        *(f'{recipe}_export.npz' for recipe in WRONG if recipe != 'original')])


@pytest.mark.parametrize('kind', ['snapshot', 'export.npz'])
@pytest.mark.parametrize('recipe', WRONG)
def test_an_old_file_predicts_as_ever(recipe, kind, data, capsys):
    path = OLD / f'{recipe}_{kind}'
    if not path.exists():
        assert (recipe, kind) == ('original', 'export.npz')
        return  # That net is not binary.
    predict_mnist.main([str(path), '--data', data])
    lines = [line for line in capsys.readouterr().out.splitlines()
             if 'test images right' in line]
    assert len(lines) == (2 if kind == 'snapshot' and recipe != 'original'
                          else 1)
    for line in lines:
        assert line.endswith(f'of 31 test images right, {WRONG[recipe]} wrong')


@pytest.mark.parametrize('recipe', WRONG)
def test_a_run_goes_on_from_an_old_snapshot(recipe, data, capsys):
    train_mnist.main([
        '--data', data, '--recipe', recipe, '-u', '9', '-b', '10', '-e', '3',
        '--validation', '20', '--noplot', '--gradient-quantizer', 'none',
        '--clip-timing', 'after',
        '--resume', str(OLD / f'{recipe}_snapshot')])
    assert '# going on from: ' in capsys.readouterr().out
    log = json.loads(pathlib.Path('result', 'log').read_text())
    assert [entry['iteration'] for entry in log] == [8, 16, 24]


def test_an_old_snapshot_in_the_folder_is_found_by_autoload(data, capsys):
    pathlib.Path('result').mkdir()
    shutil.copy(OLD / 'binarized_snapshot', 'result/snapshot_iter_16')
    train_mnist.main([
        '--data', data, '-u', '9', '-b', '10', '-e', '3', '--validation', '20',
        '--noplot', '--autoload'])
    out = capsys.readouterr().out
    assert '# going on from: result/snapshot_iter_16' in out


def test_the_settings_of_old_files_are_the_recipes(data):
    from system import snapshot_file
    from system.npz_reader import NpzReader
    for recipe in WRONG:
        with NpzReader(str(OLD / f'{recipe}_snapshot')) as npz:
            settings = snapshot_file.read_settings(npz)
        assert settings['recipe'] == recipe
        assert choices.check(settings) == {
            **choices.RECIPES[recipe], 'unit': 9, 'batchsize': 10, 'epoch': 2,
            'validation': 20,
            # The recipe original's, then.
            'gradient_quantizer': 'none', 'clip_timing': 'after'}


def test_an_old_export_has_its_weights():
    net = PackedNet.load(str(OLD / 'binarized_export.npz'))
    assert net.sizes == [30, 9, 9, 3]
    assert set(numpy.unique(net.weights(1))) == {-1, 1}
