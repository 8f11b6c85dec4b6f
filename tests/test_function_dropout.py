import chainer_compat  # noqa: F401  (before chainer)
import chainer
import numpy
import pytest

from function_dropout import dropout


@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
def test_values_and_gradients_are_dropped_together(dtype, random):
    x = chainer.Variable(random.uniform(1, 2, (50, 40)).astype(dtype))
    y = dropout(x, .2)
    mask = numpy.where(y.array == 0, 0, dtype(1 / .8))
    assert y.dtype == dtype
    numpy.testing.assert_array_equal(y.array, x.array * mask.astype(dtype))
    assert abs((mask == 0).mean() - .2) < 5 * (.16 / 2000) ** .5
    gy = random.standard_normal(x.shape).astype(dtype)
    y.grad = gy
    y.backward()
    numpy.testing.assert_array_equal(x.grad, gy * mask.astype(dtype))


def test_the_seed_of_numpy_decides():
    x = numpy.ones(1000, numpy.float32)
    numpy.random.seed(3)
    first, second = dropout(x, .5).array, dropout(x, .5).array
    assert (first != second).any()
    numpy.random.seed(3)
    numpy.testing.assert_array_equal(dropout(x, .5).array, first)


def test_in_evaluation_nothing_is_dropped_or_drawn():
    x = numpy.ones(1000, numpy.float32)
    before = numpy.random.get_state()[2]
    with chainer.using_config('train', False):
        assert dropout(x, .5).array is x
    assert numpy.random.get_state()[2] == before
