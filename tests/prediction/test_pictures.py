"""--image: files and folders, bad ones among them, for people and programs."""
import csv
import io
import json
import os
import subprocess
import sys

import numpy
import pytest

import predict_mnist
from data.description import DIGITS, Description
from prediction import pictures
from prediction.packed_net import PackedNet
from tests.helpers import ROOT
from tests.helpers.nets import random_arrays

Image = pytest.importorskip('PIL.Image', reason='needs Pillow')

NAMES = 'a, "b"', 'Ähre', "it's"


@pytest.fixture(autouse=True)
def _inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def net():
    net = PackedNet.from_arrays(
        random_arrays((30, 17, 3)),
        images=Description((6, 5), NAMES, 'plain', 230))
    net.save('net.npz')
    return net


@pytest.fixture
def folder(random):
    """A folder of 5 pictures; returns their pixels by path."""
    os.makedirs('in/deep')
    found = {}
    for i in range(5):
        path = f'in/{i}.png' if i < 3 else f'in/deep/{i}.bmp'
        found[path] = random.randint(0, 256, (6, 5)).astype(numpy.uint8)
        Image.fromarray(found[path]).save(path)
    with open('in/notes.txt', 'w') as f:
        f.write('a text')
    return found


def run(capsys, *arguments, code=None):
    """Runs the program; returns what is on stdout and stderr."""
    arguments = ['net.npz', '--image', *arguments]
    if code is None:
        predict_mnist.main(arguments)
    else:
        with pytest.raises(SystemExit, match=f'^{code}$'):
            predict_mnist.main(arguments)
    return capsys.readouterr()


def expected(net, folder):
    """The right probabilities, of the levels turned round."""
    return net.probabilities(numpy.stack(
        [255 - image.ravel() for image in folder.values()]))


def test_json_is_right_to_the_last_bit(net, folder, capsys):
    out, _ = run(capsys, 'in', '--format', 'json')
    results = json.loads(out)
    p = expected(net, folder)
    assert [one['file'] for one in results] == list(folder)
    for one, row in zip(results, p):
        assert list(one) == ['file', 'class', 'name', 'probabilities']
        assert list(one['probabilities']) == list(NAMES)
        numpy.testing.assert_array_equal(
            numpy.float32(list(one['probabilities'].values())), row)
        assert one['class'] == row.argmax()
        assert one['name'] == NAMES[row.argmax()]
    assert len({one['class'] for one in results}) > 1
    assert out.isascii()
    assert len(out.splitlines()) == 7


def test_csv_is_right_to_the_last_bit(net, folder, capsys):
    out, _ = run(capsys, 'in', '--format', 'csv')
    header, *rows = csv.reader(io.StringIO(out))
    assert header == ['file', 'class', 'name',
                      *(f'probability of {name}' for name in NAMES)]
    p = expected(net, folder)
    assert [row[0] for row in rows] == list(folder)
    assert [int(row[1]) for row in rows] == p.argmax(axis=1).tolist()
    assert [row[2] for row in rows] == [NAMES[i] for i in p.argmax(axis=1)]
    numpy.testing.assert_array_equal(
        numpy.float32([row[3:] for row in rows]), p)


def test_text_says_names(net, folder, capsys):
    out, _ = run(capsys, 'in/0.png', 'in/deep')
    rows = expected(net, folder)[[0, 3, 4]]
    for line, p, path in zip(out.splitlines(), rows, [
            'in/0.png     ', 'in/deep/3.bmp', 'in/deep/4.bmp']):
        first, second = numpy.argsort(-p)[:2]
        assert line == (
            f'{path}  {NAMES[first]:6}  {100 * p[first]:5.1f} %   '
            f'(then {NAMES[second]}, {100 * p[second]:.1f} %)')


@pytest.mark.parametrize('kind', pictures.FORMATS)
def test_a_bad_picture_is_one_line_and_the_others_go_on(
        net, folder, capsys, kind):
    with open('in/1.png', 'wb') as f:
        f.write(b'no picture')
    os.mkdir('empty')
    out, err = run(capsys, 'empty', 'in/0.png', 'gone.png', 'in', '--format',
                   kind, code=2)
    assert [line.partition(': error: ')[2] for line in err.splitlines()
            if 'doubtful' not in line] == [
        'empty holds no pictures',
        'cannot read gone.png: No such file or directory',
        'in/1.png is no picture that Pillow can read']
    found = {'text': lambda: [line.split()[0] for line in out.splitlines()],
             'json': lambda: [one['file'] for one in json.loads(out)],
             'csv': lambda: [row[0] for row in
                             csv.reader(io.StringIO(out))][1:]}[kind]()
    assert found == ['in/0.png', 'in/0.png', 'in/2.png', 'in/deep/3.bmp',
                     'in/deep/4.bmp']


@pytest.mark.parametrize(('kind', 'text'), [
    ('json', '[]\n'), ('text', ''),
    ('csv', 'file,class,name,"probability of a, ""b""",probability of Ähre,'
            "probability of it's\n")])
def test_nothing_is_a_valid_document_too(net, capsys, kind, text):
    out, err = run(capsys, 'gone.png', '--format', kind, code=2)
    assert out == text
    assert err.count('\n') == 1


@pytest.mark.parametrize('kind', ['json', 'csv'])
def test_names_of_files_that_are_no_text_and_strange_ones(
        net, folder, kind):
    names = [b'\xff.png', 'ü, "x"\n.png'.encode()]
    for name in names:
        os.link('in/0.png', name)
    process = subprocess.run(
        [sys.executable, os.fsencode(ROOT / 'predict_mnist.py'), b'net.npz',
         b'--format', kind.encode(), b'--image', *names],
        capture_output=True, timeout=60,
        env={**os.environ, 'PYTHONIOENCODING': 'utf-8'})
    assert process.returncode == 0, process.stderr
    text = process.stdout.decode()
    found = ([one['file'] for one in json.loads(text)] if kind == 'json' else
             [row[0] for row in csv.reader(io.StringIO(text, newline=''))][1:])
    assert found == ['\\xff.png', 'ü, "x"\n.png']


def test_pictures_are_printed_as_they_come(net, folder, capsys, monkeypatch):
    monkeypatch.setattr(pictures, '_BATCHSIZE', 2)
    seen, sizes = [], []

    def probabilities(pixels):
        sizes.append(len(pixels))
        return numpy.full((len(pixels), 3), 1 / 3, 'f')

    paths, n_bad = pictures.find(['in'], None)
    assert (paths, n_bad) == (list(folder), 0)
    assert pictures.classify(
        [*paths[:3], 'gone', *paths[3:]], net.images, probabilities,
        lambda path, p: seen.append((path, len(sizes))), str, None) == 1
    assert sizes == [2, 1, 2]
    assert seen == list(zip(paths, [1, 1, 2, 3, 3]))


@pytest.mark.parametrize('kind', pictures.FORMATS)
def test_pillow_that_is_missing_is_one_line(
        net, folder, capsys, kind, monkeypatch):
    monkeypatch.setitem(sys.modules, 'PIL', None)
    monkeypatch.setitem(sys.modules, 'PIL.Image', None)
    out, err = run(capsys, 'in', '--format', kind, code=2)
    assert out == ''
    assert err == ('predict_mnist.py: error: pictures need Pillow, which '
                   'comes with Matplotlib: pip install pillow\n')


@pytest.mark.parametrize('arguments', [
    ['--format', 'json'], ['--format', 'csv', '--image', 'x', '--report', 'r'],
    ['--format', 'csv', '--image', 'x', '--export', 'e.npz']])
def test_formats_without_pictures_or_with_more_are_refused(
        net, capsys, arguments):
    with pytest.raises(SystemExit, match='2'):
        predict_mnist.main(['net.npz', *arguments])
    out, err = capsys.readouterr()
    assert out == ''
    assert 'is for what --image prints' in err
    assert err.count('\n') == 1


def test_digits_need_no_test_images(folder, capsys, monkeypatch):
    PackedNet.from_arrays(random_arrays((784, 9, 10)), images=DIGITS).save(
        'net.npz')
    monkeypatch.setattr(predict_mnist, 'check_data', None)
    page = numpy.full((50, 50), 255, numpy.uint8)
    page[10:40, 22:28] = 0
    Image.fromarray(page).save('one.png')
    out, err = run(capsys, 'one.png')
    assert out.startswith('one.png  ')
    assert err == ''


def test_a_net_of_one_class_has_no_second(capsys):
    PackedNet.from_arrays(
        random_arrays((4, 3, 1)),
        images=Description((2, 2), ('a',), 'plain')).save('net.npz')
    Image.new('L', (2, 2)).save('a.png')
    out, _ = run(capsys, 'a.png')
    assert out == 'a.png  a  100.0 %\n'
