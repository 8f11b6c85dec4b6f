import chainer_compat
from chainer import optimizers
from chainer.optimizers.adam import AdamRule
import numpy

import kernels
from optimizers.fused_clip import FusedClip, FusedClipRule


class FusedAdamRule(FusedClipRule, AdamRule):
    """Update rule of :class:`FusedAdam`."""

    def update_core_cpu(self, param):
        if not self._update_fused(param):
            super().update_core_cpu(param)

    def update_core_gpu(self, param):
        if not self._update_fused(param):
            super().update_core_gpu(param)

    def _update_fused(self, param):
        """Updates param unless it takes Chainer's code; returns whether."""
        hp = self.hyperparam
        if (param.grad is None
                or param.dtype not in (numpy.float32, numpy.float64)
                or not isinstance(param.array, param.device.xp.ndarray)
                or hp.amsgrad or hp.adabound or hp.weight_decay_rate != 0
                # An eps that underflows: Chainer's code complains.
                or (hp.eps != 0 and param.dtype.type(hp.eps) == 0)):
            return False
        kernels.adam(
            param.array, param.grad, self.state['m'], self.state['v'],
            self.alpha_t, hp.beta1, hp.beta2, hp.eps, hp.eta,
            **self.limits(param))
        return True


class FusedAdam(FusedClip, optimizers.Adam):
    """Adam that updates and clips each parameter in one pass over memory.

    :class:`chainer.optimizers.Adam` with the same arguments, state and
    snapshots; its results are equal to Chainer's within rounding. A
    :class:`~weight_clip.WeightClip` that is the first hook to run after the
    update is done in the same pass. ``amsgrad``, ``adabound``, a weight decay
    and float16 parameters are left to Chainer's code.

    After ``use_fp32_update()`` the clip is that of the float32 copy that
    Chainer keeps of a float16 parameter. With Chainer's Adam the hook clips
    the parameter alone, and the copy goes on outside of the interval.

    Reference: D. P. Kingma, J. Ba, "Adam: A Method for Stochastic
    Optimization", arXiv:1412.6980.

    .. admonition:: Example

        >>> import chainer_compat
        >>> import chainer
        >>> from net import MnistMLP
        >>> from optimizers.fused_adam import FusedAdam
        >>> from weight_clip import WeightClip
        >>> model = chainer.links.Classifier(MnistMLP(784, 1000, 10))
        >>> optimizer = FusedAdam().setup(model)
        >>> optimizer.add_hook(WeightClip())

    """

    def create_update_rule(self):
        return FusedAdamRule(self.hyperparam)
