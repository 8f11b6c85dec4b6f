import numpy
import pytest

from kernels import numpy_kernels
from tests.helpers import needs_numba, numba_kernels

if numba_kernels is not None:
    from kernels.compiled import sparse_product

pytestmark = needs_numba

# Numbers of images, units and pixels: one more and one less than what a tile,
# a block of pixels and one of images hold.
SHAPES = [(1, 64, 1), (2, 64, 16), (3, 65, 17), (5, 127, 15), (99, 66, 784),
          (100, 100, 100), (101, 128, 33), (250, 70, 50)]


def pixels(shape, dtype, random, background=0):
    """Returns integers, two thirds of which are the background."""
    x = random.randint(0, 256, shape)
    x[random.uniform(size=shape) < 2 / 3] = background
    x[0, 0] = background
    return x.astype(dtype)


@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
@pytest.mark.parametrize('background', [0, 255, -3])
@pytest.mark.parametrize('shape', SHAPES)
def test_the_product_of_integers_is_exact(
        some_threads, shape, background, dtype, random):
    n, n_units, n_pixels = shape
    gy = random.randint(-9, 10, (n, n_units)).astype(dtype)
    x = pixels((n, n_pixels), dtype, random, background)
    y = sparse_product.dot(gy.T, x)
    assert y.dtype == dtype
    assert y.flags.c_contiguous
    numpy.testing.assert_array_equal(y, gy.T.astype(float).dot(x))
    numpy.testing.assert_array_equal(numba_kernels.dot(gy.T, x), y)


@pytest.mark.parametrize('background', [0, -1])
def test_the_product_of_real_numbers_is_as_exact_as_numpys(
        background, random):
    gy = random.standard_normal((200, 70)).astype(numpy.float32)
    x = (pixels((200, 90), numpy.float32, random) / 255
         * (1 if background == 0 else 2) + background).astype(numpy.float32)
    expected = gy.T.astype(float).dot(x)
    tolerance = 4 * abs(numpy_kernels.dot(gy.T, x) - expected).max()
    assert abs(sparse_product.dot(gy.T, x) - expected).max() < tolerance


@pytest.mark.parametrize('value', [numpy.nan, numpy.inf, -numpy.inf])
def test_a_number_that_is_not_finite_reaches_its_row_and_no_other(
        value, random):
    gy = random.standard_normal((20, 70)).astype(numpy.float32)
    x = pixels((20, 40), numpy.float32, random)
    gy[3, 5] = value
    with numpy.errstate(invalid='ignore'):
        y = sparse_product.dot(gy.T, x)
    assert not numpy.isfinite(y[5]).any()
    rows = numpy.arange(70) != 5
    numpy.testing.assert_allclose(y[rows], gy.T[rows].dot(x), 1e-4, 1e-3)


def test_what_is_not_covered_is_left_to_numpy(random):
    gy = random.standard_normal((20, 70)).astype(numpy.float32)
    x = pixels((20, 40), numpy.float32, random)
    dense = random.standard_normal((20, 40)).astype(numpy.float32)
    for a, b in ((gy.T, dense), (gy.T.copy(), x),
                 (gy.T, numpy.asfortranarray(x)), (gy.T, x.astype(float)),
                 (gy.T.astype('f2'), x.astype('f2')), (gy[:0].T, x[:0]),
                 (gy[:, :0].T, x), (gy[:, :63].copy().T, x)):
        assert sparse_product.dot(a, b) is None
        numpy.testing.assert_array_equal(numba_kernels.dot(a, b), a.dot(b))
