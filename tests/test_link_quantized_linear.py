import chainer_compat
import chainer
import chainer.links as L
import numpy
import pytest
from chainer import initializers

from function_quantized_linear import quantized_linear
from link_quantized_linear import QuantizedLinear


def test_forward_is_quantized_linear_of_its_parameters(random):
    link = QuantizedLinear(7, 5, initial_bias=random.standard_normal(5))
    x = random.standard_normal((4, 7)).astype(numpy.float32)
    numpy.testing.assert_array_equal(
        link(x).array, quantized_linear(x, link.W, link.b).array)
    assert not numpy.array_equal(
        link(x).array, L.Linear.forward(link, x).array)


@pytest.mark.parametrize('arguments', [(5,), (None, 5)])
def test_input_size_is_taken_from_the_first_batch(arguments, random):
    link = QuantizedLinear(*arguments)
    assert link.W.array is None
    link(random.standard_normal((4, 7)).astype(numpy.float32))
    assert link.W.shape == (5, 7)


def test_input_size_respects_the_number_of_batch_axes(random):
    link = QuantizedLinear(5)
    x = random.standard_normal((2, 3, 7)).astype(numpy.float32)
    assert link(x, n_batch_axes=2).shape == (2, 3, 5)
    assert link.W.shape == (5, 7)


def test_default_weights_are_normal_with_variance_one_over_in_size():
    numpy.random.seed(0)
    W = QuantizedLinear(400, 1000).W.array
    assert W.dtype == numpy.float32
    assert abs(W.mean()) < 3e-4
    assert W.std() == pytest.approx(400 ** -0.5, rel=0.01)
    # A normal distribution's share within one standard deviation.
    assert (numpy.abs(W) < 400 ** -0.5).mean() == pytest.approx(.6827, abs=.01)


def test_default_bias_is_zero():
    assert QuantizedLinear(7, 5).b.array.tolist() == [0] * 5


def test_nobias_has_no_bias(random):
    link = QuantizedLinear(7, 5, nobias=True)
    assert link.b is None
    assert [name for name, _ in link.namedparams()] == ['/W']
    x = random.standard_normal((4, 7)).astype(numpy.float32)
    numpy.testing.assert_array_equal(
        link(x).array, quantized_linear(x, link.W).array)


def test_initial_values_can_be_arrays_and_initializers(random):
    W = random.standard_normal((5, 7)).astype(numpy.float32)
    link = QuantizedLinear(7, 5, initialW=W,
                           initial_bias=initializers.Constant(0.25))
    numpy.testing.assert_array_equal(link.W.array, W)
    assert link.b.array.tolist() == [0.25] * 5


def test_it_takes_the_place_of_linear_in_snapshots(tmp_path, random):
    linear = L.Linear(7, 5)
    chainer.serializers.save_npz(str(tmp_path / 'link'), linear)
    link = QuantizedLinear(7, 5)
    chainer.serializers.load_npz(str(tmp_path / 'link'), link)
    numpy.testing.assert_array_equal(link.W.array, linear.W.array)
