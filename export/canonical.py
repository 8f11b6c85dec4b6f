"""The one form of a trained net that all exporters start from."""
import typing

import numpy

import kernels
from system.errors import InputError


class Accuracy(typing.NamedTuple):
    """What a net has shown on the test images of a data set."""

    n_right: int
    n: int
    data: str  # name of the data set

    def __str__(self):
        return (f'{100 * self.n_right / self.n:.2f} % of the {self.n:,} test '
                f'images of {self.data} right')


class Hidden(typing.NamedTuple):
    """Hidden layer whose unit i gives +1 where ``s[i] >= thresholds[i]``.

    ``s = weights @ x``, of pixels in [0, 255] in the first layer, of +1 and -1
    in the others.
    """

    weights: numpy.ndarray  # int8 +1 and -1 (units, inputs)
    thresholds: numpy.ndarray  # int32 (units,), those beyond any s included


class Canonical(typing.NamedTuple):
    """Net of integers, and of floats behind the last product alone.

    Attributes:
        hidden (list of Hidden): All layers but the last, one or more.
        weights (numpy.ndarray): Last layer's int8 +1 and -1, (classes,
            inputs).
        norm (tuple of numpy.ndarray): float32 vectors b, mean, 1 / standard
            deviation, gamma and beta, of shape (classes,). The logits are
            ``((s + b) - mean) * inv_std * gamma + beta``, each operation
            rounded to float32, in this order.
        images (Description): What the images are, see
            :mod:`data.description`.
        accuracy (Accuracy or None): On the test images, if known.

    """

    hidden: list
    weights: numpy.ndarray
    norm: tuple
    images: object
    accuracy: object = None

    @property
    def sizes(self):
        """Size of an input vector, then the number of units of each layer."""
        return [self.hidden[0].weights.shape[1],
                *(len(layer.weights) for layer in self.hidden),
                len(self.weights)]

    def logits(self, sums):
        """Returns the logits of the last layer's sums.

        Args:
            sums (numpy.ndarray): Integers of shape (..., classes).

        Returns:
            numpy.ndarray: float32 array of this shape.

        """
        b, mean, inv_std, gamma, beta = self.norm
        return ((sums.astype(numpy.float32) + b) - mean) * inv_std * (
            gamma) + beta


def fold(net, accuracy=None):
    """Returns the canonical form of a packed net.

    A falling unit, which gives +1 where ``s < t``, is one with the opposite
    weights and the threshold ``1 - t``: ``s < t`` is ``-s >= 1 - t``.

    Args:
        net (PackedMLP): Net on the CPU.
        accuracy (Accuracy or None): What it has shown, if known.

    Raises:
        InputError: If the net has no hidden layer, or a logit may be NaN.

    """
    if not net.hidden:
        raise InputError('a net without a hidden layer has no other format '
                         'than the packed one')
    if net.image_shape:
        raise InputError('a net with convolutions has no other format than '
                         'the packed one')
    hidden = []
    for layer in net.hidden:
        falling = kernels.unpack_signs(layer.falling[None], layer.n_out)[0] > 0
        weights = kernels.unpack_signs(layer.words, layer.n_in)
        hidden.append(Hidden(
            numpy.where(falling[:, None], -weights, weights),
            numpy.where(falling, 1 - layer.thresholds, layer.thresholds)))
    canonical = Canonical(
        hidden, kernels.unpack_signs(net.output.words, net.output.n_in),
        net.output.norm.vectors, net.images, accuracy)
    n = net.output.n_in
    sums = numpy.repeat(numpy.arange(-n, n + 1, 2)[:, None],
                        net.output.n_out, axis=1)
    with numpy.errstate(over='ignore', invalid='ignore'):
        if numpy.isnan(canonical.logits(sums)).any():
            raise InputError('the last batch normalization gives NaN: its '
                             'parameters are too large')
    return canonical
