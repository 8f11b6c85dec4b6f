import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer

from link_batch_normalization import BatchNormalization
from link_quantized_linear import QuantizedLinear
from qst import qst


class MnistMLP(chainer.Chain):
    """Multi-layer perceptron with binarized weights and activations.

    Three quantized linear layers, each followed by batch normalization; the
    first two then by :func:`~qst.qst`. The first layer sees the pixels as they
    come, the last one gives real numbers.

    Args:
        n_in (int or None): Size of an input vector; ``None``: taken from the
            first batch.
        n_units (int): Number of units of a hidden layer.
        n_out (int): Number of classes.

    """

    def __init__(self, n_in, n_units, n_out):
        super().__init__()
        with self.init_scope():
            self.l1 = QuantizedLinear(n_in, n_units)
            self.bn1 = BatchNormalization(n_units)
            self.l2 = QuantizedLinear(n_units, n_units)
            self.bn2 = BatchNormalization(n_units)
            self.l3 = QuantizedLinear(n_units, n_out)
            self.bn3 = BatchNormalization(n_out)

    def forward(self, x):
        h = qst(self.bn1(self.l1(x)))  # (N, n_in) -> (N, n_units)
        h = qst(self.bn2(self.l2(h)))
        return self.bn3(self.l3(h))  # (N, n_units) -> (N, n_out)
