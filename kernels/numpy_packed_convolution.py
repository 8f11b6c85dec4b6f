"""Convolutions of a packed net in NumPy: the reference for the others.

What a packed image is says ``packed_convolution``. These are no popcounts:
NumPy is quicker with float32 products of +1 and -1, which are as exact.
``numba_packed_convolution`` and ``cupy_packed_convolution`` hold the same
functions under the same names.
"""
import numpy

from kernels import numpy_bits, packed_convolution

# Images that are computed at once: their sums stay in the cache.
_IMAGES = 16


def sign_window(W, thresholds, falling, pool, size):
    """Returns a convolution of signs as :func:`convolve_signs` takes it.

    Args:
        W (numpy.ndarray): int8 weights +1 and -1 of shape (O, C, kh, kw), kh
            and kw odd.
        thresholds (numpy.ndarray): int32 thresholds of shape (O,), or
            (kh, kw, O) for each class of a row and of a column, see
            ``packed_convolution.border_classes``.
        falling (numpy.ndarray): uint64 words of shape (ceil(O / 64),).
        pool (int): Height and width of the windows of pooling, which do not
            overlap; what does not fill one is left out. 1: no pooling.
        size (tuple of int): Height and width of an image.

    Returns:
        object: Of a kind that the backend chooses.

    """
    return packed_convolution.window(
        numpy, W, thresholds, falling, pool, size)


def convolve_signs(a, window):
    """Returns the signs of a convolution of signs, all in bits.

    A channel's sum at a pixel is that of the products inside the image; the
    zeros around it add nothing. Where it is at least the threshold, the
    channel gives +1 or, where its bit of ``falling`` is set, -1; elsewhere the
    opposite. Pooling takes the greatest sum of its window. So the bits "sum is
    at least the threshold" are combined by OR; of a falling channel, whose
    signs are the opposite bits, that is the AND of signs.

    Args:
        a (numpy.ndarray): uint64 words of shape (N, height, width,
            ceil(C / 64)).
        window: What :func:`sign_window` has returned.

    Returns:
        numpy.ndarray: uint64 words of shape (N, height // pool, width // pool,
        ceil(O / 64)).

    """
    n_channels = window.W.shape[1]

    def unpack(a):
        signs = numpy_bits.unpack_signs(
            a.reshape(a[..., 0].size, a.shape[3]), n_channels)
        return signs.reshape(*a.shape[:3], n_channels).transpose(0, 3, 1, 2)

    return _convolve(a, unpack, window)


def pixel_window(W, thresholds, falling, pool, size):
    """Returns a convolution of pixels as :func:`convolve_pixels` takes it.

    Args:
        W (numpy.ndarray): int8 weights +1 and -1 of shape (O, 1, kh, kw).
        thresholds, falling, pool, size: See :func:`sign_window`.

    Returns:
        object: Of a kind that the backend chooses.

    """
    return packed_convolution.window(
        numpy, W, thresholds, falling, pool, size)


def convolve_pixels(x, window):
    """Returns the signs of a first layer's convolution in bits.

    Sums are those of pixels with the signs of their weights; all else is as in
    :func:`convolve_signs`.

    Args:
        x (numpy.ndarray): uint8 pixels of shape (N, height, width).
        window: What :func:`pixel_window` has returned.

    Returns:
        numpy.ndarray: uint64 words, see :func:`convolve_signs`.

    """
    return _convolve(x, lambda x: x[:, None], window)


def _pack(bits):
    return numpy_bits.pack_signs(bits.view(numpy.int8) - 1)


def _convolve(x, unpack, window):
    height, width = (n // window.pool for n in x.shape[1:3])
    y = numpy.empty((len(x), height, width, len(window.falling)),
                    numpy.uint64)
    for start in range(0, len(x), _IMAGES):
        images = unpack(x[start:start + _IMAGES]).astype(numpy.float32)
        y[start:start + _IMAGES] = packed_convolution.convolve(
            numpy, _pack, images, window)
    return y


def flatten_signs(a, n_channels):
    """Returns packed images as packed rows, pixel by pixel.

    Args:
        a (numpy.ndarray): uint64 words of shape (N, height, width,
            ceil(n_channels / 64)).
        n_channels (int): Number of channels.

    Returns:
        numpy.ndarray: uint64 words of shape (N, ceil(n / 64)) for the
        ``n = height * width * n_channels`` signs of an image, those of a
        pixel one after the other.

    """
    signs = numpy_bits.unpack_signs(
        a.reshape(a[..., 0].size, a.shape[3]), n_channels)
    n = a.shape[1] * a.shape[2] * n_channels
    return numpy_bits.pack_signs(signs.reshape(len(a), n))
