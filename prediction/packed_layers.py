"""Layers of a net in bits, and how batch normalization becomes thresholds."""
import numpy

import kernels
from system.errors import InputError

# Pixels are trained as floats in [0, 1].
PIXEL_MAX = 255

# Default of chainer.links.BatchNormalization; a snapshot does not hold it.
EPS = 2e-5

# Beyond this a sum of +-1 is not exact in float32.
MAX_IN = 1 << 24


class HiddenLayer:
    """+-1 weights as words and a threshold for each unit.

    A unit gives +1 where its sum is at least the threshold or, where its bit
    of ``falling`` is set, less than it.

    Args:
        n_in (int): Size of an input vector.
        words (numpy.ndarray): uint64 words of shape (units, ceil(n_in / 64)).
        thresholds (numpy.ndarray): int32 thresholds, one a unit.
        falling (numpy.ndarray): uint64 words of shape (ceil(units / 64),).

    """

    is_convolution = False

    def __init__(self, n_in, words, thresholds, falling):
        self.n_in = n_in
        self.n_out = len(words)
        self.words = words
        self.thresholds = thresholds
        self.falling = falling

    @classmethod
    def from_arrays(cls, W, norm, pixels=None):
        """Returns the layer of trained weights and their normalization.

        Args:
            W (numpy.ndarray): Latent weights of shape (units, inputs).
            norm (BatchNorm): What becomes of the sums before the sign.
            pixels (str or None): What the inputs, pixels of 8 bits, were in
                training: ``unit``, in [0, 1], or ``symmetric``, in [-1, 1];
                ``None``: the inputs are +1 and -1.

        """
        bound = W.shape[1] * (PIXEL_MAX if pixels else 1)
        make_transform = {None: from_signs, 'unit': from_pixels,
                          'symmetric': _from_symmetric}[pixels]
        return cls(W.shape[1], kernels.pack_signs(W),
                   *norm.fold(bound, make_transform(W)))

    def to(self, xp):
        """Sends the layer's vectors to a device: ``numpy`` or ``cupy``."""
        self.thresholds = _send(xp, self.thresholds)
        self.falling = _send(xp, self.falling)

    @property
    def nbytes(self):
        return (self.words.nbytes + self.thresholds.nbytes
                + self.falling.nbytes)


class OutputLayer:
    """+-1 weights as words and a batch normalization.

    Args:
        n_in (int): Size of an input vector.
        words (numpy.ndarray): uint64 words of shape (units, ceil(n_in / 64)).
        norm (BatchNorm): What becomes of the sums.

    """

    is_convolution = False

    def __init__(self, n_in, words, norm):
        self.n_in = n_in
        self.n_out = len(words)
        self.words = words
        self.norm = norm

    def to(self, xp):
        """Sends the layer's vectors to a device: ``numpy`` or ``cupy``."""
        self.norm = BatchNorm(*(_send(xp, v) for v in self.norm.vectors))

    @property
    def nbytes(self):
        return self.words.nbytes + sum(v.nbytes for v in self.norm.vectors)


class BatchNorm:
    """Bias and batch normalization as Chainer evaluates them in float32.

    ``y = ((s + b) - mean) * inv_std * gamma + beta``, each operation rounded,
    in the order of chainer.functions.fixed_batch_normalization on the CPU.

    Args:
        b, mean, inv_std, gamma, beta (numpy.ndarray): float32 vectors.

    """

    def __init__(self, b, mean, inv_std, gamma, beta):
        self.vectors = b, mean, inv_std, gamma, beta

    @classmethod
    def from_arrays(cls, arrays, i, n_out, eps):
        """Returns the normalization of layer i of a trained net.

        Args:
            arrays (dict): See
                :meth:`prediction.packed_net.PackedNet.from_arrays`.
            i (int): Number of the layer, 1 is the first.
            n_out (int): Number of its units.
            eps (float): Chainer's ``eps``.

        """
        def get(name, default):
            return get_float32(arrays, name, (n_out,), default)

        b, mean, gamma, beta = (get(name, default) for name, default in (
            (f'l{i}/b', 0), (f'bn{i}/avg_mean', 0), (f'bn{i}/gamma', 1),
            (f'bn{i}/beta', 0)))
        if f'bn{i}/avg_inv_std' in arrays:
            # Shift-based: products with powers of two do not round, so that
            # their order does not matter.
            inv_std = get(f'bn{i}/avg_inv_std', 1)
            if not (inv_std > 0).all():
                raise InputError(f'bn{i}/avg_inv_std must be more than 0')
            return cls(b, mean, kernels.ap2(inv_std), kernels.ap2(gamma),
                       beta)
        var = get(f'bn{i}/avg_var', 1)
        if (var < 0).any():
            raise InputError(f'bn{i}/avg_var has negative values')
        # As in chainer/functions/normalization/batch_normalization.py.
        var = var + float(eps)
        if not (var > 0).all():
            raise InputError(f'bn{i}/avg_var + eps must be more than 0')
        inv_std = numpy.sqrt(numpy.reciprocal(var), dtype=var.dtype)
        if not numpy.isfinite(inv_std).all():
            raise InputError(f'bn{i}/avg_var is too small for float32')
        return cls(b, mean, inv_std, gamma, beta)

    def __call__(self, s):
        b, mean, inv_std, gamma, beta = self.vectors
        y = s + b
        y -= mean
        y *= inv_std
        y *= gamma
        y += beta
        return y

    def fold(self, bound, transform):
        """Returns thresholds for ``self(s) >= 0`` over the integers.

        Rounding keeps order: every operation above is monotone in s even as
        it is rounded, and so is the whole. So each unit changes its decision
        once at most, at a place that bisection finds.

        Args:
            bound (int): Greatest magnitude of the integers.
            transform (callable): Makes ``s`` of them.

        Returns:
            tuple: int32 thresholds and uint64 words of ``falling``; see
            :class:`HiddenLayer`.

        Raises:
            InputError: If a result is not a number.

        """
        n_out = len(self.vectors[0])

        def decide(sums):
            s = transform(sums)
            with numpy.errstate(over='ignore', invalid='ignore'):
                y = self(s.astype(numpy.float32))
            if numpy.isnan(y).any():
                raise InputError('batch normalization gives NaN: its '
                                 'parameters are too large')
            return y >= 0

        low = numpy.full(n_out, -bound, numpy.int64)
        high = numpy.full(n_out, bound, numpy.int64)
        at_low, at_high = decide(low), decide(high)
        changes = at_low != at_high
        # decide(low) is at_low and decide(high) is not, all the time.
        while (high - low > 1).any():
            middle = (low + high) // 2
            is_low = decide(middle) == at_low
            low = numpy.where(is_low, middle, low)
            high = numpy.where(is_low, high, middle)
        constant = numpy.where(at_high, -bound, bound + 1)
        thresholds = numpy.where(changes, high, constant)
        falling = kernels.pack_signs(
            numpy.where(changes & at_low, 1., -1.)[None])[0]
        return thresholds.astype(numpy.int32), falling


# Each of these returns a function: the sums that a layer had in training, for
# the integers that it has in bits.


def from_signs(W):
    return lambda sums: sums


def from_pixels(W):
    return lambda sums: sums / PIXEL_MAX


def _from_symmetric(W):
    # A pixel is 2 / 255 of its byte, less 1.
    offset = numpy.where(W >= 0, 1, -1).sum(axis=1)
    return lambda sums: (2 * sums - PIXEL_MAX * offset) / PIXEL_MAX


def get_float32(arrays, name, shape, default):
    """Returns an array of a trained net, checked.

    Args:
        arrays (dict): Arrays by name.
        name (str): Name of the array.
        shape (tuple or None): Its shape; ``None`` for weights, which may be of
            any size that a sum of +-1, or of +-pixels, is exact for.
        default (float or None): Value of an array that is missing.

    Raises:
        InputError: If the array is not float32, of another shape, or holds
            NaN or infinity.

    """
    if name not in arrays and default is not None:
        return numpy.full(shape, default, numpy.float32)
    array = numpy.asarray(arrays[name])
    if array.dtype != numpy.float32:
        raise InputError(f'{name} must be float32, got {array.dtype}')
    if shape is None:
        if array.ndim not in (2, 4) or not array.size:
            raise InputError(
                f'{name} must be of shape (units, inputs) or (channels, '
                f'inputs, height, width), got {array.shape}')
        largest = PIXEL_MAX if name == 'l1/W' else 1
        n_in = array[0].size
        if n_in >= MAX_IN or n_in * largest >= 1 << 31:
            raise InputError(f'{name} has too many inputs: {n_in}')
    elif array.shape != shape:
        raise InputError(f'{name} must be of shape {shape}, got '
                         f'{array.shape}')
    if not numpy.isfinite(array).all():
        raise InputError(f'{name} holds NaN or infinity')
    return array


def _send(xp, array):
    if xp is numpy and not isinstance(array, numpy.ndarray):
        return array.get()
    return xp.asarray(array)
