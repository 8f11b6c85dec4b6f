"""The one form of a trained net that all exporters start from."""
import math
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


class Convolution(typing.NamedTuple):
    """Convolution whose channels give +1 where a sum reaches its threshold.

    There is a sum for each pixel, which the middle of its window is on, with
    zeros around the image; the inputs are pixels in [0, 255] in the first
    layer, +1 and -1 in the others. Pooling gives +1 where any sum of its
    window reaches its threshold.
    """

    weights: numpy.ndarray  # int8 +1 and -1 (channels, inputs, kh, kw)
    # int32 (channels,); in a first layer perhaps (kh, kw, channels), for each
    # class of the window's places, see kernels.packed_convolution
    thresholds: numpy.ndarray
    size: tuple  # height and width of an image
    pool: int  # height and width of the windows of pooling


class Canonical(typing.NamedTuple):
    """Net of integers, and of floats behind the last product alone.

    Attributes:
        hidden (list): All layers but the last, one or more: first those that
            are a :class:`Convolution`, then those that are :class:`Hidden`.
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
        """Size of an input, then the units or channels of each layer."""
        first = self.hidden[0]
        n_pixels = (math.prod(first.size) if isinstance(first, Convolution)
                    else first.weights.shape[1])
        return [n_pixels, *(len(layer.weights) for layer in self.hidden),
                len(self.weights)]

    @property
    def convolutions(self):
        """Those of the hidden layers that are convolutions."""
        return [layer for layer in self.hidden
                if isinstance(layer, Convolution)]

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
    weights and the threshold ``1 - t``: ``s < t`` is ``-s >= 1 - t``. A
    falling channel of a convolution, of whose sums pooling takes the greatest,
    is one whose sign turns round, and with it the next layer's weights for it.

    Args:
        net (PackedNet): Net on the CPU.
        accuracy (Accuracy or None): What it has shown, if known.

    Raises:
        InputError: If the net has no hidden layer, or a logit may be NaN.

    """
    if not net.hidden:
        raise InputError('a net without a hidden layer has no other format '
                         'than the packed one')
    hidden, turns = [], None  # +1 or -1 for each value that a layer gives
    for layer in net.hidden:
        signs = kernels.unpack_signs(layer.falling[None], layer.n_out)[0]
        falling = signs > 0
        if layer.is_convolution:
            weights = layer.signs
            if turns is not None:
                weights = weights * turns[:, None, None]
            hidden.append(Convolution(
                weights, layer.thresholds, layer.size, layer.pool))
            turns = -signs
            continue
        weights = _rows(layer, turns)
        hidden.append(Hidden(
            numpy.where(falling[:, None], -weights, weights),
            numpy.where(falling, 1 - layer.thresholds, layer.thresholds)))
        turns = None
    canonical = Canonical(
        hidden, _rows(net.output, turns), net.output.norm.vectors, net.images,
        accuracy)
    n = net.output.n_in
    sums = numpy.repeat(numpy.arange(-n, n + 1, 2)[:, None],
                        net.output.n_out, axis=1)
    with numpy.errstate(over='ignore', invalid='ignore'):
        if numpy.isnan(canonical.logits(sums)).any():
            raise InputError('the last batch normalization gives NaN: its '
                             'parameters are too large')
    return canonical


def _rows(layer, turns):
    """Returns a linear layer's weights, turned round for some channels."""
    weights = kernels.unpack_signs(layer.words, layer.n_in)
    if turns is None:
        return weights
    return weights * numpy.repeat(turns, layer.n_in // len(turns))
