import functools
import itertools
import math

import chainer_compat
import chainer
import chainer.functions as F

import kernels
from layers.batch_normalization import BatchNormalization
from layers.blocks import (
    KSIZE, PAD, pool_sizes, size_behind, weight_shapes)
from layers.dropout import dropout
from layers.max_pooling_2d import max_pooling_2d
from layers.quantized_convolution_2d import QuantizedConvolution2D
from link_quantized_linear import QuantizedLinear
from qst import qst
from quantizers import Binary


class MnistNet(chainer.Chain):
    """Layers with quantized weights, and quantized activations between them.

    What :class:`MnistMLP` and :class:`MnistConvNet` have in common. Each layer
    is followed by max pooling, where it has one, by batch normalization and,
    but for the last one, by :func:`~qst.qst`. The first layer sees the pixels
    as they come, the last one gives real numbers. In training a net reports
    for each hidden layer the share of activations whose gradient the
    straight-through estimator blocks, as ``blocked1`` and so on; see
    ``Quantizer.count_blocked``.

    Args:
        weight_quantizer (callable): One of ``quantizers``, binary by default.
        activation_quantizer (callable): One of ``quantizers``, binary by
            default.
        gradient_quantizer (callable): One of ``quantizers``, for the upstream
            gradients of the layers' products, or ``None``.
        relu (bool): If ``True``, a relu follows each qst.
        input_dropout (float): Share of the inputs that is dropped in training.
        dropout (float): Share of the hidden activations that is dropped.
        initialW (:ref:`initializer <initializer>`): Initializer of the latent
            weights.
        normalization (callable): Makes a layer's batch normalization from the
            number of its units or channels.

    Attributes:
        image_shape (tuple of int or None): Height and width of the images
            that the first layer takes; ``None``: it takes vectors.
        pool_sizes (list of int): For each layer the height and the width of
            the pooling's window behind it, 1 where there is none.
        evaluation_batchsize (int): Images that are best evaluated at once.

    """

    image_shape = None
    # Large enough for the matrix products to run at full speed, small enough
    # for their results to stay in the cache.
    evaluation_batchsize = 1000

    def __init__(self, weight_quantizer=None, activation_quantizer=None,
                 gradient_quantizer=None, relu=False, input_dropout=0,
                 dropout=0, initialW=None, normalization=BatchNormalization):
        super().__init__()
        self.activation_quantizer = activation_quantizer or Binary()
        self.gradient_quantizer = gradient_quantizer
        self.relu = relu
        self.input_dropout = input_dropout
        self.dropout = dropout
        self.pool_sizes = []
        self._with_weights = {
            'initialW': initialW, 'quantizer': weight_quantizer,
            'gradient_quantizer': gradient_quantizer}
        self._normalization = normalization

    def _add_layer(self, make_link, n_in, n_out, pool_size=1):
        """Adds a layer, whose links are the next ``l1``, ``bn1`` and so on."""
        self.pool_sizes.append(pool_size)
        k = len(self.pool_sizes)
        with self.init_scope():
            setattr(self, f'l{k}',
                    make_link(n_in, n_out, **self._with_weights))
            setattr(self, f'bn{k}', self._normalization(n_out))

    def layers(self):
        """Returns the layers in their order, a list of pairs.

        Returns:
            list of tuple: Linear or convolutional link, and normalization, of
            each layer.

        """
        return [(self[f'l{k}'], self[f'bn{k}'])
                for k in range(1, len(self.pool_sizes) + 1)]

    def forward(self, x):
        n_hidden = len(self.pool_sizes) - 1
        if self.input_dropout:
            x = dropout(x, self.input_dropout)
        if self.image_shape:
            x = F.reshape(x, (len(x), 1, *self.image_shape))
        for k, ((link, normalization), pool_size) in enumerate(
                zip(self.layers(), self.pool_sizes), 1):
            x = link(x)  # -> (N, units), or (N, channels, height, width)
            if pool_size > 1:
                x = max_pooling_2d(x, pool_size)
            x = normalization(x)
            if k <= n_hidden:
                x = self._activate(x, k)
        return x  # (N, n_out)

    def _activate(self, x, k):
        """Returns the activations of hidden layer k, and reports on them."""
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
        return x


class MnistMLP(MnistNet):
    """Multi-layer perceptron with quantized weights and activations.

    Quantized linear layers, each followed by batch normalization and, but for
    the last one, by :func:`~qst.qst`: ``l1``, ``bn1``, qst, ``l2``, ``bn2``,
    qst, ``l3``, ``bn3``.

    Args:
        n_in (int or None): Size of an input vector; ``None``: taken from the
            first batch.
        n_units (int): Number of units of a hidden layer.
        n_out (int): Number of classes.
        n_hidden (int): Number of hidden layers.
        args, kwargs: Those of :class:`MnistNet`.

    """

    def __init__(self, n_in, n_units, n_out, n_hidden=2, *args, **kwargs):
        super().__init__(*args, **kwargs)
        sizes = [n_in] + [n_units] * n_hidden + [n_out]
        for n_before, n_behind in zip(sizes, sizes[1:]):
            self._add_layer(QuantizedLinear, n_before, n_behind)


class MnistConvNet(MnistNet):
    """Convolutional net with quantized weights and activations.

    Blocks of two convolutions, then quantized linear layers. A convolution has
    windows of 3 x 3 pixels and zeros around the image. Behind the second one
    of a block a max pooling of 2 x 2 pixels halves height and width; of an odd
    number of pixels the last is left out. Of one block and one hidden layer:
    ``l1``, ``bn1``, qst, ``l2``, pooling, ``bn2``, qst, ``l3``, ``bn3``, qst,
    ``l4``, ``bn4``. Channel by channel, row by row, the values of the last
    block are the inputs of the first linear layer.

    Args:
        image_shape (tuple of int): Height and width of an image; the net takes
            vectors of ``height * width`` pixels.
        channels (int): Number of channels of the first block. Each further
            one has twice as many as the one before.
        n_units (int): Number of units of a hidden linear layer.
        n_out (int): Number of classes.
        n_blocks (int): Number of blocks.
        n_hidden (int): Number of hidden linear layers.
        args, kwargs: Those of :class:`MnistNet`.

    Raises:
        ValueError: If the blocks leave nothing of an image.

    """

    evaluation_batchsize = 100

    def __init__(self, image_shape, channels, n_units, n_out, n_blocks=2,
                 n_hidden=1, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.image_shape = tuple(image_shape)
        if not math.prod(size_behind(n_blocks, image_shape)):
            raise ValueError('blocks must leave a pixel of an image, got '
                             f'{n_blocks} blocks for one of '
                             '{} x {} pixels'.format(*image_shape))
        convolution = functools.partial(
            QuantizedConvolution2D, ksize=KSIZE, pad=PAD)
        shapes = weight_shapes(channels, n_blocks, image_shape,
                               [n_units] * n_hidden + [n_out])
        for (n_behind, n_before, *ksize), pool_size in itertools.zip_longest(
                shapes, pool_sizes(channels, n_blocks), fillvalue=1):
            self._add_layer(convolution if ksize else QuantizedLinear,
                            n_before, n_behind, pool_size)
