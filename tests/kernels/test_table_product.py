import os
import pathlib
import subprocess
import sys

import numpy
import pytest

import kernels
from kernels import numpy_kernels
from tests.helpers import needs_numba, numba_kernels

if numba_kernels is not None:
    from kernels.compiled import table_product
    table_bits = table_product.TABLE_BITS
else:
    table_bits = 0

pytestmark = [needs_numba, pytest.mark.skipif(
    not table_bits, reason='needs a processor with AVX2 or AVX-512')]

# Numbers of rows, of summands, of columns: one more and one less than what a
# word, a block of tables and a tile hold.
SHAPES = [(5, 1, 64), (5, 4, 65), (6, 5, 64), (9, 17, 100), (10, 18, 127),
          (11, 19, 128), (12, 29, 129), (13, 30, 64), (14, 31, 191),
          (100, 64, 64), (15, 107, 64), (16, 108, 200), (17, 109, 65),
          (20, 179, 64), (21, 180, 70), (22, 181, 64), (100, 784, 250),
          (250, 100, 784)]
SIGNS = {'binary': [-1, 1], 'minus': [-1]}
if table_bits == 5:
    SIGNS.update({'ternary': [-1, 0, 1], 'zero or plus': [0, 1]})


def integers(shape, random):
    """Returns float32 numbers whose sums are exact in each order."""
    return random.randint(-9, 10, shape).astype(numpy.float32)


def signs(shape, random, values=(-1, 1)):
    """Returns a float32 matrix of random signs or other values."""
    b = random.choice(values, shape).astype(numpy.float32)
    b[0, 0] = values[-1]  # not all are zero
    return b


@pytest.mark.parametrize('values', SIGNS.values(), ids=SIGNS)
@pytest.mark.parametrize('shape', SHAPES)
def test_dot_is_the_exact_product_of_integers(
        some_threads, shape, values, random):
    n, k, m = shape
    a, b = integers((n, k), random), signs((k, m), random, values)
    expected = a.astype(float).dot(b)  # exact
    for scale in 1, .25, 3:
        y = table_product.dot(a, numpy.float32(scale) * b)
        assert y.dtype == numpy.float32
        assert y.flags.c_contiguous
        numpy.testing.assert_array_equal(y, scale * expected)


@pytest.mark.parametrize('shape', SHAPES)
def test_products_with_signs_in_bits_are_exact(
        some_threads, shape, random):
    n, k, m = shape
    a, b = integers((n, k), random), signs((k, m), random)
    expected = a.astype(float).dot(b)  # exact
    for y in (
            table_product.dot_signs(a, numpy_kernels.pack_signs(b), m),
            table_product.dot_signs_transposed(
                a, numpy_kernels.pack_signs(b.T))):
        assert y.dtype == numpy.float32
        assert y.flags.c_contiguous
        numpy.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize('values', SIGNS.values(), ids=SIGNS)
def test_the_product_of_real_numbers_is_as_exact_as_numpys(values, random):
    a = random.standard_normal((50, 1000)).astype(numpy.float32)
    b = signs((1000, 200), random, values)
    expected = a.astype(float).dot(b)
    tolerance = 4 * abs(numpy_kernels.dot(a, b) - expected).max()
    assert abs(table_product.dot(a, b) - expected).max() < tolerance
    if values == SIGNS['binary']:
        words = numpy_kernels.pack_signs(b)
        assert abs(table_product.dot_signs(a, words, b.shape[1])
                   - expected).max() < tolerance


def test_a_transposed_left_side_gives_the_same_bits(random):
    a = random.standard_normal((100, 70)).astype(numpy.float32)
    b = signs((100, 130), random)
    numpy.testing.assert_array_equal(
        table_product.dot(a.T, b), table_product.dot(a.T.copy(), b))


@pytest.mark.parametrize('value', [.5, numpy.nan, numpy.inf, -numpy.inf,
                                   1 + 2. ** -23])
@pytest.mark.parametrize('position', [(0, 0), (0, 99), (29, 64), (37, 99)])
@pytest.mark.parametrize('values', SIGNS.values(), ids=SIGNS)
def test_other_values_than_signs_are_left_to_numpy(
        value, position, values, random):
    a, b = integers((40, 38), random), signs((38, 100), random, values)
    b[position] = value
    assert table_product.dot(a, b) is None
    with numpy.errstate(invalid='ignore'):
        numpy.testing.assert_array_equal(
            numba_kernels.dot(a, b), numpy_kernels.dot(a, b))


def test_minus_zero_counts_as_zero(random):
    a, b = integers((10, 40), random), signs((40, 70), random, [-1, 0, 1])
    minus = numpy.where(b == 0, numpy.float32(-0.), b)
    numpy.testing.assert_array_equal(numba_kernels.dot(a, minus), a.dot(b))


@pytest.mark.parametrize('value', [numpy.nan, numpy.inf])
@pytest.mark.parametrize('values', SIGNS.values(), ids=SIGNS)
def test_a_number_that_is_not_finite_reaches_its_row_and_no_other(
        value, values, random):
    a, b = integers((40, 38), random), signs((38, 100), random, values)
    a[7, 20] = value
    y = table_product.dot(a, b)
    assert not numpy.isfinite(y[7, b[20] != 0]).any()
    rows = numpy.arange(40) != 7
    numpy.testing.assert_array_equal(y[rows], a[rows].dot(b))


def test_dtypes_layouts_and_sizes_not_covered_are_left_to_numpy(random):
    a, b = integers((40, 38), random), signs((38, 100), random)
    for left, right in ((a.astype(float), b.astype(float)),
                        (a, b.astype(float)), (a, numpy.asfortranarray(b)),
                        (a[:4], b), (a, b[:, :63].copy()), (a[:, :0], b[:0])):
        assert table_product.dot(left, right) is None
        numpy.testing.assert_array_equal(
            numba_kernels.dot(left, right), left.dot(right))


def test_a_training_takes_table_products_forward_and_backward(
        monkeypatch, random):
    monkeypatch.setattr(numpy_kernels, 'dot', None)
    x, W, gy = (integers((100, 784), random), signs((200, 784), random),
                integers((100, 200), random))
    matrix = kernels.sign_matrix(W)
    numpy.testing.assert_array_equal(
        matrix.multiply_transposed(x), x.dot(W.T))
    numpy.testing.assert_array_equal(matrix.multiply(gy), gy.dot(W))
    q = signs((100, 784), random)
    numpy.testing.assert_array_equal(kernels.dot(gy.T, q), gy.T.dot(q))


@pytest.mark.skipif(table_bits != 5, reason='runs on less already')
@pytest.mark.parametrize(('features', 'modules'), [
    ('+avx2,+fma', ['test_table_product.py', 'test_sign_matrix.py',
                    'test_sparse_product.py', 'test_convolution.py']),
    ('', ['test_sign_matrix.py', 'test_sparse_product.py',
          'test_convolution.py'])])
def test_the_forms_for_other_processors_pass_these_tests(features, modules):
    folder = pathlib.Path(__file__).parent
    result = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider',
         '-k', 'not other_processors and not cupy',
         *(folder / name for name in modules)],
        env={**os.environ, 'NUMBA_CPU_NAME': 'haswell',
             'NUMBA_CPU_FEATURES': features},
        capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    # Those of this processor are more: some are of signs that may be zero.
    assert ' passed' in result.stdout
    assert 'skipped' not in result.stdout
