"""Convolutions of a packed net, checked against those of integers."""
import itertools

import numpy

from tests.helpers.packed_products import pack


class WindowCase:
    """Random operands of a convolution, as plain integers and in bits.

    Args:
        n (int): Number of images.
        size (tuple of int): Height and width.
        n_in, n_out (int): Numbers of channels.
        ksize (tuple of int): Height and width of a window.
        pool (int): Height and width of a window of pooling.
        by_class (bool): Whether each class of the border has its thresholds.
        seed (int): Seed of the random numbers.

    """

    def __init__(self, n, size, n_in, n_out, ksize=(3, 3), pool=1,
                 by_class=False, seed=0):
        random = numpy.random.RandomState(seed)
        self.size, self.pool, self.n_in = size, pool, n_in
        self.a = random.choice([-1, 1], (n, *size, n_in))
        # Zeros, so that windows are empty, and 255, so that sums are large.
        self.x = random.choice(
            [0, 0, 0, 1, 128, 255, 255], (n, *size)).astype(numpy.uint8)
        self.W = random.choice([-1, 1], (n_out, n_in, *ksize)).astype('i1')
        shape = (*ksize, n_out) if by_class else (n_out,)
        self.extent = int((n_in * ksize[0] * ksize[1]) ** .5) + 1
        self.thresholds = random.randint(
            -self.extent, self.extent + 1, shape).astype(numpy.int32)
        self.is_falling = random.rand(n_out) < .5
        self.falling = pack(self.is_falling[None])[0]

    def signs(self, images, W, thresholds):
        """Returns the signs in bits, computed pixel by pixel."""
        n, (height, width), pool = len(images), self.size, self.pool
        n_out, _, kh, kw = W.shape
        padded = numpy.pad(images.astype(int), (
            (0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2), (0, 0)))
        decided = numpy.empty((n, height, width, n_out), bool)
        rows = W.transpose(0, 2, 3, 1).reshape(n_out, -1).astype(int)
        sums = numpy.empty((n, height, width, n_out), int)
        for y, x in itertools.product(range(height), range(width)):
            window = padded[:, y:y + kh, x:x + kw].reshape(
                n, rows.shape[1])
            sums[:, y, x] = window @ rows.T
            t = thresholds
            if t.ndim == 3:
                t = t[_class(y, height, kh), _class(x, width, kw)]
            decided[:, y, x] = (sums[:, y, x] >= t) ^ self.is_falling
        height, width = height // pool, width // pool
        pooled = numpy.empty((n, height, width, n_out), bool)
        for y, x in itertools.product(range(height), range(width)):
            window = decided[:, y * pool:(y + 1) * pool,
                             x * pool:(x + 1) * pool]
            # OR of a rising channel, AND of a falling one.
            pooled[:, y, x] = numpy.where(
                self.is_falling, window.all(axis=(1, 2)),
                window.any(axis=(1, 2)))
        return packed_images(pooled)

    def check(self, backend, xp=numpy):
        """Compares a backend's convolutions with those of integers."""
        def same(actual, expected):
            actual = actual.get() if hasattr(actual, 'get') else actual
            assert actual.dtype == numpy.uint64
            numpy.testing.assert_array_equal(actual, expected)

        send = xp.asarray

        def window(make, W, thresholds):
            return make(send(W), send(thresholds), send(self.falling),
                        self.pool, self.size)

        same(backend.convolve_signs(
            send(packed_images(self.a > 0)),
            window(backend.sign_window, self.W, self.thresholds)),
            self.signs(self.a, self.W, self.thresholds))

        W, thresholds = self.W[:, :1], 100 * self.thresholds
        # No sum reaches one more than the greatest, all reach the least.
        bound = 255 * W[0].size
        thresholds = thresholds.clip(-bound, bound + 1)
        same(backend.convolve_pixels(
            send(self.x), window(backend.pixel_window, W, thresholds)),
            self.signs(self.x[..., None], W, thresholds))

        rows = self.a.reshape(
            len(self.a), self.size[0] * self.size[1] * self.n_in)
        same(backend.flatten_signs(send(packed_images(self.a > 0)), self.n_in),
             pack(rows > 0))


def _class(y, n, k):
    """Returns the class of a row y of n for a window of k rows."""
    pad = k // 2
    return min(y, pad) + max(y - (n - 1 - pad), 0)


def packed_images(bits):
    """Returns booleans (N, height, width, C) as words of channels."""
    n, height, width, n_channels = bits.shape
    words = pack(bits.reshape(n * height * width, n_channels))
    return words.reshape(n, height, width, -(-n_channels // 64))
