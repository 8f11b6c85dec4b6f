import chainer_compat
import chainer
from chainer.training import extension

from layers import batch_normalization
from training import priorities

# Batches that the statistics are averaged over, as far as there are so many.
N_BATCHES = 100


class PopulationStatistics(extension.Extension):
    """Trainer extension that takes batch normalization's statistics anew.

    At the end of each epoch, before the evaluation, on batches of the training
    set that are spread evenly over it, the same each time. The training does
    not depend on it.

    Args:
        net (~chainer.Link): Network, see
            :func:`~layers.batch_normalization.population_statistics`.
        batchsize (int): Number of images in a batch.

    """

    priority = priorities.POPULATION_STATISTICS

    def __init__(self, net, batchsize):
        self._net = net
        self._batchsize = batchsize

    def trigger(self, trainer):
        return trainer.updater.is_new_epoch

    def __call__(self, trainer):
        x = trainer.updater.get_iterator('main').dataset.arrays[0]
        n_batches = min(N_BATCHES, len(x) // self._batchsize)
        n = n_batches * self._batchsize
        x = x[::len(x) // n][:n]
        with batch_normalization.population_statistics(self._net), (
                chainer.using_config('train', False)), (
                chainer.no_backprop_mode()):
            for k in range(n_batches):
                self._net(x[k::n_batches])
