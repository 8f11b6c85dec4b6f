import chainer_compat
import chainer
import chainer.functions as F
import numpy
import pytest
from chainer import gradient_check
from chainer.utils import type_check

from layers.max_pooling_2d import max_pooling_2d
from tests.helpers.kernel_samples import same_bits

DTYPES = [numpy.float16, numpy.float32, numpy.float64]


def without_ties(random, shape, dtype=numpy.float64):
    """Returns images whose values are far from each other."""
    return random.permutation(numpy.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('ksize', [1, 2, 3, (2, 3), [3, 1]])
def test_values_and_gradients_are_those_of_chainer(
        ksize, dtype, kernel_path, random):
    x = random.randint(-3, 4, (2, 3, 7, 8)).astype(dtype)
    x[0, 0, :3], x[1, 1, 2:4, 3] = 0, numpy.nan
    x[0, 0, 1] = -0.
    gy, results = None, []
    for function in max_pooling_2d, lambda x, k: F.max_pooling_2d(
            x, tuple(k) if isinstance(k, list) else k, cover_all=False):
        variable = chainer.Variable(x.copy())
        y = function(variable, ksize)
        if gy is None:
            gy = random.standard_normal(y.shape).astype(dtype)
        y.grad = gy.copy()
        y.backward(retain_grad=True)
        same_bits(y.grad, gy)
        same_bits(variable.array, x)
        results.append((y.array, variable.grad))
    numpy.testing.assert_array_equal(*(y for y, _ in results))
    same_bits(*(gx for _, gx in results))
    assert results[0][0].dtype == dtype


@pytest.mark.parametrize(('size', 'out_size'), [
    (28, 14), (14, 7), (7, 3), (3, 1)])
def test_what_fills_no_window_is_left_out(size, out_size):
    assert max_pooling_2d(
        numpy.ones((1, 1, size, size), 'f'), 2).shape[2:] == (
            out_size, out_size)


def test_the_gradient_is_that_of_numerical_differentiation(
        kernel_path, random):
    gradient_check.check_backward(
        lambda x: max_pooling_2d(x, 2), without_ties(random, (2, 3, 5, 4)),
        random.standard_normal((2, 3, 2, 2)), eps=.1, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('ksize', [2, (3, 1)])
def test_double_backward_agrees_with_numerical_differentiation(
        ksize, kernel_path, random):
    x = without_ties(random, (2, 3, 5, 4))
    gy = random.standard_normal(max_pooling_2d(x, ksize).shape)
    gradient_check.check_double_backward(
        # Not linear, so that the first gradient depends on x.
        lambda x: max_pooling_2d(x, ksize) ** 2, x, gy,
        random.standard_normal(x.shape), eps=1e-3, rtol=1e-4, atol=1e-4)


def test_a_third_gradient_is_there(random):
    x = chainer.Variable(without_ties(random, (1, 1, 4, 4)))
    y = F.sum(max_pooling_2d(x, 2) ** 3)
    for _ in range(3):
        gx, = chainer.grad([y], [x], enable_double_backprop=True)
        y = F.sum(gx)
    largest = x.array.reshape(2, 2, 2, 2).max(axis=(1, 3), keepdims=True)
    numpy.testing.assert_array_equal(
        gx.array, 6. * (x.array.reshape(2, 2, 2, 2) == largest).reshape(
            x.shape))


@pytest.mark.parametrize('dtype', DTYPES)
def test_an_empty_batch_has_an_empty_result(dtype, kernel_path):
    x = chainer.Variable(numpy.ones((0, 3, 4, 4), dtype))
    y = max_pooling_2d(x, 2)
    assert (y.shape, y.dtype) == ((0, 3, 2, 2), dtype)
    y.grad = y.array
    y.backward()
    assert (x.grad.shape, x.grad.dtype) == (x.shape, dtype)


def test_non_contiguous_images_give_what_their_copies_give(
        kernel_path, random):
    x = without_ties(random, (4, 3, 6, 6), numpy.float32)[::2, :, ::-1]
    same_bits(max_pooling_2d(x, 2).array, max_pooling_2d(x.copy(), 2).array)


@pytest.mark.parametrize(('shape', 'dtype'), [
    ((2, 3, 1, 4), 'f'), ((2, 3, 4, 1), 'f'), ((3, 4, 4), 'f'),
    ((2, 16), 'f'), ((2, 3, 4, 4), 'i')])
def test_shapes_and_dtypes_that_do_not_fit_are_refused(shape, dtype):
    with pytest.raises(type_check.InvalidType):
        max_pooling_2d(numpy.ones(shape, dtype), 2)


@pytest.mark.parametrize(('ksize', 'message'), [
    (0, 'at least 1'), (-1, 'at least 1'), ((2, 0), 'at least 1'),
    ((2,), 'one number or two'), ((2, 2, 2), 'one number or two'),
    ((16, 17), 'of 256 pixels at most'), (257, 'of 256 pixels at most')])
def test_windows_that_are_none_or_too_large_are_refused(ksize, message):
    with pytest.raises(ValueError, match=f'ksize must be {message}, got '):
        max_pooling_2d(numpy.ones((1, 1, 300, 300), 'f'), ksize)


def test_a_numpy_integer_is_a_size(random):
    x = random.standard_normal((1, 2, 4, 6))
    numpy.testing.assert_array_equal(
        max_pooling_2d(x, numpy.int64(2)).array, max_pooling_2d(x, 2).array)


def test_the_largest_window_has_256_pixels(random):
    x = without_ties(random, (1, 2, 16, 16), numpy.float32)
    same_bits(max_pooling_2d(x, 16).array, x.max(axis=(2, 3), keepdims=True))


@pytest.mark.gpu
def test_gpu_gives_what_the_cpu_gives(random):
    import cupy
    x = random.randint(-3, 4, (2, 3, 7, 8)).astype('f')
    results = []
    for xp in numpy, cupy:
        variable = chainer.Variable(xp.asarray(x))
        y = max_pooling_2d(variable, 2)
        gx, = chainer.grad([F.sum(y * y)], [variable],
                           enable_double_backprop=True)
        ggx, = chainer.grad([F.sum(gx * gx)], [variable])
        results.append([chainer.get_device('@numpy').send(v.array)
                        for v in (gx, ggx)])
    for a, b in zip(*results):
        numpy.testing.assert_array_equal(a, b)
