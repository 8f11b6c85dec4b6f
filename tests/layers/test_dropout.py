import chainer_compat
import chainer
import chainer.functions as F
import numpy
import pytest
from chainer.utils import type_check

from layers.dropout import dropout


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


@pytest.mark.parametrize('ratio', [-.1, 1, 1.5, numpy.nan])
def test_a_ratio_below_zero_or_from_one_on_is_refused(ratio):
    with pytest.raises(ValueError, match='ratio must be in the range'):
        dropout(numpy.ones(8, numpy.float32), ratio)


@pytest.mark.parametrize('kwargs', [
    {'train': True}, {'unknown': 1}, {'mask': None, 'return_masks': True}])
@pytest.mark.parametrize('train', [False, True])
def test_an_argument_that_it_does_not_take_is_an_error_as_chainers(
        train, kwargs):
    messages = []
    for function in dropout, F.dropout:
        with chainer.using_config('train', train), pytest.raises(
                (TypeError, ValueError)) as info:
            function(numpy.ones(8, numpy.float32), **kwargs)
        messages.append((info.type, str(info.value)))
    assert messages[0] == messages[1]


def test_integers_are_refused():
    with pytest.raises(type_check.InvalidType, match='kind'):
        dropout(numpy.ones(8, numpy.int32))


def test_the_mask_is_returned_and_can_be_given_again(random):
    x = random.uniform(1, 2, (50, 40)).astype(numpy.float32)
    y, mask = dropout(x, .2, return_mask=True)
    assert (mask.shape, mask.dtype) == (x.shape, x.dtype)
    numpy.testing.assert_array_equal(y.array, x * mask)
    before = numpy.random.get_state()[2]
    z, same = dropout(2 * x, mask=mask, return_mask=True)
    assert same is mask
    numpy.testing.assert_array_equal(z.array, 2 * x * mask)
    assert numpy.random.get_state()[2] == before
    z.grad = random.standard_normal(x.shape).astype(numpy.float32)
    variable = chainer.Variable(x)
    y = dropout(variable, mask=mask)
    y.grad = z.grad
    y.backward()
    numpy.testing.assert_array_equal(variable.grad, z.grad * mask)


def test_in_evaluation_the_mask_has_no_effect_and_none_is_returned():
    x = numpy.ones(8, numpy.float32)
    with chainer.using_config('train', False):
        y, mask = dropout(x, mask=0 * x, return_mask=True)
    assert y.array is x
    assert mask is None


def test_it_can_be_put_in_the_place_of_chainers(monkeypatch):
    monkeypatch.setattr(F, 'dropout', dropout)
    assert F.dropout(numpy.ones(8, numpy.float32)).shape == (8,)


@pytest.mark.parametrize('shape', [(0,), (0, 3), (4, 3, 2)])
def test_any_shape_and_layout_gives_what_its_copy_gives(shape, random):
    x = random.uniform(1, 2, shape).astype(numpy.float32)
    numpy.random.seed(0)
    y = dropout(x, .5).array
    assert y.shape == shape
    numpy.random.seed(0)
    numpy.testing.assert_array_equal(
        dropout(numpy.asfortranarray(x), .5).array, y)


@pytest.mark.gpu
def test_a_gpu_drops_the_same_values(random):
    import cupy
    x = random.uniform(1, 2, (50, 40)).astype(numpy.float32)
    numpy.random.seed(0)
    y = dropout(x, .3).array
    numpy.random.seed(0)
    numpy.testing.assert_array_equal(
        cupy.asnumpy(dropout(cupy.asarray(x), .3).array), y)
