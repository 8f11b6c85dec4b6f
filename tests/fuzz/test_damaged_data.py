"""MNIST's files, damaged, are refused by their checksum."""
import hypothesis
import pytest

from data import mnist
from tests.helpers.fuzzing import CASES, examples, flip, flips


@examples
@hypothesis.given(flips)
def test_a_file_of_mnist_with_flipped_bits_is_refused(
        tmp_path_factory, changes):
    CASES['data files'] += 1
    folder = tmp_path_factory.getbasetemp() / 'data' / 'pfnet/chainer/mnist'
    folder.mkdir(parents=True, exist_ok=True)
    with open(mnist.check('test.npz'), 'rb') as f:
        data = f.read()
    damaged = flip(data, changes)
    (folder / 'test.npz').write_bytes(damaged)
    if damaged == data:
        return
    with pytest.raises(ValueError, match='is damaged: its SHA-256'):
        mnist.read('test.npz', str(folder.parents[2]))


def test_a_file_of_mnist_that_is_cut_off_is_refused(tmp_path):
    folder = tmp_path / 'pfnet/chainer/mnist'
    folder.mkdir(parents=True)
    with open(mnist.check('test.npz'), 'rb') as f:
        data = f.read()
    for percent in range(100):
        CASES['data files'] += 1
        (folder / 'test.npz').write_bytes(data[:len(data) * percent // 100])
        with pytest.raises(ValueError, match='is damaged: its SHA-256'):
            mnist.read('test.npz', str(tmp_path))
