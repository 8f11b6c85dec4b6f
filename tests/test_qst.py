import chainer_compat
import chainer
import chainer.functions as F
import numpy
import pytest
from chainer import gradient_check
from chainer.utils import type_check

import quantizers
from qst import qst
from tests.helpers import edge_values

DTYPES = [numpy.float16, numpy.float32, numpy.float64]


def gradient(function, x, gy):
    x = chainer.Variable(x)
    y = function(x)
    y.grad = gy
    y.backward()
    return x.grad


@pytest.mark.parametrize('dtype', DTYPES)
def test_forward_is_the_sign_with_plus_one_for_both_zeros(dtype, kernel_path):
    x = edge_values(dtype)
    y = qst(x).array
    assert y.dtype == dtype
    assert y.tolist() == [1.0 if value >= 0 else -1.0 for value in x.tolist()]


@pytest.mark.parametrize('dtype', DTYPES)
def test_nan_stays_nan_and_blocks_the_gradient(dtype, kernel_path):
    x = numpy.array([numpy.nan, -numpy.nan, 0.5], dtype)
    assert numpy.isnan(qst(x).array).tolist() == [True, True, False]
    gx = gradient(qst, x, numpy.array([2, 3, 4], dtype))
    assert gx.tolist() == [0, 0, 4]


@pytest.mark.parametrize('dtype', DTYPES)
def test_gradient_is_that_of_clip(dtype, kernel_path, random):
    x = random.uniform(-2, 2, (50, 7)).astype(dtype)
    gy = random.standard_normal(x.shape).astype(dtype)
    gx = gradient(qst, x, gy)
    assert gx.dtype == dtype
    assert 0 < numpy.count_nonzero(gx) < gx.size
    numpy.testing.assert_array_equal(
        gx, gradient(lambda x: F.clip(x, -1.0, 1.0), x, gy))


@pytest.mark.parametrize('dtype', DTYPES)
def test_gradient_passes_at_plus_and_minus_one_and_not_beyond(
        dtype, kernel_path, random):
    x = edge_values(dtype)
    gy = random.standard_normal(x.shape).astype(dtype)
    expected = [g if -1 <= value <= 1 else 0.0
                for value, g in zip(x.tolist(), gy.tolist())]
    assert gradient(qst, x, gy).tolist() == expected


def test_gradient_is_not_the_derivative_of_the_forward(random):
    x = random.uniform(-0.9, 0.9, (3, 4)) + 0.01
    gy = random.standard_normal(x.shape)
    with pytest.raises(AssertionError):
        gradient_check.check_backward(qst, x, gy, eps=1e-5)


def test_double_backward_is_linear_in_gy(kernel_path, random):
    x = random.uniform(-2, 2, (5, 6))
    gy, ggx = random.standard_normal((2, 5, 6))
    x_var, gy_var = chainer.Variable(x), chainer.Variable(gy)
    gx, = chainer.grad([qst(x_var)], [x_var], [gy_var],
                       enable_double_backprop=True)
    ggy, gx_to_x = chainer.grad([gx], [gy_var, x_var], [chainer.Variable(ggx)])
    numpy.testing.assert_array_equal(ggy.array, ggx * (numpy.abs(x) <= 1))
    assert gx_to_x is None


def test_double_backward_agrees_with_numerical_differentiation(random):
    # The sign is constant where the finite differences look.
    x = random.uniform(0.1, 0.9, (3, 4)) * random.choice([-1, 1], (3, 4))
    gy, ggx = random.standard_normal((2, 3, 4))
    gradient_check.check_double_backward(qst, x, gy, ggx, eps=1e-4)


@pytest.mark.parametrize('shape', [(), (0,), (0, 3), (1, 1), (2, 3, 4)])
def test_any_shape_is_kept(shape, kernel_path):
    x = numpy.full(shape, -0.5, numpy.float32)
    y = qst(x)
    assert y.shape == shape
    assert (y.array == -1).all()
    assert gradient(qst, x, x).shape == shape


def test_non_contiguous_input_gives_what_its_copy_gives(kernel_path, random):
    x = random.standard_normal((6, 8)).astype(numpy.float32)[::2, ::-3].T
    gy = random.standard_normal(x.shape[::-1]).astype(numpy.float32).T
    assert not x.flags.c_contiguous
    numpy.testing.assert_array_equal(
        qst(x).array, qst(numpy.ascontiguousarray(x)).array)
    numpy.testing.assert_array_equal(
        gradient(qst, x, gy), gy * (numpy.abs(x) <= 1))


def test_input_and_upstream_gradient_are_left_as_they_were(kernel_path):
    x = numpy.array([-2, -0.5, 3], numpy.float32)
    gy = numpy.array([1, 2, 3], numpy.float32)
    gradient(qst, x, gy)
    assert x.tolist() == [-2, -0.5, 3]
    assert gy.tolist() == [1, 2, 3]


def test_integers_are_refused_by_the_name_of_the_argument():
    with pytest.raises(type_check.InvalidType, match=r'x\.dtype\.kind'):
        qst(numpy.array([1, -1]))


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', DTYPES)
def test_gpu_gives_what_the_cpu_gives(dtype, random):
    import cupy
    x = numpy.append(edge_values(dtype), dtype(numpy.nan))
    gy = random.standard_normal(x.shape).astype(dtype)
    on_gpu = cupy.asarray(x), cupy.asarray(gy)
    numpy.testing.assert_array_equal(
        cupy.asnumpy(qst(on_gpu[0]).array), qst(x).array)
    numpy.testing.assert_array_equal(
        cupy.asnumpy(gradient(qst, *on_gpu)), gradient(qst, x, gy))


@pytest.mark.parametrize('name', ['stochastic', 'linear:4', 'log', 'none'])
def test_every_quantizer_has_the_straight_through_gradient(name, random):
    x = chainer.Variable(random.uniform(-2, 2, (10, 20)).astype('f'))
    numpy.random.seed(0)
    y = qst(x, quantizers.parse(name))
    numpy.random.seed(0)
    numpy.testing.assert_array_equal(
        y.array, quantizers.parse(name)(x.array))
    y.grad = random.standard_normal((10, 20)).astype('f')
    y.backward(retain_grad=True)
    numpy.testing.assert_array_equal(
        x.grad, y.grad * (numpy.abs(x.array) <= 1))


def test_the_upstream_gradient_can_be_rounded(random):
    x = chainer.Variable(random.uniform(-2, 2, (10, 20)).astype('f'))
    y = qst(x, gradient_quantizer=quantizers.Log())
    y.grad = random.standard_normal((10, 20)).astype('f')
    y.backward(retain_grad=True)
    numpy.testing.assert_array_equal(
        x.grad, quantizers.Log()(y.grad) * (numpy.abs(x.array) <= 1))
