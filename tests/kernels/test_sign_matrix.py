import numpy
import pytest

import kernels
from kernels import numpy_kernels
from tests.helpers import needs_numba, numba_kernels, on_each_backend

DTYPES = [numpy.float16, numpy.float32, numpy.float64]
# Numbers of rows of the factor, of columns and of rows of the matrix.
SHAPES = [(0, 64, 64), (8, 0, 64), (8, 64, 0), (1, 100, 100), (3, 5, 2),
          (8, 1, 32), (8, 63, 33), (9, 64, 64), (10, 65, 127), (20, 784, 200),
          (30, 1000, 10)]


def weights(shape, dtype, random):
    """Returns latent weights, some of them 0, -0.0 or infinite."""
    W = random.uniform(-2, 2, shape).astype(dtype)
    edges = random.uniform(size=shape) < .1
    W[edges] = random.choice([0, -0., numpy.inf, -numpy.inf], shape)[edges]
    return W


@on_each_backend
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('shape', SHAPES)
def test_products_of_signs_and_integers_are_exact(
        some_threads, backend, dtype, shape, random):
    n, n_in, n_out = shape
    W = weights((n_out, n_in), dtype, random)
    Wq = numpy.where(W >= 0, 1., -1.)
    matrix = backend.sign_matrix(W)
    W[...] = numpy.nan  # the signs are those of before
    for magnitude in 1, 1.25:
        for values in [-1, 1], [-1, 0, 1], range(-2, 3):
            x, gy = (magnitude * random.choice(values, (n, m)).astype(float)
                     for m in (n_in, n_out))
            for left, right, multiply in (
                    (x, Wq.T, matrix.multiply_transposed),
                    (gy, Wq, matrix.multiply)):
                y = multiply(left.astype(dtype))
                assert y.dtype == dtype
                numpy.testing.assert_array_equal(
                    y, left.dot(right).astype(dtype))
    assert matrix.array.dtype == dtype
    numpy.testing.assert_array_equal(matrix.array, Wq)


@on_each_backend
@pytest.mark.parametrize('position', [(0, 0), (19, 63), (7, 64), (39, 129)])
def test_nan_weights_reach_their_unit_and_their_input_only(
        backend, position, random):
    W = weights((40, 130), numpy.float32, random)
    W[position] = numpy.nan
    matrix = backend.sign_matrix(W)
    row, column = position
    y = matrix.multiply_transposed(numpy.ones((9, 130), numpy.float32))
    assert (numpy.isnan(y) == (numpy.arange(40) == row)).all()
    y = matrix.multiply(numpy.ones((9, 40), numpy.float32))
    assert (numpy.isnan(y) == (numpy.arange(130) == column)).all()


@needs_numba
@pytest.mark.parametrize('value', [0.5, numpy.nan, numpy.inf, 1 + 2. ** -23])
@pytest.mark.parametrize('position', [(0, 0), (19, 0), (7, 100), (19, 129)])
def test_products_with_other_values_than_signs_agree_with_numpys(
        value, position, random):
    x = random.choice([-1, 1], (20, 130)).astype(numpy.float32)
    x[position] = value
    W = weights((40, 130), numpy.float32, random)
    with numpy.errstate(invalid='ignore'):
        y, expected = (backend.sign_matrix(W).multiply_transposed(x)
                       for backend in (numba_kernels, numpy_kernels))
    # Infinity may give NaN.
    finite = numpy.isfinite(expected)
    numpy.testing.assert_array_equal(numpy.isfinite(y), finite)
    numpy.testing.assert_allclose(y[finite], expected[finite], 1e-5, 1e-5)


@on_each_backend
def test_products_are_exact_for_any_dtypes_and_layouts(backend, random):
    W = weights((40, 130), numpy.float32, random)
    Wq = numpy.where(W >= 0, 1, -1)
    for matrix in map(backend.sign_matrix, (
            W, W.astype('>f4'), numpy.asfortranarray(W), W.astype(float))):
        for x in (random.choice([-1, 1], (20, 130)).astype(dtype)
                  for dtype in ('f2', 'f4', 'f8', '>f4')):
            for left in x, numpy.asfortranarray(x):
                numpy.testing.assert_array_equal(
                    matrix.multiply_transposed(left), x.dot(Wq.T))
                numpy.testing.assert_array_equal(
                    matrix.multiply(left[:, :40]), x[:, :40].dot(Wq))


@needs_numba
def test_binary_and_dropped_out_activations_take_the_xnor_kernel(
        monkeypatch, random):
    from kernels.compiled import table_product
    monkeypatch.setattr(numpy_kernels, 'dot', None)
    monkeypatch.setattr(table_product, 'dot_signs_transposed', None)
    x = random.choice([-1, 1], (40, 130)).astype(numpy.float32)
    matrix = kernels.sign_matrix(x)
    assert matrix.multiply_transposed(x)[0, 0] == 130
    x_dropped = 2 * x * random.choice([0, 1], x.shape).astype(numpy.float32)
    x_dropped[0, 0] = -0.
    numpy.testing.assert_array_equal(
        matrix.multiply_transposed(x_dropped), x_dropped.dot(x.T))


@on_each_backend
def test_a_factor_of_another_size_is_refused(backend, random):
    matrix = backend.sign_matrix(weights((70, 130), numpy.float32, random))
    for value in 1, .5:
        for n in 64, 128, 129, 131, 200:
            with pytest.raises(ValueError, match='not aligned'):
                matrix.multiply_transposed(
                    numpy.full((9, n), value, numpy.float32))
            with pytest.raises(ValueError, match='not aligned'):
                matrix.multiply(numpy.full((9, n), value, numpy.float32))
