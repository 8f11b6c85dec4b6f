import chainer_compat  # noqa: F401  (before chainer)
import chainer
import numpy
import pytest
from chainer import iterators
from chainer.dataset import concat_examples

from training.array_dataset import ArrayDataset
from training.array_iterator import ArrayIterator, send_arrays


@pytest.fixture
def dataset(random):
    return ArrayDataset(random.uniform(0, 1, (10, 3)).astype(numpy.float32),
                        numpy.arange(10, dtype=numpy.int32))


def batches(iterator_class, dataset, steps, **kwargs):
    numpy.random.seed(0)
    iterator = iterator_class(dataset, **kwargs)
    for _ in range(steps):
        try:
            batch = next(iterator)
        except StopIteration:
            return
        if iterator_class is iterators.SerialIterator:
            batch = concat_examples(batch)
        yield batch, iterator.epoch, iterator.epoch_detail


@pytest.mark.parametrize('kwargs', [
    {'batch_size': 4}, {'batch_size': 5}, {'batch_size': 10},
    {'batch_size': 25}, {'batch_size': 4, 'shuffle': False},
    {'batch_size': 4, 'repeat': False, 'shuffle': False},
    {'batch_size': 20, 'repeat': False, 'shuffle': False}])
def test_batches_are_those_of_serial_iterator(dataset, kwargs):
    ours = list(batches(ArrayIterator, dataset, 9, **kwargs))
    chainers = list(batches(iterators.SerialIterator, dataset, 9, **kwargs))
    assert len(ours) == len(chainers) > 0
    for (batch, *state), (expected, *expected_state) in zip(ours, chainers):
        assert state == expected_state
        for array, expected_array in zip(batch, expected):
            assert array.dtype == expected_array.dtype
            numpy.testing.assert_array_equal(array, expected_array)


@pytest.mark.parametrize(('saver', 'loader'), [
    (ArrayIterator, iterators.SerialIterator),
    (iterators.SerialIterator, ArrayIterator)])
def test_snapshots_are_those_of_serial_iterator(
        saver, loader, dataset, tmp_path):
    path = str(tmp_path / 'iterator')
    saved = saver(dataset, 4)
    next(saved)
    chainer.serializers.save_npz(path, saved)
    loaded = loader(dataset, 4)
    chainer.serializers.load_npz(path, loaded)
    labels = [next(iterator) for iterator in (saved, loaded)]
    labels = [batch[1] if isinstance(batch, tuple)
              else numpy.array([t for _, t in batch]) for batch in labels]
    numpy.testing.assert_array_equal(*labels)


def test_a_batch_on_the_cpu_is_sent_without_a_copy(dataset):
    batch = next(ArrayIterator(dataset, 4))
    sent = send_arrays(batch, chainer.get_device('@numpy'))
    assert all(a is b for a, b in zip(sent, batch))


def test_a_dataset_on_the_cpu_is_sent_without_a_copy(dataset):
    sent = dataset.send(chainer.get_device('@numpy'))
    assert len(sent) == 10
    assert numpy.shares_memory(sent[:][0][0], dataset[:][0][0])


@pytest.mark.gpu
def test_batches_of_a_dataset_on_the_gpu_are_gathered_there(dataset):
    import cupy
    device = chainer.get_device('@cupy:0')
    x, t = next(ArrayIterator(dataset.send(device), 4, shuffle=False))
    assert isinstance(x, cupy.ndarray)
    assert cupy.asnumpy(t).tolist() == [0, 1, 2, 3]
