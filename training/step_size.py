import chainer_compat
import chainer
from chainer.training import extension

from training import priorities


class StepSize(extension.Extension):
    """Trainer extension that sets the optimizer's alpha for each epoch.

    Chainer's ExponentialShift keeps the value in the snapshots; this one
    computes it from the number of the epoch and has no state. The value of the
    epoch that ends is reported as ``alpha``.

    Args:
        alpha (callable): Takes the number of the epoch, the first is 0.

    """

    priority = priorities.STEP_SIZE

    def __init__(self, alpha):
        self._alpha = alpha

    def trigger(self, trainer):
        return trainer.updater.is_new_epoch

    def initialize(self, trainer):
        self._set(trainer)

    def __call__(self, trainer):
        optimizer = trainer.updater.get_optimizer('main')
        chainer.report({'alpha': optimizer.alpha})
        self._set(trainer)

    def _set(self, trainer):
        trainer.updater.get_optimizer('main').alpha = self._alpha(
            trainer.updater.epoch)
