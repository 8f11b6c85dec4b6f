import chainer_compat
import chainer
from chainer import backend
from chainer import iterators
from chainer.iterators import ShuffleOrderSampler
from chainer.iterators import _statemachine
import numpy


class ArrayIterator(iterators.SerialIterator):
    """Iterator over arrays that gathers a batch without a loop in Python.

    :class:`chainer.iterators.SerialIterator`, with the same order for the same
    random state and the same snapshots, but a batch is a tuple of arrays
    rather than a list of tuples; :func:`send_arrays` is the converter for it.

    Args:
        dataset (~training.array_dataset.ArrayDataset): The examples, e.g.
            (x, t). Where its arrays lie on a GPU, the batches are gathered
            there.
        batch_size (int): Number of examples in a batch.
        repeat (bool): If ``True``, it loops over the examples for ever.
        shuffle (bool): If ``True``, the examples are shuffled in each epoch.
            ``None``: they are, unless there is an ``order_sampler``.
        order_sampler (callable): Makes the order of an epoch's examples from
            that of the last one and the position in it; see Chainer's.
        least (int): Number of examples that a last batch has at least; fewer
            belong to the batch before it. Without ``repeat`` alone.

    Raises:
        TypeError: If ``dataset`` is not made of arrays.
        ValueError: If there are both ``shuffle`` and ``order_sampler``.

    """

    def __init__(self, dataset, batch_size, repeat=True, shuffle=None,
                 order_sampler=None, least=1):
        if not hasattr(dataset, 'arrays'):
            raise TypeError('dataset must be an ArrayDataset, got '
                            f"{type(dataset).__name__}; Chainer's "
                            'SerialIterator takes others')
        self._least = least
        super().__init__(dataset, batch_size, repeat, shuffle, order_sampler)

    def __next__(self):
        self._previous_epoch_detail = self.epoch_detail
        n, left = self.batch_size, len(self.dataset) - self.current_position
        if not self.repeat and left - n < self._least:
            n = left
        self._state, indices = _statemachine.iterator_statemachine(
            self._state, n, self.repeat, self.order_sampler,
            len(self.dataset))
        if indices is None:
            raise StopIteration
        arrays = self.dataset.arrays
        indices = backend.get_array_module(*arrays).asarray(indices)
        return tuple(array[indices] for array in arrays)

    next = __next__

    def serialize(self, serializer):
        super().serialize(serializer)
        order = self._state.order
        n = len(self.dataset if order is None else order)
        if not 0 <= self.current_position < max(n, 1) or (
                order is not None and not self._is_sound(order)):
            raise ValueError('the order of the examples is damaged')

    def _is_sound(self, order):
        every = range(len(self.dataset))
        if isinstance(self.order_sampler, ShuffleOrderSampler):
            return numpy.array_equal(numpy.sort(order), every)
        # A sampler of the user's may leave examples out and repeat others.
        return numpy.isin(order, every).all()


@chainer.dataset.converter()
def send_arrays(batch, device):
    """Sends a batch of an :class:`ArrayIterator` to the device, if any."""
    return batch if device is None else device.send(batch)
