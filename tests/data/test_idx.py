import gzip
import itertools
import json
import os
import re
import struct
import subprocess
import sys

import chainer_compat
import numpy
import pytest

from data import idx
from data import mnist
from data import sets
from system.errors import InputError
from tests.helpers import ROOT, write_idx

NAMES = ['train-images-idx3-ubyte', 'train-labels-idx1-ubyte',
         't10k-images-idx3-ubyte', 't10k-labels-idx1-ubyte']


def small(n=30, shape=(4, 3), n_classes=3, seed=0):
    """Returns images and labels of every class."""
    random = numpy.random.RandomState(seed)
    labels = numpy.resize(numpy.arange(n_classes), n).astype(numpy.uint8)
    return random.randint(0, 256, (n, *shape)).astype(numpy.uint8), labels


@pytest.fixture
def folder(tmp_path):
    write_idx(tmp_path, small(30), small(9, seed=1))
    return tmp_path


@pytest.mark.parametrize('compressed', [False, True])
@pytest.mark.parametrize('separator', ['-', '.'])
def test_files_come_back_as_they_were_written(
        tmp_path, compressed, separator):
    train, test = small(30), small(9, seed=1)
    write_idx(tmp_path, train, test, compressed, separator)
    for actual, expected in zip(
            itertools.chain(*idx.read_both(str(tmp_path))),
            itertools.chain(train, test)):
        assert actual.dtype == numpy.uint8
        numpy.testing.assert_array_equal(actual, expected)


def test_mnist_as_idx_files_is_what_chainers_get_mnist_gives(tmp_path):
    write_idx(tmp_path, *((x.reshape(-1, 28, 28), y) for x, y in map(
        mnist.read, mnist.NAMES)))
    ours, expected = sets.read(str(tmp_path)), sets.read()
    assert ours.description == expected.description
    for part, expected_part in zip(ours.parts, expected.parts):
        for a, b in zip(part, expected_part):
            assert a.dtype == b.dtype
            numpy.testing.assert_array_equal(a, b)
    assert ours.sizes == expected.sizes == (784, 10)
    assert ours.checksum == expected.checksum


def test_sizes_are_those_of_header_and_labels(folder):
    image_set = sets.read(str(folder))
    assert image_set.sizes == (12, 3)
    assert [len(x) for x, _ in image_set.parts] == [30, 9]


def rewrite(path, change):
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize(('change', 'message'), [
    (lambda b: b[:-1], 'but holds'),
    (lambda b: b + b'\0', 'but holds more'),
    (lambda b: b[:3], 'ends within its header'),
    (lambda b: b'', 'ends within its header'),
    (lambda b: b[:2] + b'\x09' + b[3:], 'magic number is 0x000009'),
    (lambda b: b[:4] + b'\xff' * 4 + b[8:], 'says 4294967295'),
    (lambda b: b[:4] + struct.pack('>I', 8) + b[8:], 'but holds more'),
])
@pytest.mark.parametrize('compressed', [False, True])
def test_a_file_that_does_not_fit_its_header_is_named(
        folder, name, change, message, compressed):
    rewrite(folder / name, change)
    if compressed:
        (folder / f'{name}.gz').write_bytes(
            gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    with pytest.raises(ValueError, match=f'{name}.*{message}'):
        idx.read_both(str(folder))


@pytest.mark.parametrize('zero', [0, 1, 2])
def test_sizes_that_no_array_has_are_refused(folder, zero):
    sizes = [(1 << 32) - 1] * 3
    sizes[zero] = 0
    (folder / NAMES[0]).write_bytes(struct.pack('>4I', 0x803, *sizes))
    with pytest.raises(InputError, match=f'{NAMES[0]} says .*4294967295'):
        idx.read_both(str(folder))


@pytest.mark.parametrize(('change', 'message'), [
    (lambda b: b[:-9], 'is damaged or cut off'),
    (lambda b: b[:40] + bytes(~x & 255 for x in b[40:60]) + b[60:],
     'is damaged or cut off|cannot read'),
    (lambda b: b'plain' + b, 'cannot read'),
])
def test_a_damaged_gzip_file_is_named(folder, change, message):
    path = folder / NAMES[0]
    path.with_name(path.name + '.gz').write_bytes(
        change(gzip.compress(path.read_bytes())))
    path.unlink()
    with pytest.raises(ValueError, match=message):
        idx.read_both(str(folder))


@pytest.mark.parametrize('name', NAMES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f'holds neither {name} nor {name}.'):
        idx.read_both(str(folder))


def test_a_missing_folder_is_named(folder):
    with pytest.raises(ValueError, match='there is no folder nowhere'):
        idx.read_both('nowhere')


@pytest.mark.parametrize(('train', 'test', 'message'), [
    ((small(30)[0], small(29)[1]), small(9), 'holds 30 images, but .* 29'),
    (small(30), small(9, (3, 4)), 'of two sizes: 4 x 3 .* 3 x 4'),
    (small(30), small(9, n_classes=4), 'has the label 3, but .* is 2'),
    (small(30, n_classes=1), small(9, n_classes=1), 'one class'),
    (small(0), small(9), 'holds no pixels: its sizes are 0 x 4 x 3'),
    (small(30, (4, 0)), small(9, (4, 0)), 'holds no pixels'),
])
def test_files_that_do_not_belong_together_are_refused(
        tmp_path, train, test, message):
    write_idx(tmp_path, train, test)
    with pytest.raises(ValueError, match=message):
        idx.read_both(str(tmp_path))


def run(program, *arguments, cwd):
    return subprocess.run(
        [sys.executable, str(ROOT / program), *map(str, arguments)], cwd=cwd,
        capture_output=True, text=True, timeout=120, env=os.environ)


def test_the_programs_train_and_predict_on_any_data(folder):
    process = run('train_mnist.py', '--data', '.', '--unit', 8, '-b', 10,
                  '-e', 2, '--noplot', cwd=folder)
    assert process.stderr == ''
    assert process.stdout.splitlines()[1] == (
        '# data: ., 12 pixels, 3 classes')
    log = json.loads((folder / 'result' / 'log').read_text())
    process = run('predict_mnist.py', 'result/snapshot_iter_6', '--data', '.',
                  cwd=folder)
    assert process.stderr == ''
    assert ': 12-8-8-3, ' in process.stdout
    percents = re.findall(r'net: ([\d.]+) % of 9 test', process.stdout)
    assert percents == [
        f'{100 * log[-1]["validation/main/accuracy"]:.2f}'] * 2


@pytest.mark.parametrize(('program', 'arguments', 'message'), [
    ('train_mnist.py', ['--data', 'none'], 'there is no folder none'),
    ('train_mnist.py', ['--data', '.', '--batchsize', '31'],
     '--batchsize must be at most 30'),
    ('train_mnist.py', ['--data', '.', '--size', '20'],
     '--size is for folders of pictures, . holds IDX files'),
    ('train_mnist.py', ['--plain', '--summary'],
     '--plain says how --data is read'),
])
def test_bad_arguments_are_refused_in_one_line(
        folder, program, arguments, message):
    process = run(program, *arguments, cwd=folder)
    assert process.returncode == 2
    line, = process.stderr.splitlines()
    assert message in line


def test_a_net_of_another_size_is_refused(folder):
    run('train_mnist.py', '--data', '.', '--unit', 8, '-b', 10, '-e', 1,
        '--noplot', cwd=folder)
    process = run('predict_mnist.py', 'result/snapshot_iter_3', cwd=folder)
    assert process.returncode == 2
    assert process.stderr.strip().endswith(
        'makes 3 classes of 12 values, not the 10 of the 784 pixels of MNIST')


def test_the_summary_has_the_sizes_of_the_data(folder):
    process = run('train_mnist.py', '--data', '.', '--unit', 8, '--summary',
                  cwd=folder)
    assert '(-1, 3)' in process.stdout
    assert process.stderr == ''
