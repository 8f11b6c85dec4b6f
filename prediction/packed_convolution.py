"""A convolution of a net in bits, and how its thresholds are found."""
import numpy

import kernels
from kernels.packed_convolution import (
    MAX_CHANNELS, MAX_KSIZE, rows_inside)
from prediction.packed_layers import PIXEL_MAX, from_pixels, from_signs


class ConvolutionLayer:
    """+-1 weights of a window as words and a threshold for each channel.

    Windows move by one pixel, with their middle on each pixel; around the
    image are zeros. Of its sums the greatest in each window of the pooling
    counts, which a channel compares with its threshold as a unit of a
    :class:`~prediction.packed_layers.HiddenLayer` does.

    Args:
        size (tuple of int): Height and width of an image.
        ksize (tuple of int): Height and width of the window, odd numbers.
        n_channels (int): Number of channels of an image.
        words (numpy.ndarray): uint64 words of shape
            (channels, ceil(n_in / 64)), of n_in weights in the order
            (n_channels, height, width).
        thresholds (numpy.ndarray): int32 thresholds, one a channel; or, of
            shape (height, width, channels), one for each class of the
            window's places as well, see
            ``kernels.packed_convolution.border_classes``.
        falling (numpy.ndarray): uint64 words of shape (ceil(channels / 64),).
        pool (int): Height and width of the windows of pooling; 1: none.

    Attributes:
        n_in (int): Number of values in a window.
        n_out (int): Number of channels of the output.
        out_size (tuple of int): Height and width of the output.

    """

    is_convolution = True

    def __init__(self, size, ksize, n_channels, words, thresholds, falling,
                 pool=1):
        self.size = tuple(size)
        self.ksize = tuple(ksize)
        self.n_channels = n_channels
        self.n_in = n_channels * ksize[0] * ksize[1]
        self.n_out = len(words)
        self.words = words
        self.thresholds = thresholds
        self.falling = falling
        self.pool = pool
        self.out_size = size[0] // pool, size[1] // pool

    @classmethod
    def from_arrays(cls, W, norm, size, pool=1, pixels=None):
        """Returns the layer of trained weights and their normalization.

        Args:
            W (numpy.ndarray): Latent weights of shape
                (channels, n_channels, height, width).
            norm (BatchNorm): What becomes of the sums before the sign.
            size (tuple of int): Height and width of an image.
            pool (int): Height and width of the windows of pooling.
            pixels (str or None): See
                :meth:`~prediction.packed_layers.HiddenLayer.from_arrays`.

        """
        rows = W.reshape(len(W), -1)
        bound = rows.shape[1] * (PIXEL_MAX if pixels else 1)
        if pixels == 'symmetric':
            thresholds, falling = _fold_by_class(W, norm, size, bound)
        else:
            thresholds, falling = norm.fold(
                bound, from_pixels(rows) if pixels else from_signs(rows))
        return cls(size, W.shape[2:], W.shape[1], kernels.pack_signs(rows),
                   thresholds, falling, pool)

    def to(self, xp):
        """Does nothing: a convolution's vectors are sent with its weights."""

    @property
    def signs(self):
        """Weights as int8 of shape (channels, n_channels, height, width)."""
        return kernels.unpack_signs(self.words, self.n_in).reshape(
            self.n_out, self.n_channels, *self.ksize)

    @property
    def nbytes(self):
        return (self.words.nbytes + self.thresholds.nbytes
                + self.falling.nbytes)


def is_window(ksize, n_channels):
    """Tells whether windows of this size can be packed, for so many channels.

    Args:
        ksize (tuple of int): Height and width of a window.
        n_channels (int): Number of channels of the output.

    """
    return n_channels <= MAX_CHANNELS and all(
        n % 2 and 1 <= n <= MAX_KSIZE for n in ksize)


def _fold_by_class(W, norm, size, bound):
    """Returns thresholds where pixels in [-1, 1] have zeros around them.

    A byte of 0 is -1 there, and what is around it 0; so the sums that belong
    to the same integer are others at the border than inside.
    """
    signs = numpy.where(W[:, 0] >= 0, 1, -1)
    kh, kw = signs.shape[1:]
    thresholds = numpy.empty((kh, kw, len(W)), numpy.int32)
    falling = numpy.zeros((kh, kw, -(-len(W) // 64)), numpy.uint64)
    for i, rows in enumerate(rows_inside(size[0], kh)):
        for j, columns in enumerate(rows_inside(size[1], kw)):
            offset = (signs * (rows[:, None] & columns)).sum(axis=(1, 2))
            thresholds[i, j], falling[i, j] = norm.fold(
                bound, lambda sums, offset=offset: (
                    2 * sums - PIXEL_MAX * offset) / PIXEL_MAX)
    # A channel may be constant at a border, and falling elsewhere: there
    # "never at least t" has to be "always less than 1 - t".
    everywhere = numpy.bitwise_or.reduce(falling, axis=(0, 1))
    differs = kernels.unpack_signs(
        (falling ^ everywhere).reshape(kh * kw, -1), len(W)) > 0
    differs = differs.reshape(kh, kw, len(W))
    return numpy.where(differs, 1 - thresholds, thresholds), everywhere
