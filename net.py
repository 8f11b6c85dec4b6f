import chainer_compat
import chainer
import chainer.functions as F

import kernels
from layers.batch_normalization import BatchNormalization
from layers.dropout import dropout
from link_quantized_linear import QuantizedLinear
from qst import qst
from quantizers import Binary


class MnistMLP(chainer.Chain):
    """Multi-layer perceptron with quantized weights and activations.

    Quantized linear layers, each followed by batch normalization and, but for
    the last one, by :func:`~qst.qst`: ``l1``, ``bn1``, qst, ``l2``, ``bn2``,
    qst, ``l3``, ``bn3``. The first layer sees the pixels as they come, the
    last one gives real numbers. In training it reports for each hidden layer
    the share of activations whose gradient the straight-through estimator
    blocks, as ``blocked1`` and so on; see ``Quantizer.count_blocked``.

    Args:
        n_in (int or None): Size of an input vector; ``None``: taken from the
            first batch.
        n_units (int): Number of units of a hidden layer.
        n_out (int): Number of classes.
        n_hidden (int): Number of hidden layers.
        weight_quantizer (callable): One of ``quantizers``, binary by default.
        activation_quantizer (callable): One of ``quantizers``, binary by
            default.
        gradient_quantizer (callable): One of ``quantizers``, for the upstream
            gradients of the linear layers' products, or ``None``.
        relu (bool): If ``True``, a relu follows each qst.
        input_dropout (float): Share of the inputs that is dropped in training.
        dropout (float): Share of the hidden activations that is dropped.
        initialW (:ref:`initializer <initializer>`): Initializer of the latent
            weights.
        normalization (callable): Makes a layer's batch normalization from its
            size.

    """

    def __init__(self, n_in, n_units, n_out, n_hidden=2,
                 weight_quantizer=None, activation_quantizer=None,
                 gradient_quantizer=None, relu=False, input_dropout=0,
                 dropout=0, initialW=None, normalization=BatchNormalization):
        super().__init__()
        self.n_hidden = n_hidden
        self.activation_quantizer = activation_quantizer or Binary()
        self.gradient_quantizer = gradient_quantizer
        self.relu = relu
        self.input_dropout = input_dropout
        self.dropout = dropout
        sizes = [n_in] + [n_units] * n_hidden + [n_out]
        with self.init_scope():
            for k in range(n_hidden + 1):
                setattr(self, f'l{k + 1}', QuantizedLinear(
                    sizes[k], sizes[k + 1], initialW=initialW,
                    quantizer=weight_quantizer,
                    gradient_quantizer=gradient_quantizer))
                setattr(self, f'bn{k + 1}', normalization(sizes[k + 1]))

    def layers(self):
        """Returns the layers in their order, a list of pairs.

        Returns:
            list of tuple: Linear link and normalization of each layer.

        """
        return [(self[f'l{k}'], self[f'bn{k}'])
                for k in range(1, self.n_hidden + 2)]

    def forward(self, x):
        *hidden, last = self.layers()
        if self.input_dropout:
            x = dropout(x, self.input_dropout)
        for k, (linear, normalization) in enumerate(hidden, 1):
            x = normalization(linear(x))  # -> (N, n_units)
            if chainer.config.train:
                count_blocked = getattr(self.activation_quantizer,
                                        'count_blocked', kernels.count_outside)
                chainer.report(
                    {f'blocked{k}': count_blocked(x.array) / x.size}, self)
            x = qst(x, self.activation_quantizer)
            if self.relu:
                x = F.relu(x)
            if self.dropout:
                x = dropout(x, self.dropout)
        linear, normalization = last
        return normalization(linear(x))  # (N, n_units) -> (N, n_out)
