"""Products of a packed net, checked against those of integers."""
import hypothesis
import hypothesis.strategies as st
import numpy

from kernels import numpy_bits

often = hypothesis.settings(max_examples=60, deadline=None, derandomize=True)

rows = st.integers(0, 9)
widths = st.one_of(st.integers(1, 200), st.sampled_from(
    [63, 64, 65, 128, 248, 249, 256, 784, 1000]))
units = st.one_of(st.integers(1, 150), st.sampled_from(
    [64, 128, 511, 512, 513, 600]))


class Case:
    """Random operands of the products, as plain integers and in bits.

    Args:
        n (int): Number of rows.
        n_in (int): Number of values in a row.
        n_out (int): Number of units.
        seed (int): Seed of the random numbers.

    """

    def __init__(self, n, n_in, n_out, seed):
        random = numpy.random.RandomState(seed)
        self.n_in, self.n_out = n_in, n_out
        self.a = random.choice([-1, 1], (n, n_in))
        self.w = random.choice([-1, 1], (n_out, n_in))
        # Zeros, so that octets are zero, and 255, so that sums are large.
        self.x = random.choice(
            [0, 0, 0, 1, 128, 255, 255], (n, n_in)).astype(numpy.uint8)
        self.thresholds = random.randint(
            -n_in // 2 - 1, n_in // 2 + 2, n_out).astype(numpy.int32)
        self.is_falling = random.rand(n_out) < .5
        self.falling = pack(self.is_falling[None])[0]
        self.order = random.permutation(-(-n_in // 4))
        self.words = numpy_bits.pack_signs(self.w)
        runs = numpy.full((n_out, 4 * len(self.order)), -1)
        runs[:, :n_in] = self.w
        runs = runs.reshape(n_out, len(self.order), 4)[:, self.order]
        self.pixel_words = numpy_bits.pack_signs(
            runs.reshape(n_out, 4 * len(self.order)))

    def signs(self, y):
        """Returns the signs in bits that units have for sums y."""
        return pack((y >= self.thresholds) ^ self.is_falling)

    def check(self, backend, xp=numpy):
        """Compares a backend's products with those of integers."""
        def get(array):
            return array.get() if hasattr(array, 'get') else array

        def same(actual, expected, dtype):
            actual = get(actual)
            assert actual.dtype == dtype
            numpy.testing.assert_array_equal(actual, expected)

        send = xp.asarray
        y = self.a @ self.w.T
        words = send(numpy_bits.pack_signs(self.a))
        tiles = backend.tile_weights(send(self.words))
        thresholds, falling = send(self.thresholds), send(self.falling)
        same(backend.xnor_dot(words, tiles, self.n_in, self.n_out), y,
             numpy.int32)
        same(backend.xnor_sign(words, tiles, self.n_in, thresholds, falling),
             self.signs(y), numpy.uint64)

        y = self.x.astype(numpy.int64) @ self.w.T
        x, order = send(self.x), send(self.order)
        tiles = backend.tile_pixel_weights(send(self.pixel_words))
        same(backend.bitplane_dot(x, order, tiles, self.n_out), y,
             numpy.int32)
        same(backend.bitplane_sign(x, order, tiles, thresholds, falling),
             self.signs(y), numpy.uint64)


def pack(bits):
    """Returns rows of booleans as words, packed one by one."""
    words = numpy.zeros((len(bits), -(-bits.shape[1] // 64)), numpy.uint64)
    for i, j in numpy.argwhere(bits):
        words[i, j // 64] |= numpy.uint64(1) << numpy.uint64(j % 64)
    return words
