"""predict_mnist.py packs and exports snapshots with convolutions."""
import json
import pathlib
import re

import numpy
import pytest

import predict_mnist
import train_mnist
from prediction import model_file
from prediction.packed_net import PackedNet
from system import snapshot_file
from tests.helpers import write_random_data
from tests.helpers.scripts import printed, refused

SHAPE = 9, 14


@pytest.fixture(scope='module', params=['unit', 'symmetric'])
def folder(request, tmp_path_factory):
    """Folder of a small data set and of a net's snapshot."""
    path = tmp_path_factory.mktemp('convolutions')
    (path / 'data').mkdir()
    write_random_data(path / 'data', 100, 33, SHAPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        train_mnist.main([
            '--data', 'data', '--recipe', 'conv', '--channels', '4', '-u',
            '12', '-b', '10', '-e', '1', '--noplot', '--input-range',
            request.param])
    return path


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


SNAPSHOT = 'result/snapshot_iter_10'


def predict(capsys, *arguments):
    return printed(capsys, predict_mnist, *arguments)


def test_a_snapshot_is_packed_and_compared_with_chainer(capsys):
    out = predict(capsys, SNAPSHOT, '--data', 'data')
    assert 'snapshot: 126-4-4-8-8-12-3' in out
    assert 'not packed' not in out
    # The first layer may round to the other side of a threshold.
    assert int(re.search(r'that differ: (\d+)', out)[1]) <= 1


def test_an_export_is_what_the_snapshot_is(capsys):
    out = predict(capsys, SNAPSHOT, '--data', 'data', '--export', 'net.npz')
    again = predict(capsys, 'net.npz', '--data', 'data')
    accuracy = re.search(r'packed net: .* right, \d+ wrong', out)[0]
    assert accuracy in again
    assert 'packed file: 126-4-4-8-8-12-3' in again
    assert (predict(capsys, 'net.npz', '--summary')
            == predict(capsys, SNAPSHOT, '--summary'))
    assert PackedNet.load('net.npz').images.shape == SHAPE


@pytest.mark.parametrize('name', ['net.c', 'net.onnx', 'net.qonnx.onnx'])
def test_other_formats_are_written(capsys, name):
    if name.endswith('.onnx'):
        pytest.importorskip('onnx')
    predict(capsys, SNAPSHOT, '--data', 'data', '--export', name)
    assert pathlib.Path(name).stat().st_size > 1000


def test_a_page_is_refused_in_a_line(capsys):
    line = refused(capsys, predict_mnist, SNAPSHOT, '--data', 'data',
                   '--export', 'net.html')
    assert line == (
        'predict_mnist.py: error: a page takes nets without convolutions')
    assert not pathlib.Path('net.html').exists()


def test_a_picture_is_classified_by_the_packed_file(capsys):
    Image = pytest.importorskip('PIL.Image')
    Image.fromarray(numpy.full(SHAPE, 90, numpy.uint8)).save('a.png')
    predict(capsys, SNAPSHOT, '--data', 'data', '--export', 'net.npz')
    answers = [predict(capsys, path, '--image', 'a.png').splitlines()[-1]
               for path in (SNAPSHOT, 'net.npz')]
    assert answers[0] == answers[1]


def change(path, **changes):
    """Writes the snapshot with other settings."""
    with numpy.load(SNAPSHOT, allow_pickle=False) as npz:
        arrays = dict(npz)
    settings = json.loads(arrays[snapshot_file.SETTINGS].tobytes())
    settings.update(changes)
    arrays[snapshot_file.SETTINGS] = numpy.frombuffer(
        json.dumps(settings).encode(), numpy.uint8)
    with open(path, 'wb') as f:
        numpy.savez(f, **arrays)
    return path


@pytest.mark.parametrize(('changes', 'message'), [
    ({'blocks': 3}, 'there are not the weights of 8 layers'),
    ({'blocks': 1}, 'not 8 names'),
    ({'layers': 2}, 'there are not the weights of 7 layers'),
    ({'images': None}, 'images'),
    ({'images': {'shape': [3, 42], 'classes': ['0', '1', '2'],
                 'preparation': 'plain'}}, 'nothing of an image'),
    ({'channels': 0, 'blocks': 2}, 'height and the width')])
def test_settings_of_another_net_are_refused(changes, message):
    with pytest.raises(ValueError, match=f'changed.*({message})'):
        model_file.read(change('changed', **changes))
