import chainer_compat
import chainer
import chainer.functions as F
import numpy
import pytest
from chainer import gradient_check
from chainer.utils import type_check

import kernels
import quantizers
from layers.quantized_convolution_2d import (
    QuantizedConvolution2D, quantized_convolution_2d)
from tests.helpers import convolutions, edge_values

DTYPES = [numpy.float16, numpy.float32, numpy.float64]
# Sums of up to 36 numbers, and of 3 images' places.
TOLERANCE = {numpy.float16: 5e-2, numpy.float32: 1e-4, numpy.float64: 1e-12}

on_cases = pytest.mark.parametrize(
    ('size', 'ksize', 'arguments'), convolutions.CASES,
    ids=convolutions.NAMES)
on_dtypes = pytest.mark.parametrize(
    'dtype', DTYPES, ids=lambda dtype: dtype.__name__)
on_pad_values = pytest.mark.parametrize('pad_value', [0, 1, -1])


def sign(W):
    return numpy.where(W >= 0, 1, -1).astype(W.dtype)


def backward(x, W, b, gy, **kwargs):
    x, W = chainer.Variable(x), chainer.Variable(W)
    b = None if b is None else chainer.Variable(b)
    y = quantized_convolution_2d(x, W, b, **kwargs)
    y.grad = gy
    y.backward()
    return x.grad, W.grad, None if b is None else b.grad


def assert_close(actual, expected, dtype):
    assert actual.dtype == dtype
    tolerance = TOLERANCE[dtype]
    numpy.testing.assert_allclose(
        actual, expected, rtol=tolerance, atol=tolerance)


def small_arrays(random, dtype='f', ksize=(3, 3)):
    """Returns x (3, 4, 5, 6), W (8, 4, 3, 3), b (8,) and gy."""
    return convolutions.case_arrays(random, dtype, (5, 6), ksize, {})


@on_cases
@on_dtypes
@on_pad_values
def test_forward_and_gradients_are_the_closed_forms(
        size, ksize, arguments, dtype, pad_value, kernel_path, random):
    x, W, b, gy = convolutions.case_arrays(
        random, dtype, size, ksize, arguments)
    arguments = {**arguments, 'pad_value': pad_value}
    y = quantized_convolution_2d(x, W, b, **arguments).array
    expected = convolutions.reference(x, sign(W), **arguments)
    assert_close(y, expected + b[:, None, None], dtype)
    gx, gW, gb = backward(x, W, b, gy, **arguments)
    expected = convolutions.reference_gradients(x, sign(W), gy, **arguments)
    assert_close(gx, expected[0], dtype)
    assert_close(gW, expected[1], dtype)
    assert_close(gb, gy.astype('d').sum(axis=(0, 2, 3)), dtype)


def test_without_a_bias_there_is_no_gradient_of_it(kernel_path, random):
    x, W, b, gy = small_arrays(random)
    y = quantized_convolution_2d(x, W).array
    assert_close(y, convolutions.reference(x, sign(W)), numpy.float32)
    *gradients, gb = backward(x, W, None, gy)
    assert gb is None
    for actual, expected in zip(gradients, backward(x, W, b, gy)):
        numpy.testing.assert_array_equal(actual, expected)


@on_pad_values
@pytest.mark.parametrize('arguments', [
    {}, {'stride': 2}, {'stride': 3, 'pad': 1}, {'stride': (2, 4)},
    {'stride': 3, 'dilate': 2}])
def test_cover_all_adds_places_that_reach_the_last_pixels(
        arguments, pad_value, random):
    x, W = (random.randint(-9, 10, shape).astype('f')
            for shape in ((2, 4, 6, 8), (3, 4, 2, 3)))
    y = quantized_convolution_2d(
        x, W, cover_all=True, pad_value=pad_value, **arguments)
    expected = F.convolution_2d(
        x - pad_value, sign(W), cover_all=True, **arguments).array
    expected += pad_value * sign(W).sum(axis=(1, 2, 3))[:, None, None]
    numpy.testing.assert_array_equal(y.array, expected)


@on_cases
def test_gradients_of_x_and_b_agree_with_numerical_differentiation(
        size, ksize, arguments, kernel_path, random):
    x, W, b, gy = convolutions.case_arrays(
        random, 'd', size, ksize, arguments)
    gradient_check.check_backward(
        lambda x, b: quantized_convolution_2d(
            x, W, b, pad_value=-1, **arguments), (x, b), gy, eps=1e-3)


def test_gradient_of_W_is_not_the_derivative_of_the_forward(random):
    x, W, _, gy = small_arrays(random, 'd')
    with pytest.raises(AssertionError):
        gradient_check.check_backward(
            lambda W: quantized_convolution_2d(x, W), W, gy, eps=1e-6)


def test_gradient_of_W_is_not_masked_beyond_one(kernel_path):
    W = numpy.array([-5, -1, 1, 5], 'f').reshape(1, 4, 1, 1)
    x = numpy.array([1, 2, 3, 4], 'f').reshape(1, 4, 1, 1)
    _, gW, _ = backward(x, W, None, numpy.full((1, 1, 1, 1), 2, 'f'))
    assert gW.ravel().tolist() == [2, 4, 6, 8]


@on_dtypes
def test_both_zeros_in_W_count_as_plus_one(dtype, kernel_path):
    W = edge_values(dtype)[:, None, None, None]
    y = quantized_convolution_2d(numpy.ones((1, 1, 1, 1), dtype), W).array
    assert y.ravel().tolist() == [1 if w >= 0 else -1 for w in W.ravel()]


@on_dtypes
def test_nan_in_W_reaches_the_output(dtype, kernel_path):
    W = numpy.ones((2, 4, 3, 3), dtype)
    W[0, 2, 1, 1] = numpy.nan
    y = quantized_convolution_2d(numpy.ones((1, 4, 5, 6), dtype), W, pad=1)
    assert numpy.isnan(y.array[:, 0]).all()
    assert not numpy.isnan(y.array[:, 1]).any()


@on_dtypes
def test_nan_in_x_reaches_the_places_that_see_it_alone(dtype, kernel_path):
    x = numpy.ones((1, 1, 4, 5), dtype)
    x[0, 0, 0, 0] = numpy.nan
    y = quantized_convolution_2d(x, numpy.ones((1, 1, 2, 2), dtype)).array
    assert numpy.argwhere(numpy.isnan(y)).tolist() == [[0, 0, 0, 0]]


@on_cases
def test_second_gradients_of_x_b_and_gy_agree_with_numerical_ones(
        size, ksize, arguments, kernel_path, random):
    x, W, b, gy = convolutions.case_arrays(
        random, 'd', size, ksize, arguments, n=2, n_out=4)
    gradient_check.check_double_backward(
        lambda x, b: quantized_convolution_2d(
            x, W, b, pad_value=1, **arguments), (x, b), gy,
        (random.standard_normal(x.shape), random.standard_normal(4)),
        eps=1e-3)


def test_double_backward_passes_straight_through_W_as_well(
        kernel_path, random):
    # gx is linear in Wq, and its gradient is gW with ggx in the place of x.
    x, W, _, gy = map(chainer.Variable, small_arrays(random, 'd'))
    ggx = random.standard_normal(x.shape)
    gx, = chainer.grad([quantized_convolution_2d(x, W)], [x], [gy],
                       enable_double_backprop=True)
    gW, = chainer.grad([gx], [W], [chainer.Variable(ggx)])
    _, expected = convolutions.reference_gradients(ggx, W.array, gy.array)
    numpy.testing.assert_allclose(gW.array, expected)


@pytest.mark.parametrize(('dtype', 'W_dtype'), [
    ('f', 'd'), ('d', 'f'), ('e', 'f'), ('f', 'e')])
def test_the_latent_weights_may_be_of_another_dtype(
        dtype, W_dtype, kernel_path, random):
    x, W, b, gy = small_arrays(random, dtype)
    latent = W.astype(W_dtype)
    y = quantized_convolution_2d(x, latent, b)
    assert y.dtype == dtype
    numpy.testing.assert_array_equal(
        y.array, quantized_convolution_2d(x, latent.astype(dtype), b).array)
    gx, gW, gb = backward(x, latent, b, gy)
    assert (gx.dtype, gW.dtype, gb.dtype) == (dtype, W_dtype, dtype)
    numpy.testing.assert_array_equal(
        gW, backward(x, W, b, gy)[1].astype(W_dtype))


def test_W_is_quantized_once_for_forward_and_backward(random):
    shapes = []

    def quantizer(W):
        shapes.append(W.shape)
        return sign(W)

    backward(*small_arrays(random), quantizer=quantizer)
    assert shapes == [(8, 4, 3, 3)]


@pytest.mark.parametrize(('inputs', 'expected'), [
    ('xW', {'gx', 'gW'}), ('x', {'gx'}), ('W', {'gW'}), ('b', set())])
@pytest.mark.parametrize('pad_value', [0, 1])
def test_backward_computes_what_is_asked_for_alone(
        inputs, expected, pad_value, monkeypatch, random):
    computed = set()
    for name in 'gx', 'gW':
        kernel = getattr(kernels, f'convolution_2d_{name}')
        monkeypatch.setattr(
            kernels, f'convolution_2d_{name}',
            lambda *args, name=name, kernel=kernel: (
                computed.add(name) or kernel(*args)))
    x, W, b, _ = small_arrays(random)
    x, W, b = (chainer.Variable(array, requires_grad=name in inputs)
               for name, array in (('x', x), ('W', W), ('b', b)))
    y = quantized_convolution_2d(x, W, b, pad=1, pad_value=pad_value)
    y.grad = numpy.ones_like(y.array)
    y.backward()
    assert computed == expected


@pytest.mark.parametrize(('n', 'n_in', 'n_out', 'groups'), [
    (0, 4, 6, 1), (0, 4, 6, 2), (3, 4, 0, 1), (1, 1, 1, 1), (0, 0, 0, 1),
    (3, 0, 2, 1)])
def test_empty_and_single_batches_work(
        n, n_in, n_out, groups, kernel_path, random):
    x, W, b, gy = (random.standard_normal(shape).astype('f') for shape in (
        (n, n_in, 5, 6), (n_out, n_in // groups, 3, 3), (n_out,),
        (n, n_out, 5, 6)))
    y = quantized_convolution_2d(x, W, b, pad=1, groups=groups)
    assert y.shape == gy.shape
    gx, gW, gb = backward(x, W, b, gy, pad=1, groups=groups)
    assert (gx.shape, gW.shape, gb.shape) == (x.shape, W.shape, b.shape)
    assert not gW.any() or n > 0


@on_dtypes
def test_non_contiguous_arrays_give_what_their_copies_give(
        dtype, kernel_path, random):
    x, W, b, gy = (random.randint(-3, 4, shape).astype(dtype) for shape in (
        (6, 5, 4, 3), (8, 4, 6, 3), (16,), (4, 3, 8, 3)))
    arrays = [x.T, W[:, :, ::2, ::-1], b[::2], gy.transpose(3, 2, 1, 0)]
    copies = [array.copy() for array in arrays]
    assert not any(array.flags.c_contiguous for array in arrays)
    numpy.testing.assert_array_equal(
        quantized_convolution_2d(*arrays[:3]).array,
        quantized_convolution_2d(*copies[:3]).array)
    for actual, expected in zip(backward(*arrays), backward(*copies)):
        numpy.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize('arguments', [
    {'pad': 1}, {'pad': 1, 'pad_value': -1}, {'pad': 1, 'groups': 2},
    {'pad': 1, 'gradient_quantizer': quantizers.Log(6)}])
@on_dtypes
def test_inputs_and_upstream_gradient_are_left_as_they_were(
        arguments, dtype, kernel_path, random):
    arrays = convolutions.case_arrays(
        random, dtype, (5, 6), (3, 3), {
            k: v for k, v in arguments.items() if k in ('pad', 'groups')})
    copies = [array.copy() for array in arrays]
    backward(*arrays, **arguments)
    for array, copy in zip(arrays, copies):
        numpy.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(('shapes', 'arguments', 'name'), [
    (((2, 4, 5, 6), (8, 3, 3, 3), (8,)), {}, 'x.shape'),
    (((2, 4, 5, 6), (8, 4, 3, 3), (8,)), {'groups': 2}, 'x.shape'),
    (((2, 4, 5, 6), (7, 2, 3, 3), (7,)), {'groups': 2}, 'W.shape'),
    (((2, 4, 5, 6), (8, 4, 3, 3), (7,)), {}, 'b.shape'),
    (((2, 4, 5, 6), (8, 4, 3, 3), (8, 1)), {}, 'b.ndim'),
    (((2, 4, 5, 6), (8, 4, 3), (8,)), {}, 'W.ndim'),
    (((4, 5, 6), (8, 4, 3, 3), (8,)), {}, 'x.ndim'),
    (((2, 120), (8, 4, 3, 3), (8,)), {'pad': 1, 'pad_value': 1}, 'x.ndim'),
])
def test_wrong_shapes_are_refused_by_the_name_of_the_argument(
        shapes, arguments, name):
    x, W, b = (numpy.ones(shape, 'f') for shape in shapes)
    with pytest.raises(type_check.InvalidType, match=name):
        quantized_convolution_2d(x, W, b, **arguments)


@pytest.mark.parametrize('pad_value', [0, 1])
@pytest.mark.parametrize(('position', 'name'), [(0, 'x'), (1, 'W'), (2, 'b')])
def test_integers_are_refused_by_the_name_of_the_argument(
        position, name, pad_value, random):
    arrays = list(small_arrays(random)[:3])
    arrays[position] = arrays[position].astype(numpy.int32)
    with pytest.raises(type_check.InvalidType, match=rf'{name}\.dtype'):
        quantized_convolution_2d(*arrays, pad=1, pad_value=pad_value)


@pytest.mark.parametrize('make', [
    lambda **kwargs: quantized_convolution_2d(
        numpy.ones((1, 1, 5, 5), 'f'), numpy.ones((1, 1, 3, 3), 'f'),
        **kwargs),
    lambda **kwargs: QuantizedConvolution2D(1, 1, 3, **kwargs)],
    ids=['function', 'link'])
@pytest.mark.parametrize(('arguments', 'message'), [
    *[({'pad_value': value}, 'pad_value must be 0, 1 or -1, got')
      for value in (2, .5, numpy.nan, None, 'a')],
    *[({name: -1}, f'{name} must be at least')
      for name in ('stride', 'pad', 'dilate', 'groups')]])
def test_arguments_that_mean_nothing_are_refused_at_once(
        make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_a_window_larger_than_the_image_is_refused():
    x, W = numpy.ones((1, 1, 3, 3), 'f'), numpy.ones((1, 1, 5, 5), 'f')
    with pytest.raises(ValueError, match='must fit into the image'):
        quantized_convolution_2d(x, W)
    assert quantized_convolution_2d(x, W, pad=1).shape == (1, 1, 1, 1)


@pytest.mark.parametrize('name', [
    'stochastic', 'linear:1', 'linear:4', 'log', 'log:4', 'ternary', 'none'])
def test_every_quantizer_is_applied_in_forward_and_in_gx(
        name, random, kernel_path):
    x, W, gy = (random.uniform(-1.2, 1.2, shape).astype('f') for shape in (
        (2, 4, 6, 7), (5, 4, 3, 3), (2, 5, 4, 5)))
    numpy.random.seed(0)
    Wq = quantizers.parse(name)(W)
    x, W, gy = map(chainer.Variable, (x, W, gy))
    numpy.random.seed(0)
    y = quantized_convolution_2d(x, W, quantizer=quantizers.parse(name))
    assert_close(y.array, convolutions.reference(x.array, Wq), numpy.float32)
    gx, gW = chainer.grad([y], [x, W], [gy], enable_double_backprop=True)
    expected = convolutions.reference_gradients(x.array, Wq, gy.array)
    assert_close(gx.array, expected[0], numpy.float32)
    assert_close(gW.array, expected[1], numpy.float32)
    # The second gradient has the same weights: none is drawn anew.
    ggx = random.standard_normal(x.shape).astype('f')
    ggy, = chainer.grad([gx], [gy], [chainer.Variable(ggx)])
    assert_close(ggy.array, convolutions.reference(ggx, Wq), numpy.float32)


def test_the_upstream_gradient_can_be_rounded(random):
    x, W, b, gy = small_arrays(random)
    rounded = backward(x, W, b, gy, gradient_quantizer=quantizers.Log(6))
    expected = backward(x, W, b, quantizers.Log(6)(gy))
    for actual, array in zip(rounded, expected):
        numpy.testing.assert_array_equal(actual, array)


@pytest.mark.gpu
@on_dtypes
def test_gpu_gives_what_the_cpu_gives(dtype, random):
    import cupy
    for size, ksize, arguments in convolutions.CASES:
        arrays = convolutions.case_arrays(
            random, dtype, size, ksize, arguments)
        on_gpu = [cupy.asarray(array) for array in arrays]
        for pad_value in 0, -1:
            kwargs = {**arguments, 'pad_value': pad_value}
            assert_close(
                cupy.asnumpy(
                    quantized_convolution_2d(*on_gpu[:3], **kwargs).array),
                quantized_convolution_2d(*arrays[:3], **kwargs).array, dtype)
            for actual, expected in zip(backward(*on_gpu, **kwargs),
                                        backward(*arrays, **kwargs)):
                assert_close(cupy.asnumpy(actual), expected, dtype)
