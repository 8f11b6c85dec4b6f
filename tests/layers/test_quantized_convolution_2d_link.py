import chainer_compat
import chainer
import chainer.links as L
import numpy
import pytest
from chainer import initializers

import quantizers
from layers.quantized_convolution_2d import (
    QuantizedConvolution2D, quantized_convolution_2d)


@pytest.fixture
def x(random):
    return random.standard_normal((2, 4, 6, 7)).astype('f')


def test_forward_is_the_function_of_its_parameters_and_arguments(x, random):
    arguments = {
        'stride': (1, 2), 'pad': (2, 1), 'dilate': (1, 2), 'groups': 2,
        'quantizer': quantizers.parse('linear:4'), 'pad_value': -1}
    link = QuantizedConvolution2D(
        4, 6, 3, initial_bias=random.standard_normal(6), **arguments)
    numpy.testing.assert_array_equal(
        link(x).array,
        quantized_convolution_2d(x, link.W, link.b, **arguments).array)
    assert not numpy.array_equal(
        link(x).array, L.Convolution2D.forward(link, x).array)


def test_the_gradient_quantizer_is_that_of_the_function(x, random):
    rounded = quantizers.Log(6)
    link = QuantizedConvolution2D(4, 6, 3, gradient_quantizer=rounded)
    y = link(x)
    y.grad = random.standard_normal(y.shape).astype('f')
    link.cleargrads()
    y.backward(retain_grad=True)
    gb = rounded(y.grad).sum(axis=(0, 2, 3))
    numpy.testing.assert_allclose(link.b.grad, gb, rtol=1e-5)


@pytest.mark.parametrize('arguments', [(6, 3), (None, 6, 3)])
def test_input_channels_are_taken_from_the_first_batch(arguments, x):
    link = QuantizedConvolution2D(*arguments, groups=2)
    assert link.W.array is None
    assert link(x).shape == (2, 6, 4, 5)
    assert link.W.shape == (6, 2, 3, 3)


@pytest.mark.parametrize('shape', [(2, 168), (4, 6, 7), (2, 4, 6, 7, 1)])
def test_a_first_batch_that_is_no_images_leaves_the_link_as_it_was(shape):
    link = QuantizedConvolution2D(6, 3)
    with pytest.raises(ValueError, match=r'the axes \(N, C, height, width\)'):
        link(numpy.ones(shape, 'f'))
    assert link.W.array is None


def test_a_window_may_be_wider_than_high(x):
    link = QuantizedConvolution2D(4, 6, (1, 5))
    assert link.W.shape == (6, 4, 1, 5)
    assert link(x).shape == (2, 6, 6, 3)


def test_default_weights_are_normal_with_variance_one_over_their_inputs():
    numpy.random.seed(0)
    W = QuantizedConvolution2D(80, 500, (3, 5), groups=2).W.array
    assert W.dtype == numpy.float32
    assert abs(W.mean()) < 3e-4
    assert W.std() == pytest.approx((40 * 15) ** -0.5, rel=0.01)


def test_default_bias_is_zero():
    assert QuantizedConvolution2D(4, 6, 3).b.array.tolist() == [0] * 6


def test_nobias_has_no_bias(x):
    link = QuantizedConvolution2D(4, 6, 3, nobias=True)
    assert link.b is None
    assert [name for name, _ in link.namedparams()] == ['/W']
    numpy.testing.assert_array_equal(
        link(x).array, quantized_convolution_2d(x, link.W).array)


def test_initial_values_can_be_arrays_and_initializers(random):
    W = random.standard_normal((6, 4, 3, 3)).astype('f')
    link = QuantizedConvolution2D(
        4, 6, 3, initialW=W, initial_bias=initializers.Constant(0.25))
    numpy.testing.assert_array_equal(link.W.array, W)
    assert link.b.array.tolist() == [0.25] * 6


def test_a_link_is_made_from_parameters(x, random):
    W = random.standard_normal((6, 4, 3, 3)).astype('f')
    b = random.standard_normal(6).astype('f')
    link = QuantizedConvolution2D.from_params(W, b, pad=1)
    assert type(link) is QuantizedConvolution2D
    numpy.testing.assert_array_equal(
        link(x).array, quantized_convolution_2d(x, W, b, pad=1).array)


def test_weights_have_their_axes_in_chainers_fast_mode_too(x):
    with chainer.using_config('compute_mode', 'cudnn_fast'):
        link = QuantizedConvolution2D(None, 6, 3)
        link(x)
        assert chainer.get_compute_mode() == 'cudnn_fast'
    assert link.W.array.shape == (6, 4, 3, 3)


@pytest.mark.parametrize('groups', [3, 8])
def test_channels_that_are_no_multiple_of_the_groups_are_refused(groups):
    with pytest.raises(ValueError, match='divisible by the number of groups'):
        QuantizedConvolution2D(4, 6, 3, groups=groups)


def test_a_quantizer_of_its_own_is_made_for_each_link():
    links = [QuantizedConvolution2D(4, 6, 3) for _ in range(2)]
    assert all(link.quantizer.is_binary for link in links)
    assert links[0].quantizer is not links[1].quantizer
