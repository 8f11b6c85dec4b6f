import chainer_compat
import numpy
import pytest
from chainer import gradient_check
from chainer.utils import type_check

from kernels.window import Window
from layers.convolution_2d import convolution_2d, make_window
from tests.helpers import convolutions

on_cases = pytest.mark.parametrize(
    ('size', 'ksize', 'arguments'), convolutions.CASES,
    ids=convolutions.NAMES)


@on_cases
def test_gradients_of_x_W_and_b_agree_with_numerical_differentiation(
        size, ksize, arguments, kernel_path, random):
    x, W, b, gy = convolutions.case_arrays(
        random, 'd', size, ksize, arguments)
    window = make_window(**arguments)
    gradient_check.check_backward(
        lambda x, W, b: convolution_2d(x, W, b, window), (x, W, b), gy,
        eps=1e-3)


@on_cases
def test_second_gradients_agree_with_numerical_differentiation(
        size, ksize, arguments, kernel_path, random):
    x, W, b, gy = convolutions.case_arrays(
        random, 'd', size, ksize, arguments, n=2, n_out=4)
    window = make_window(**arguments)
    gradient_check.check_double_backward(
        lambda x, W, b: convolution_2d(x, W, b, window), (x, W, b), gy,
        tuple(random.standard_normal(array.shape) for array in (x, W, b)),
        eps=1e-3)


@pytest.mark.parametrize(('arguments', 'window'), [
    ({}, Window()),
    ({'stride': 2, 'pad': 3, 'dilate': 4, 'groups': 5},
     Window((2, 2), (3, 3), (4, 4), 5)),
    ({'stride': (1, 2), 'pad': [0, 3], 'dilate': numpy.array([4, 5])},
     Window((1, 2), (0, 3), (4, 5))),
    ({'stride': numpy.int64(2), 'groups': numpy.int64(3)},
     Window((2, 2), groups=3)),
])
def test_a_window_has_pairs_of_ints(arguments, window):
    assert make_window(**arguments) == window


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'stride': 0}, 'stride must be at least 1, got 0'),
    ({'stride': (1, -1)}, r'stride must be at least 1, got \(1, -1\)'),
    ({'stride': (1, 2, 3)}, 'stride must be one number or two'),
    ({'pad': -1}, 'pad must be at least 0, got -1'),
    ({'pad': ()}, r'pad must be one number or two, got \(\)'),
    ({'dilate': 0}, 'dilate must be at least 1, got 0'),
    ({'groups': 0}, 'groups must be at least 1, got 0'),
    ({'groups': (1, 2)}, r'groups must be one number, got \(1, 2\)'),
])
def test_a_window_that_cannot_move_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_window(**arguments)


@pytest.mark.parametrize('name', ['stride', 'pad', 'dilate', 'groups'])
@pytest.mark.parametrize('value', [1.5, None, 1., 'a'])
def test_what_is_no_integer_is_refused(name, value):
    with pytest.raises(TypeError, match='integer'):
        make_window(**{name: value})


@pytest.mark.parametrize(('size', 'arguments'), [
    ((2, 9), {}), ((9, 2), {}), ((4, 9), {'dilate': 2}), ((0, 3), {'pad': 1}),
])
def test_a_window_larger_than_the_padded_image_is_refused(size, arguments):
    x = numpy.ones((1, 2, *size), 'f')
    W = numpy.ones((2, 2, 3, 3), 'f')
    with pytest.raises(ValueError, match='the window must fit into the image'):
        convolution_2d(x, W, None, make_window(**arguments))


def test_weights_of_another_dtype_are_refused():
    x = numpy.ones((1, 2, 3, 3))
    with pytest.raises(type_check.InvalidType, match=r'W\.dtype == x\.dtype'):
        convolution_2d(x, x.astype('f'), None, Window())
