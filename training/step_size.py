import chainer_compat
import chainer
from chainer.training import extension

from training import priorities


class StepSize(extension.Extension):
    """Trainer extension that sets the optimizer's step sizes for each epoch.

    Chainer's ExponentialShift keeps a value in the snapshots; this one
    computes them from the number of the epoch and has no state. Those of the
    epoch that ends are reported by their names, such as ``alpha``.

    Args:
        sizes (callable): Takes the number of the epoch, the first is 0, and
            returns the values of alpha and of any other hyperparameters by
            their names.

    """

    priority = priorities.STEP_SIZE

    def __init__(self, sizes):
        self._sizes = sizes

    def trigger(self, trainer):
        return trainer.updater.is_new_epoch

    def initialize(self, trainer):
        self._set(trainer)

    def __call__(self, trainer):
        optimizer = trainer.updater.get_optimizer('main')
        sizes = self._sizes(trainer.updater.epoch)
        chainer.report({name: getattr(optimizer, name) for name in sizes})
        self._set(trainer)

    def _set(self, trainer):
        optimizer = trainer.updater.get_optimizer('main')
        for name, value in self._sizes(trainer.updater.epoch).items():
            setattr(optimizer, name, value)
