import chainer_compat  # noqa: F401  (makes Chainer importable)
from chainer.training import extension


class StepSize(extension.Extension):
    """Trainer extension that sets the optimizer's alpha for each epoch.

    Chainer's ExponentialShift keeps the value in the snapshots; this one
    computes it from the number of the epoch and has no state.

    Args:
        alpha (callable): Takes the number of the epoch, the first is 0.

    """

    def __init__(self, alpha):
        self._alpha = alpha

    def trigger(self, trainer):
        return trainer.updater.is_new_epoch

    def initialize(self, trainer):
        self(trainer)

    def __call__(self, trainer):
        trainer.updater.get_optimizer('main').alpha = self._alpha(
            trainer.updater.epoch)
