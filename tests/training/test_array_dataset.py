import hashlib
import pathlib
import re
import shutil
import struct

import chainer_compat
import chainer
import numpy
import pytest

from data import mnist
from tests.helpers import ROOT
from training import array_dataset

DATA = ROOT / 'data'
FOLDER = pathlib.Path('pfnet', 'chainer', 'mnist')
IDX_FILES = {
    ('train', 'x'): 'train-images-idx3-ubyte',
    ('train', 'y'): 'train-labels-idx1-ubyte',
    ('test', 'x'): 't10k-images-idx3-ubyte',
    ('test', 'y'): 't10k-labels-idx1-ubyte',
}


def checksums():
    """Returns the table of data/README.md as a dictionary."""
    text = (DATA / 'README.md').read_text()
    return dict(re.findall(r'\| `([\w.-]+)` \| `([0-9a-f]{64})` \|', text))


@pytest.mark.parametrize(('part', 'key'), IDX_FILES)
def test_arrays_are_byte_for_byte_the_official_idx_files(part, key):
    with numpy.load(DATA / FOLDER / f'{part}.npz') as f:
        array = f[key]
    assert array.dtype == numpy.uint8
    n = len(array)
    header = (struct.pack('>4i', 2051, n, 28, 28) if key == 'x'
              else struct.pack('>2i', 2049, n))
    digest = hashlib.sha256(header + array.tobytes()).hexdigest()
    assert digest == checksums()[IDX_FILES[part, key]]


def test_checksums_of_the_files_are_those_of_the_readme():
    assert mnist._SHA256.items() <= checksums().items()


def test_the_examples_are_those_of_chainers_get_mnist():
    before = chainer.dataset.get_dataset_root()
    chainer.dataset.set_dataset_root(str(DATA))
    try:
        expected = chainer.datasets.get_mnist()
    finally:
        chainer.dataset.set_dataset_root(before)
    for ours, chainers in zip(array_dataset.get_mnist(), expected):
        for a, b in zip(ours.arrays, chainers._datasets):
            assert a.dtype == b.dtype
            numpy.testing.assert_array_equal(a, b)


def test_an_example_is_an_image_in_0_to_1_and_a_label():
    train, test = array_dataset.get_mnist()
    assert (len(train), len(test)) == (60000, 10000)
    x, t = train[0]
    assert x.shape == (784,)
    assert x.dtype == numpy.float32
    assert (x.min(), x.max()) == (0, 1)
    assert t == 5
    assert t.dtype == numpy.int32


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(DATA, tmp_path / 'data')
    return tmp_path / 'data'


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize('name', ['train.npz', 'test.npz'])
@pytest.mark.parametrize('damage', [flip_a_bit, truncate])
def test_a_damaged_file_is_named(copy, name, damage):
    damage(copy / FOLDER / name)
    with pytest.raises(ValueError, match=rf'{name} is damaged'):
        mnist.read(name, str(copy))


@pytest.mark.parametrize('name', ['train.npz', 'test.npz'])
def test_a_missing_file_is_named_and_nothing_is_downloaded(
        copy, name, monkeypatch):
    (copy / FOLDER / name).unlink()
    monkeypatch.setattr(chainer.datasets, 'get_mnist', None)
    with pytest.raises(ValueError, match=rf'cannot read .*{name}: No such'):
        mnist.read(name, str(copy))


def test_symmetric_images_are_in_minus_one_to_one():
    x = numpy.array([[0, .25, 1]], 'f')
    data = array_dataset.symmetric(
        array_dataset.ArrayDataset(x, numpy.zeros(1)))
    numpy.testing.assert_array_equal(data[0][0], [-1, -.5, 1])
    assert data[0][0].dtype == numpy.float32


def test_split_gives_the_first_examples_and_the_others():
    data = array_dataset.ArrayDataset(numpy.arange(5), numpy.arange(5) + 5)
    first, others = array_dataset.split(data, 3)
    assert list(first) == [(0, 5), (1, 6), (2, 7)]
    assert list(others) == [(3, 8), (4, 9)]


def test_a_part_that_is_no_array_is_refused():
    with pytest.raises(TypeError, match='is made of arrays, got list'):
        array_dataset.ArrayDataset(numpy.arange(2), [1, 2])


@pytest.mark.parametrize('arrays', [(), (numpy.ones(2), numpy.ones(3))])
def test_no_arrays_and_other_lengths_are_refused_as_by_tuple_dataset(arrays):
    messages = []
    for cls in array_dataset.ArrayDataset, chainer.datasets.TupleDataset:
        with pytest.raises(ValueError) as info:  # noqa: PT011 (Chainer's text)
            cls(*arrays)
        messages.append(str(info.value))
    assert messages[0] == messages[1]


def test_examples_are_those_of_tuple_dataset(random):
    arrays = random.standard_normal((5, 3)), numpy.arange(5)
    ours = array_dataset.ArrayDataset(*arrays)
    chainers = chainer.datasets.TupleDataset(*arrays)
    for index in 0, -1, slice(2), slice(0, 0), slice(None, None, -2):
        assert str(ours[index]) == str(chainers[index])
    with pytest.raises(IndexError):
        ours[5]
