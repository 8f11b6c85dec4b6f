import chainer_compat  # noqa: F401  (before chainer)
import chainer
import chainer.functions as F
import numpy
import pytest
from chainer.utils import type_check

from layers.shift_batch_normalization import (
    fixed_shift_batch_normalization, shift_batch_normalization)
from layers.shift_batch_normalization import ShiftBatchNormalization


def make_link(random):
    link = ShiftBatchNormalization(5)
    link.gamma.array[...] = random.uniform(-1.5, 1.5, 5)
    link.beta.array[...] = random.standard_normal(5)
    return link


def test_training_normalizes_by_the_batch_and_keeps_averages(random):
    link = make_link(random)
    x = random.standard_normal((8, 5)).astype('f')
    mean, inv_std = link.avg_mean.copy(), link.avg_inv_std.copy()
    expected = shift_batch_normalization(
        x, link.gamma, link.beta, 1e-5, mean, inv_std, .875)
    numpy.testing.assert_array_equal(link(x).array, expected.array)
    numpy.testing.assert_array_equal(link.avg_mean, mean)
    numpy.testing.assert_array_equal(link.avg_inv_std, inv_std)
    assert (link.avg_mean != 0).all()


def test_evaluation_normalizes_by_the_averages_and_leaves_them(random):
    link = make_link(random)
    x = random.standard_normal((8, 5)).astype('f')
    link(x)
    mean, inv_std = link.avg_mean.copy(), link.avg_inv_std.copy()
    with chainer.using_config('train', False):
        y = link(x)
    numpy.testing.assert_array_equal(
        y.array, fixed_shift_batch_normalization(
            x, link.gamma.array, link.beta.array, mean, inv_std).array)
    numpy.testing.assert_array_equal(link.avg_mean, mean)
    numpy.testing.assert_array_equal(link.avg_inv_std, inv_std)


def test_parameters_and_averages_are_saved(random, tmp_path):
    link = make_link(random)
    link(random.standard_normal((8, 5)).astype('f'))
    chainer.serializers.save_npz(str(tmp_path / 'link'), link)
    other = ShiftBatchNormalization(5)
    chainer.serializers.load_npz(str(tmp_path / 'link'), other)
    for name in 'avg_mean', 'avg_inv_std':
        numpy.testing.assert_array_equal(
            getattr(other, name), getattr(link, name))
    numpy.testing.assert_array_equal(other.gamma.array, link.gamma.array)


@pytest.mark.parametrize('size', [None, 5., (5,), 'axis'])
def test_a_size_that_is_no_whole_number_is_refused(size):
    with pytest.raises(TypeError, match='size must be a whole number, got'):
        ShiftBatchNormalization(size)


@pytest.mark.parametrize('train', [False, True])
@pytest.mark.parametrize('x', [
    numpy.ones((8, 4), 'f'), numpy.ones((8, 1), 'f'), numpy.ones(5, 'f'),
    numpy.ones((8, 5, 1), 'f'), numpy.ones((8, 5), 'd'),
    numpy.ones((8, 5), 'e'), numpy.ones((8, 5), 'i')],
    ids=lambda x: f'{x.shape} {x.dtype}')
def test_a_batch_that_does_not_fit_is_refused_in_either_mode(
        x, train, random):
    with chainer.using_config('train', train), pytest.raises(
            type_check.InvalidType):
        make_link(random)(x)


def test_an_empty_batch_can_be_evaluated_alone(random):
    link, x = make_link(random), numpy.ones((0, 5), 'f')
    with pytest.raises(type_check.InvalidType):
        link(x)
    with chainer.using_config('train', False):
        assert link(x).shape == (0, 5)


def test_it_is_of_float32_whatever_the_configuration_says(random):
    with chainer.using_config('dtype', numpy.float64):
        link = make_link(random)
        assert link(random.standard_normal((8, 5)).astype('f')).dtype == 'f'
    assert link.gamma.dtype == link.avg_mean.dtype == numpy.float32


def test_a_batch_that_is_computed_again_counts_once(random):
    link = make_link(random)
    other = link.copy('copy')
    x = chainer.Variable(random.standard_normal((8, 5)).astype('f'))
    gradients = []
    for function in link, lambda x: F.forget(other, x):
        x.cleargrad()
        F.sum(function(x) ** 2).backward()
        gradients.append(x.grad)
    numpy.testing.assert_array_equal(*gradients)
    numpy.testing.assert_array_equal(link.avg_mean, other.avg_mean)
    numpy.testing.assert_array_equal(link.avg_inv_std, other.avg_inv_std)
