import chainer_compat
import chainer
from chainer.training import extension

import kernels
from training import priorities


class SignChanges(extension.Extension):
    """Trainer extension that reports how many weights change their sign.

    At the end of an epoch it reports the share of each layer's latent weights
    whose sign is not that of the end of the epoch before, as
    ``sign_changes1`` and so on. It keeps one bit for a weight.

    Args:
        net (~net.MnistNet): Network, whose ``layers()`` has the weights.

    """

    priority = priorities.SIGN_CHANGES

    def __init__(self, net):
        self._net = net
        self._signs = None

    def trigger(self, trainer):
        return trainer.updater.is_new_epoch

    def initialize(self, trainer):
        if self._signs is None:
            self._signs = [kernels.pack_signs(W) for W in self._weights()]

    def __call__(self, trainer):
        signs = [kernels.pack_signs(W) for W in self._weights()]
        for k, (W, new, old) in enumerate(
                zip(self._weights(), signs, self._signs), 1):
            # Bits beyond the last weight are always equal.
            changed = kernels.unpack_signs(new ^ old, W.shape[1]) > 0
            chainer.report({f'sign_changes{k}': changed.sum() / W.size},
                           self._net)
        self._signs = signs

    def serialize(self, serializer):
        self.initialize(None)
        self._signs = [serializer(f'signs{k}', signs)
                       for k, signs in enumerate(self._signs, 1)]

    def _weights(self):
        return [link.W.array.reshape(len(link.W), -1)
                for link, _ in self._net.layers()]
