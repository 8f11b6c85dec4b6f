"""The layers of a net in bits, laid out in memory as the kernels take them."""
import numpy

import kernels


def make(xp, layers):
    """Returns what computes each layer of a packed net.

    Args:
        xp (module): ``numpy`` or ``cupy``, where the weights are sent.
        layers (list): The net's layers, all of them.

    Returns:
        list: For each layer an object whose ``sign(a)`` is the layer's
        activations for the activations of the layer before, or for pixels;
        that of the last one has ``dot(a)``, its sums.

    """
    products, before = [], None
    for layer in layers:
        if layer.is_convolution:
            products.append(_Convolution(xp, layer, before is None))
        elif before is None:
            products.append(_PixelProduct(xp, layer))
        elif before.is_convolution:
            products.append(_ImageProduct(xp, layer, before))
        else:
            products.append(_SignProduct(xp, layer, layer.words))
        before = layer
    return products


class _PixelProduct:
    """Linear layer that takes rows of pixels."""

    def __init__(self, xp, layer):
        self._layer = layer
        order = blocks_first(layer.n_in)
        self._order = xp.asarray(order)
        self._tiles = kernels.tile_pixel_weights(
            xp.asarray(reorder(layer.words, layer.n_in, order)))

    def dot(self, x):
        return kernels.bitplane_dot(
            x, self._order, self._tiles, self._layer.n_out)

    def sign(self, x):
        return kernels.bitplane_sign(
            x, self._order, self._tiles, self._layer.thresholds,
            self._layer.falling)


class _SignProduct:
    """Linear layer that takes rows of signs."""

    def __init__(self, xp, layer, words):
        self._layer = layer
        self._tiles = kernels.tile_weights(xp.asarray(words))

    def dot(self, a):
        return kernels.xnor_dot(
            a, self._tiles, self._layer.n_in, self._layer.n_out)

    def sign(self, a):
        return kernels.xnor_sign(
            a, self._tiles, self._layer.n_in, self._layer.thresholds,
            self._layer.falling)


class _ImageProduct(_SignProduct):
    """Linear layer that takes images of signs.

    Its weights are for one channel after the other, its inputs have one pixel
    after the other.
    """

    def __init__(self, xp, layer, before):
        self._n_channels = before.n_out
        signs = kernels.unpack_signs(layer.words, layer.n_in)
        pixels = signs.reshape(layer.n_out, before.n_out, -1)
        super().__init__(xp, layer, kernels.pack_signs(
            pixels.transpose(0, 2, 1).reshape(signs.shape)))

    def dot(self, a):
        return super().dot(kernels.flatten_signs(a, self._n_channels))

    def sign(self, a):
        return super().sign(kernels.flatten_signs(a, self._n_channels))


class _Convolution:
    """Convolution that takes images of pixels, as rows, or of signs."""

    def __init__(self, xp, layer, is_first):
        self._size = layer.size if is_first else None
        make_window = kernels.pixel_window if is_first else kernels.sign_window
        self._window = make_window(
            xp.asarray(layer.signs), xp.asarray(layer.thresholds),
            xp.asarray(layer.falling), layer.pool, layer.size)

    def sign(self, a):
        if self._size:
            return kernels.convolve_pixels(
                a.reshape(len(a), *self._size), self._window)
        return kernels.convolve_signs(a, self._window)


def blocks_first(n):
    """Returns an order of a square picture's runs of 4 pixels, by blocks.

    A digit's pixels are neighbours, and so are the black ones: 8 black pixels
    together make octets of zero, which the product skips. In blocks of 4 x 2
    there are more of them than in rows.
    """
    side = round(n ** .5)
    if side * side != n or side % 4:
        return numpy.arange(-(-n // 4))
    y, x = numpy.mgrid[:side, :side // 4].reshape(2, -1)
    return numpy.lexsort((y, x, y // 2))


def reorder(words, n, order):
    """Returns packed weights with their runs of 4 in this order."""
    signs = numpy.full((len(words), 4 * len(order)), -1, numpy.int8)
    signs[:, :n] = kernels.unpack_signs(words, n)
    runs = signs.reshape(len(words), len(order), 4)[:, order]
    return kernels.pack_signs(runs.reshape(signs.shape))
