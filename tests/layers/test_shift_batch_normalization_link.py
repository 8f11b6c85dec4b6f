import chainer_compat  # noqa: F401  (before chainer)
import chainer
import numpy

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
