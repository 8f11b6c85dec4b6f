import chainer_compat
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


@pytest.mark.parametrize(('batch_size', 'least', 'sizes'), [
    (3, 1, [3, 3, 3, 1]), (3, 2, [3, 3, 4]), (4, 2, [4, 4, 2]),
    (4, 3, [4, 6]), (9, 2, [10]), (10, 2, [10]), (25, 2, [10]),
    (5, 2, [5, 5])])
def test_a_last_batch_that_is_too_small_belongs_to_the_one_before(
        dataset, batch_size, least, sizes):
    iterator = ArrayIterator(dataset, batch_size, repeat=False, shuffle=False,
                             least=least)
    for _ in range(2):
        x = [batch[0] for batch in iterator]
        assert list(map(len, x)) == sizes
        numpy.testing.assert_array_equal(
            numpy.concatenate(x), dataset.arrays[0])
        iterator.reset()


@pytest.mark.parametrize('kwargs', [
    {'batch_size': 4}, {'batch_size': 5}, {'batch_size': 10},
    {'batch_size': 25}, {'batch_size': 4, 'shuffle': False},
    {'batch_size': 4, 'repeat': False, 'shuffle': False},
    {'batch_size': 20, 'repeat': False, 'shuffle': False},
    {'batch_size': 4, 'repeat': False}, {'batch_size': 4, 'shuffle': None},
    {'batch_size': 4, 'order_sampler': lambda order, _: order[::-1]},
    {'batch_size': 3, 'order_sampler': lambda order, _: numpy.repeat(
        order[::2], 2)[:len(order)]}])
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


def every_second_thrice(order, position):
    return numpy.repeat(numpy.arange(0, 10, 2), 3)


def test_a_sampler_of_ones_own_may_repeat_examples(dataset, tmp_path):
    saved, loaded = (
        ArrayIterator(dataset, 4, order_sampler=every_second_thrice)
        for _ in range(2))
    for _ in range(3):
        next(saved)
    path = str(tmp_path / 'iterator')
    chainer.serializers.save_npz(path, saved)
    chainer.serializers.load_npz(path, loaded)
    for iterator in saved, loaded:
        assert iterator.current_position == 12
        assert next(iterator)[1].tolist() == [8, 8, 8, 0]


@pytest.mark.parametrize(('sampler', 'key', 'value'), [
    (None, 'order', numpy.arange(10) // 2),
    (every_second_thrice, 'order', numpy.arange(15)),
    (every_second_thrice, 'order', numpy.arange(15) - 5),
    (every_second_thrice, 'current_position', 15),
    (None, 'current_position', 10), (None, 'current_position', -1)])
def test_an_order_that_is_none_is_refused(dataset, sampler, key, value):
    serializer = chainer.serializers.DictionarySerializer()
    serializer.save(ArrayIterator(dataset, 4, order_sampler=sampler))
    arrays = {**serializer.target, key: numpy.asarray(value)}
    with pytest.raises(ValueError, match='order of the examples is damaged'):
        chainer.serializers.NpzDeserializer(arrays).load(
            ArrayIterator(dataset, 4, order_sampler=sampler))


@pytest.mark.parametrize('examples', [
    [1, 2], chainer.datasets.TupleDataset([1, 2], [3, 4])])
def test_examples_that_are_no_arrays_are_refused(examples):
    with pytest.raises(TypeError, match='dataset must be an ArrayDataset'):
        ArrayIterator(examples, 2)


def test_two_orders_are_refused_as_by_serial_iterator(dataset):
    messages = []
    for cls in ArrayIterator, iterators.SerialIterator:
        with pytest.raises(ValueError, match='order_sampler') as info:
            cls(dataset, 2, shuffle=True, order_sampler=every_second_thrice)
        messages.append(str(info.value))
    assert messages[0] == messages[1]


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
