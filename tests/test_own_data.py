"""The programs on data of one's own, from the folder to the answer."""
import gzip
import json
import pathlib
import re
import shutil

import numpy
import pytest

import predict_mnist
import train_mnist
from data import mnist, sets
from prediction.packed_net import PackedNet
from tests.data.test_idx_names import LETTERS, write_set
from tests.helpers.nets import random_arrays
from tests.helpers.scripts import refused

Image = pytest.importorskip('PIL.Image', reason='needs Pillow')

FLAGS = ['-u', '12', '-b', '10', '-e', '2', '--noplot']
PLAIN = ['--data', 'shapes', '--plain', '--size', '9x7',
         '--test-share', '.25', '--split-seed', '3']


def shapes(folder, n=40):
    """Writes dark pictures on light ground, of lines that lie or stand."""
    random = numpy.random.RandomState(0)
    for i in range(n):
        page = random.randint(200, 256, (18, 14)).astype(numpy.uint8)
        at = random.randint(3, 11)
        name = ('lying', 'standing')[i % 2]
        if i % 2:
            page[2:16, at:at + 2] = 20
        else:
            page[at:at + 2, 2:12] = 20
        path = pathlib.Path(folder, name)
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(page).save(path / f'{i}.png')


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trained(capsys):
    """A folder of shapes, and a run on it; returns what it printed."""
    shapes('shapes')
    train_mnist.main([*PLAIN, *FLAGS])
    return capsys.readouterr().out


def log(name='validation/main/accuracy'):
    return json.loads(pathlib.Path('result', 'log').read_text())[-1][name]


def percent(text):
    return re.findall(r'net: ([\d.]+) % of ([\d,]+) test', text)


def test_a_run_says_what_it_reads_and_keeps_it(trained):
    assert trained.splitlines()[:4] == [
        '# data: reading 40 pictures in shapes',
        '# data: 30 of them to train with, 10 to test with: '
        '--test-share 0.25, --split-seed 3',
        'GPU: -1', '# data: shapes, 63 pixels, 2 classes']
    args = json.loads(pathlib.Path('result', 'args.json').read_text())
    background = args['images'].pop('background')
    assert 200 <= background <= 255
    assert args['images'] == {
        'shape': [9, 7], 'classes': ['lying', 'standing'],
        'preparation': 'plain',
        'reading': {'test_share': .25, 'split_seed': 3}}


def test_the_test_images_are_found_again_without_flags(trained, capsys):
    accuracy = f'{100 * log():.2f}'
    predict_mnist.main(['result/snapshot_iter_6', '--data', 'shapes',
                        '--export', 'net.npz', '--report', 'report'])
    out, err = capsys.readouterr()
    assert err == ''
    assert percent(out) == [(accuracy, '10')] * 2
    assert {path.name for path in pathlib.Path('report').iterdir()} == {
        'confusion.png', 'mistakes.png', 'first_layer.png'}
    # An exported net knows all that, too, and with another seed it warns.
    predict_mnist.main(['net.npz', '--data', 'shapes'])
    out, err = capsys.readouterr()
    assert (percent(out), err) == ([(accuracy, '10')], '')
    predict_mnist.main(['net.npz', '--data', 'shapes', '--split-seed', '4'])
    assert 'was trained on another data set' in capsys.readouterr().err


def test_an_export_needs_no_data_set(trained, capsys):
    predict_mnist.main(['result/snapshot_iter_6', '--export', 'net.npz'])
    out, err = capsys.readouterr()
    assert out.splitlines()[1:] == [
        'result/snapshot_iter_6 was not tried: --data names its data set']
    assert err == ''
    predict_mnist.main(['net.npz', '--data', 'shapes'])
    assert percent(capsys.readouterr().out)


def test_a_picture_of_the_data_set_gets_the_class_of_its_image(
        trained, capsys):
    predict_mnist.main(['result/snapshot_iter_6', '--data', 'shapes',
                        '--export', 'net.npz'])
    capsys.readouterr()
    predict_mnist.main(['net.npz', '--image', 'shapes', '--format', 'json'])
    out, err = capsys.readouterr()
    assert err == ''
    results = json.loads(out)
    assert len(results) == 40
    net = PackedNet.load('net.npz')
    image_set = sets.read('shapes', known=net.images)
    predicted = numpy.concatenate([
        net.predict(images) for images, _ in image_set.parts])
    assert sorted(one['class'] for one in results) == sorted(
        predicted.tolist())
    right = sum(one['name'] == one['file'].split('/')[1] for one in results)
    assert right == (predicted == numpy.concatenate(
        [labels for _, labels in image_set.parts])).sum()


def test_image_and_data_together_check_the_data(trained, capsys):
    image = 'shapes/lying/0.png'
    predict_mnist.main(['result/snapshot_iter_6', '--data', 'shapes',
                        '--image', image, '--format', 'csv'])
    out, err = capsys.readouterr()
    assert out.startswith('file,class,name,')
    assert out.count('\n') == 2
    assert 'reading 40 pictures' in err


def test_convolutions_learn_pictures_that_are_not_square(capsys):
    shapes('shapes')
    train_mnist.main([*PLAIN, *FLAGS, '--recipe', 'conv', '--channels', '5',
                      '-e', '20'])
    assert log('main/accuracy') > .8
    accuracy = log()
    assert '# channels: 5, blocks: 2' in capsys.readouterr().out
    predict_mnist.main(['result/snapshot_iter_60', '--data', 'shapes'])
    assert percent(capsys.readouterr().out)[-1] == (
        f'{100 * accuracy:.2f}', '10')
    assert '--blocks 3 leaves nothing of images of 9 x 7 pixels' in refused(
        capsys, train_mnist, *PLAIN, *FLAGS, '--recipe', 'conv', '--blocks',
        '3')


def test_a_run_does_not_go_on_with_other_flags(trained, capsys):
    go_on = ['--resume', 'result/snapshot_iter_6', *FLAGS, '-e', '3']
    assert 'in the file' in refused(
        capsys, train_mnist, *PLAIN[:-1], '4', *go_on)
    train_mnist.main([*PLAIN, *go_on])
    assert '# going on from: ' in capsys.readouterr().out


def test_other_classes_are_no_test_images(trained, capsys):
    shapes('others')
    pathlib.Path('others', 'lying').rename('others/falling')
    shutil.copy('others/standing/1.png', 'others/falling/one_more.png')
    line = refused(capsys, predict_mnist, 'result/snapshot_iter_6',
                   '--data', 'others')
    assert ('the classes of others are not those that '
            'result/snapshot_iter_6 was trained on: falling, not lying'
            in line)


def test_flags_without_data_are_refused(capsys):
    for program, arguments in (train_mnist, ['--noplot']), (
            train_mnist, ['--summary']):
        for flag in ['--plain'], ['--test-share', '.1'], ['--transposed']:
            assert f'{flag[0]} says how --data is read' in refused(
                capsys, program, *arguments, *flag)
    PackedNet.from_arrays(random_arrays((63, 5, 2))).save('net.npz')
    for more in [], ['--image', 'x.png']:
        assert '--plain says how --data is read' in refused(
            capsys, predict_mnist, 'net.npz', '--plain', *more)
    assert 'must be N or HEIGHTxWIDTH' in refused(
        capsys, train_mnist, '--size', '0')


def test_letters_are_named_and_stand_upright(capsys):
    write_set(pathlib.Path('gzip'), 'emnist-letters', 40, 20, shape=(28, 28))
    pathlib.Path('gzip', 'emnist-letters-mapping.txt').write_text(LETTERS)
    train_mnist.main(['--data', 'gzip/emnist-letters', '--transposed',
                      '--plain', *FLAGS])
    assert '# data: gzip/emnist-letters, 784 pixels, 4 classes' in (
        capsys.readouterr().out)
    predict_mnist.main(['result/snapshot_iter_8', '--data',
                        'gzip/emnist-letters', '--export', 'net.npz'])
    out, err = capsys.readouterr()
    assert err == ''
    assert percent(out)[0] == (f'{100 * log():.2f}', '20')
    # The pictures that people see of the images get the same answers.
    content = gzip.decompress(pathlib.Path(
        'gzip/emnist-letters-test-images-idx3-ubyte.gz').read_bytes())
    images = numpy.frombuffer(content, 'u1', offset=16).reshape(-1, 28, 28)
    pathlib.Path('pictures').mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image.T).save(f'pictures/{i:02}.png')
    predict_mnist.main(['net.npz', '--image', 'pictures', '--format', 'json'])
    results = json.loads(capsys.readouterr().out)
    net = PackedNet.load('net.npz')
    expected = net.predict(images.transpose(0, 2, 1).reshape(-1, 784))
    assert [one['class'] for one in results] == expected.tolist()
    assert [one['name'] for one in results] == [
        'ABCD'[label] for label in expected]


def test_digits_as_pictures_are_the_digits_of_mnist(capsys):
    """A net of pictures of digits is as good as one of the same images."""
    images, labels = (array[:600] for array in mnist.read('test.npz'))
    for i, (image, label) in enumerate(zip(images, labels)):
        folder = pathlib.Path('digits', str(label))
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.reshape(28, 28)).save(folder / f'{i}.png')
    train_mnist.main(['--data', 'digits', '--noplot', '-u', '50', '-b', '20',
                      '-e', '8'])
    assert log() > .7
    out = capsys.readouterr().out
    assert '784 pixels, 10 classes' in out
    newest = max(pathlib.Path('result').glob('snapshot_iter_*'),
                 key=lambda path: path.stat().st_mtime)
    predict_mnist.main([str(newest), '--data', 'digits'])
    out, err = capsys.readouterr()
    assert err == ''
    assert percent(out)[0][0] == f'{100 * log():.2f}'
