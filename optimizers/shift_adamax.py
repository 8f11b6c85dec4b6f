import chainer_compat
import chainer
from chainer import optimizer
import numpy

import kernels
from optimizers.fused_clip import FusedClip, FusedClipRule


class ShiftAdaMaxRule(FusedClipRule):
    """Update rule of :class:`ShiftAdaMax`."""

    is_elementwise = True

    def __init__(self, parent_hyperparam):
        super().__init__(parent_hyperparam=parent_hyperparam)

    def init_state(self, param):
        with chainer.using_device(param.device):
            for name in 'm', 'v':
                self.state[name] = param.device.xp.zeros_like(param.array)

    @property
    def step(self):
        """Size of the step, a power of two."""
        hp = self.hyperparam
        alpha = numpy.float64(hp.eta * hp.alpha / (1 - hp.beta1 ** self.t))
        return float(kernels.ap2(alpha[None])[0])

    def update_core(self, param):
        if param.grad is None:
            return
        hp = self.hyperparam
        kernels.shift_adamax(
            param.array, param.grad, self.state['m'], self.state['v'],
            self.step, hp.beta1, hp.beta2, **self.limits(param))


class ShiftAdaMax(FusedClip):
    """Shift-based AdaMax: the steps are products with powers of two.

    .. math::
        m &= \\beta_1 m + (1 - \\beta_1) g, \\\\
        v &= \\max(\\beta_2 v, |g|), \\\\
        \\theta &= \\theta - AP2(\\eta \\alpha / (1 - \\beta_1^t))
            \\, m \\, AP2(1 / v).

    :math:`AP2(x)` is the power of two next to x (``kernels.ap2``). Where v is
    0 no step is made. A :class:`~weight_clip.WeightClip` that is the first
    hook to run after the update is done in the same pass over memory.

    Args:
        alpha (float): Step size. The default is that of the authors' script
            for MNIST; in print it is 2^-10.
        beta1 (float): Decay rate of the first moment.
        beta2 (float): Decay rate of the infinity norm.
        eta (float): Factor of the step size, for that of one parameter:
            ``param.update_rule.hyperparam.eta``.

    Reference: Hubara et al., arXiv:1609.07061, the algorithm of
    shift-based AdaMax.

    .. admonition:: Example

        >>> import chainer_compat
        >>> import chainer
        >>> from net import MnistMLP
        >>> from optimizers.shift_adamax import ShiftAdaMax
        >>> from weight_clip import WeightClip
        >>> model = chainer.links.Classifier(MnistMLP(784, 1000, 10))
        >>> optimizer = ShiftAdaMax().setup(model)
        >>> optimizer.add_hook(WeightClip())

    """

    def __init__(self, alpha=2. ** -6, beta1=.9, beta2=.999, eta=1.):
        super().__init__()
        self.hyperparam.alpha = alpha
        self.hyperparam.beta1 = beta1
        self.hyperparam.beta2 = beta2
        self.hyperparam.eta = eta

    alpha = optimizer.HyperparameterProxy('alpha')
    beta1 = optimizer.HyperparameterProxy('beta1')
    beta2 = optimizer.HyperparameterProxy('beta2')
    eta = optimizer.HyperparameterProxy('eta')

    def create_update_rule(self):
        return ShiftAdaMaxRule(self.hyperparam)
