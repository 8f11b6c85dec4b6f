import chainer_compat
import chainer
from chainer import optimizer

import kernels
from optimizers.fused_adam import FusedAdam


class BopRule(optimizer.UpdateRule):
    """Update rule of the binary weights of :class:`Bop`."""

    is_elementwise = True

    def __init__(self, parent_hyperparam):
        super().__init__(parent_hyperparam=parent_hyperparam)

    def init_state(self, param):
        with chainer.using_device(param.device):
            self.state['m'] = param.device.xp.zeros_like(param.array)

    def update_core(self, param):
        if param.grad is None:
            return
        kernels.bop(param.array, param.grad, self.state['m'],
                    self.hyperparam.gamma, self.hyperparam.threshold)


class Bop(FusedAdam):
    """Binary optimizer: it flips weights, and there are no latent ones.

    .. math::
        m &= m + \\gamma (g - m), \\\\
        w &= -w \\text{ if } w m > \\tau \\text{ else } w.

    g is the gradient of the loss by a weight of +1 or -1; one that is neither
    becomes its sign in the first update, 0 and -0.0 become +1, NaN stays NaN.
    In print a weight flips where \\|m\\| exceeds the threshold and has its
    sign, which is the same.

    These are the weights ``W`` of the links whose quantizer ``is_binary``,
    such as :class:`~link_quantized_linear.QuantizedLinear`. All other
    parameters are updated by :class:`~optimizers.fused_adam.FusedAdam`.

    Args:
        gamma (float): Share of the new gradient in the average.
        threshold (float): The average beyond which a weight flips, tau.
        alpha (float): Adam's step size.
        kwargs: Adam's other arguments.

    Raises:
        ValueError: By ``setup``, if the model has no binary weights.

    Reference: K. Helwegen et al., "Latent Weights Do Not Exist: Rethinking
    Binarized Neural Network Optimization", arXiv:1906.02107, Algorithm 1. Its
    gamma of 1e-4 and threshold of 1e-8 are those for CIFAR-10.

    .. admonition:: Example

        >>> import chainer_compat
        >>> import chainer
        >>> from net import MnistMLP
        >>> from optimizers.bop import Bop
        >>> model = chainer.links.Classifier(MnistMLP(784, 1000, 10))
        >>> optimizer = Bop(gamma=1e-3, threshold=1e-6).setup(model)

    """

    def __init__(self, gamma=1e-4, threshold=1e-8, alpha=.001, **kwargs):
        super().__init__(alpha, **kwargs)
        self.hyperparam.gamma = gamma
        self.hyperparam.threshold = threshold

    gamma = optimizer.HyperparameterProxy('gamma')
    threshold = optimizer.HyperparameterProxy('threshold')

    def setup(self, link):
        super().setup(link)
        binary = [one for one in link.links() if getattr(
            getattr(one, 'quantizer', None), 'is_binary', False)]
        if not binary:
            raise ValueError('Bop needs a link whose quantizer is binary')
        for one in binary:
            one.W.update_rule = BopRule(self.hyperparam)
        return self
