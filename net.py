import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer

from link_batch_normalization import BatchNormalization
from link_quantized_linear import QuantizedLinear
from qst import qst


class MnistMLP(chainer.Chain):
    """Multi-layer perceptron with binarized weights and activations.

    Quantized linear layers, each followed by batch normalization and, but for
    the last one, by :func:`~qst.qst`: ``l1``, ``bn1``, qst, ``l2``, ``bn2``,
    qst, ``l3``, ``bn3``. The first layer sees the pixels as they come, the
    last one gives real numbers.

    Args:
        n_in (int or None): Size of an input vector; ``None``: taken from the
            first batch.
        n_units (int): Number of units of a hidden layer.
        n_out (int): Number of classes.
        n_hidden (int): Number of hidden layers.

    """

    def __init__(self, n_in, n_units, n_out, n_hidden=2):
        super().__init__()
        self.n_hidden = n_hidden
        sizes = [n_in] + [n_units] * n_hidden + [n_out]
        with self.init_scope():
            for k in range(n_hidden + 1):
                setattr(self, f'l{k + 1}',
                        QuantizedLinear(sizes[k], sizes[k + 1]))
                setattr(self, f'bn{k + 1}', BatchNormalization(sizes[k + 1]))

    def forward(self, x):
        for k in range(1, self.n_hidden + 1):
            x = qst(self[f'bn{k}'](self[f'l{k}'](x)))  # -> (N, n_units)
        k = self.n_hidden + 1
        return self[f'bn{k}'](self[f'l{k}'](x))  # (N, n_units) -> (N, n_out)
