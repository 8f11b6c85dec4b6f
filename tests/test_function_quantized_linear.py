import chainer_compat
import chainer
import chainer.functions as F
import numpy
import pytest
from chainer import gradient_check
from chainer import testing
from chainer.utils import type_check

import kernels
import quantizers
from function_quantized_linear import quantized_linear
from tests.helpers import edge_values

DTYPES = [numpy.float16, numpy.float32, numpy.float64]
TOLERANCE = {numpy.float16: 2e-2, numpy.float32: 1e-5, numpy.float64: 1e-12}


def sign(W):
    return numpy.where(W >= 0, 1, -1).astype(W.dtype)


@pytest.fixture(params=DTYPES, ids=lambda dtype: dtype.__name__)
def arrays(request, random):
    """x (4, 7), W (5, 7), b (5,) and gy (4, 5) of one dtype."""
    return [random.standard_normal(shape).astype(request.param)
            for shape in ((4, 7), (5, 7), (5,), (4, 5))]


def backward(x, W, b, gy, **kwargs):
    x, W = chainer.Variable(x), chainer.Variable(W)
    b = None if b is None else chainer.Variable(b)
    y = quantized_linear(x, W, b, **kwargs)
    y.grad = gy
    y.backward()
    return x.grad, W.grad, None if b is None else b.grad


def assert_close(actual, expected):
    assert actual.dtype == expected.dtype
    tolerance = TOLERANCE[actual.dtype.type]
    numpy.testing.assert_allclose(
        actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('nobias', [False, True])
def test_forward_multiplies_by_the_sign_of_W_and_leaves_x(
        arrays, nobias, kernel_path):
    x, W, b, _ = arrays
    expected = x.dot(sign(W).T) + (0 * b if nobias else b)
    assert_close(quantized_linear(x, W, None if nobias else b).array, expected)


@pytest.mark.parametrize('nobias', [False, True])
def test_gradients_are_the_closed_forms(arrays, nobias, kernel_path):
    x, W, b, gy = arrays
    gx, gW, gb = backward(x, W, None if nobias else b, gy)
    assert_close(gx, gy.dot(sign(W)))
    assert_close(gW, gy.T.dot(x))
    if nobias:
        assert gb is None
    else:
        assert_close(gb, gy.sum(axis=0))


def test_gradients_of_x_and_b_agree_with_numerical_differentiation(
        kernel_path, random):
    x, W, b, gy = (random.standard_normal(shape)
                   for shape in ((4, 7), (5, 7), (5,), (4, 5)))
    gradient_check.check_backward(
        lambda x, b: quantized_linear(x, W, b), (x, b), gy, eps=1e-3)


def test_gradient_of_W_is_not_the_derivative_of_the_forward(random):
    x, W, gy = (random.standard_normal(shape)
                for shape in ((4, 7), (5, 7), (4, 5)))
    with pytest.raises(AssertionError):
        gradient_check.check_backward(
            lambda W: quantized_linear(x, W), W, gy, eps=1e-6)


def test_gradient_of_W_is_not_masked_beyond_one(kernel_path):
    W = numpy.array([[-5, -1, 1, 5]], numpy.float32)
    x = numpy.array([[1, 2, 3, 4]], numpy.float32)
    _, gW, _ = backward(x, W, None, numpy.array([[2]], numpy.float32))
    assert gW.tolist() == [[2, 4, 6, 8]]


@pytest.mark.parametrize('dtype', DTYPES)
def test_both_zeros_in_W_count_as_plus_one(dtype, kernel_path):
    W = edge_values(dtype)[:, None]
    y = quantized_linear(numpy.ones((1, 1), dtype), W).array
    assert y[0].tolist() == [1 if value >= 0 else -1 for value in W[:, 0]]


@pytest.mark.parametrize('dtype', DTYPES)
def test_nan_in_W_reaches_the_output(dtype, kernel_path):
    W = numpy.array([[numpy.nan, 1], [1, 1]], dtype)
    y = quantized_linear(numpy.ones((1, 2), dtype), W).array
    assert numpy.isnan(y).tolist() == [[True, False]]


def test_double_backward_of_x_b_and_gy_agrees_with_numerical_differentiation(
        kernel_path, random):
    x, W, b, gy = (random.standard_normal(shape)
                   for shape in ((4, 7), (5, 7), (5,), (4, 5)))
    ggx, ggb = random.standard_normal((4, 7)), random.standard_normal(5)
    gradient_check.check_double_backward(
        lambda x, b: quantized_linear(x, W, b), (x, b), gy, (ggx, ggb),
        eps=1e-3)


def test_double_backward_passes_straight_through_W_as_well(random):
    # gx = gy Wq, so that its gradient with respect to Wq is gy^T ggx.
    x, W, gy, ggx = (chainer.Variable(random.standard_normal(shape))
                     for shape in ((4, 7), (5, 7), (4, 5), (4, 7)))
    gx, = chainer.grad([quantized_linear(x, W)], [x], [gy],
                       enable_double_backprop=True)
    gW, = chainer.grad([gx], [W], [ggx])
    numpy.testing.assert_allclose(gW.array, gy.array.T.dot(ggx.array))


def test_W_is_binarized_once_for_forward_and_backward(
        monkeypatch, random):
    shapes = []
    sign_matrix = kernels.sign_matrix
    # Without an array of +1 and -1 before it.
    monkeypatch.setattr(kernels, 'binarize', None)
    monkeypatch.setattr(
        kernels, 'sign_matrix',
        lambda array: shapes.append(array.shape) or sign_matrix(array))
    backward(*[random.standard_normal(shape).astype(numpy.float32)
               for shape in ((4, 7), (5, 7), (5,), (4, 5))])
    assert shapes == [(5, 7)]


@pytest.mark.parametrize('n_batch_axes', [1, 2, 3])
def test_n_batch_axes_splits_the_shape_as_in_linear(
        n_batch_axes, kernel_path, random):
    x = random.randint(-9, 10, (2, 3, 4, 5)).astype(numpy.float32)
    n_in = int(numpy.prod(x.shape[n_batch_axes:]))
    W = random.standard_normal((6, n_in)).astype(numpy.float32)
    y = quantized_linear(x, W, n_batch_axes=n_batch_axes)
    expected = F.linear(x, sign(W), n_batch_axes=n_batch_axes)
    assert y.shape == (*x.shape[:n_batch_axes], 6)
    numpy.testing.assert_array_equal(y.array, expected.array)


@pytest.mark.parametrize(('n', 'n_in', 'n_out'),
                         [(0, 7, 5), (4, 7, 0), (1, 1, 1), (0, 0, 0)])
def test_empty_and_single_batches_work(n, n_in, n_out, kernel_path, random):
    x, W, b, gy = (random.standard_normal(shape).astype(numpy.float32)
                   for shape in ((n, n_in), (n_out, n_in), (n_out,),
                                 (n, n_out)))
    gx, gW, gb = backward(x, W, b, gy)
    assert (gx.shape, gW.shape, gb.shape) == (x.shape, W.shape, b.shape)
    assert not gW.any() or n > 0


def test_non_contiguous_arrays_give_what_their_copies_give(
        kernel_path, random):
    x = random.standard_normal((7, 4)).T
    W = random.standard_normal((10, 14))[::2, ::-2]
    b = random.standard_normal(10)[::2]
    gy = random.standard_normal((5, 4)).T
    for actual, expected in zip(
            backward(x, W, b, gy),
            backward(*(a.copy() for a in (x, W, b, gy)))):
        numpy.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_inputs_and_upstream_gradient_are_left_as_they_were(
        arrays, kernel_path):
    copies = [array.copy() for array in arrays]
    backward(*arrays)
    for array, copy in zip(arrays, copies):
        numpy.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(('shapes', 'name'), [
    (((4, 7), (5, 6), (5,)), 'x.shape'),
    (((4, 7), (5, 7), (6,)), 'b.shape'),
    (((4, 7), (5, 7, 1), (5,)), 'W.ndim'),
])
def test_wrong_shapes_are_refused_by_the_name_of_the_argument(shapes, name):
    x, W, b = (numpy.ones(shape, numpy.float32) for shape in shapes)
    with pytest.raises(type_check.InvalidType, match=name):
        quantized_linear(x, W, b)


@pytest.mark.parametrize(('position', 'name'), [(0, 'x'), (1, 'W'), (2, 'b')])
def test_integers_are_refused_by_the_name_of_the_argument(position, name):
    arrays = [numpy.ones(shape, numpy.float32)
              for shape in ((4, 7), (5, 7), (5,))]
    arrays[position] = arrays[position].astype(numpy.int32)
    with pytest.raises(type_check.InvalidType, match=rf'{name}\.dtype'):
        quantized_linear(*arrays)


@pytest.mark.parametrize('n_batch_axes', [0, -1])
def test_less_than_one_batch_axis_is_refused(n_batch_axes):
    x = numpy.ones((4, 7), numpy.float32)
    with pytest.raises(ValueError, match='n_batch_axes'):
        quantized_linear(x, x, n_batch_axes=n_batch_axes)


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', DTYPES)
def test_gpu_gives_what_the_cpu_gives(dtype, random):
    import cupy
    arrays = [random.standard_normal(shape).astype(dtype)
              for shape in ((4, 7), (5, 7), (5,), (4, 5))]
    on_gpu = [cupy.asarray(array) for array in arrays]
    assert_close(cupy.asnumpy(quantized_linear(*on_gpu[:3]).array),
                 quantized_linear(*arrays[:3]).array)
    for actual, expected in zip(backward(*on_gpu), backward(*arrays)):
        assert_close(cupy.asnumpy(actual), expected)


@pytest.mark.parametrize('name', [
    'stochastic', 'linear:1', 'linear:4', 'log', 'log:4', 'none'])
def test_every_quantizer_is_applied_in_forward_and_in_gx(
        name, random, kernel_path):
    x, W, gy = (chainer.Variable(random.uniform(-1.2, 1.2, shape).astype('f'))
                for shape in ((9, 70), (40, 70), (9, 40)))
    numpy.random.seed(0)
    Wq = quantizers.parse(name)(W.array)
    numpy.random.seed(0)
    y = quantized_linear(x, W, quantizer=quantizers.parse(name))
    assert y.dtype == numpy.float32
    testing.assert_allclose(y.array, x.array.dot(Wq.T), 1e-4, 1e-4)
    gx, gW = chainer.grad([y], [x, W], [gy], enable_double_backprop=True)
    testing.assert_allclose(gx.array, gy.array.dot(Wq), 1e-4, 1e-4)
    testing.assert_allclose(gW.array, gy.array.T.dot(x.array), 1e-4, 1e-4)
    # The second gradient has the same weights: none is drawn anew.
    ggx = random.standard_normal(x.shape).astype('f')
    ggy, = chainer.grad([gx], [gy], [chainer.Variable(ggx)])
    testing.assert_allclose(ggy.array, ggx.dot(Wq.T), 1e-4, 1e-4)


def test_the_upstream_gradient_can_be_rounded(random):
    x, W, b = (chainer.Variable(random.uniform(-1.2, 1.2, shape).astype('f'))
               for shape in ((9, 70), (40, 70), 40))
    y = quantized_linear(x, W, b, gradient_quantizer=quantizers.Log(6))
    y.grad = random.standard_normal((9, 40)).astype('f')
    y.backward(retain_grad=True)
    gyq = quantizers.Log(6)(y.grad)
    testing.assert_allclose(x.grad, gyq.dot(numpy.where(W.array >= 0, 1, -1)),
                            1e-4, 1e-4)
    testing.assert_allclose(W.grad, gyq.T.dot(x.array), 1e-4, 1e-4)
    testing.assert_allclose(b.grad, gyq.sum(axis=0), 1e-4, 1e-4)
