import chainer_compat
import chainer.functions as F
import numpy
import pytest
from chainer import Variable

import kernels
from kernels import numpy_kernels
from tests.helpers import needs_numba, numba_kernels, on_each_backend
from tests.helpers.kernel_samples import same_bits, samples

# Images and windows: those that fill the image and those that leave some out,
# of one pixel, wider than vectors are, empty.
CASES = [((2, 3, 6, 8), (2, 2)), ((2, 3, 7, 7), (2, 2)),
         ((1, 2, 2, 3), (2, 2)), ((3, 1, 5, 67), (2, 2)),
         ((2, 2, 9, 10), (3, 2)), ((2, 2, 8, 35), (1, 3)),
         ((2, 2, 5, 4), (1, 1)), ((1, 1, 34, 33), (16, 16)),
         ((0, 3, 4, 4), (2, 2)), ((2, 0, 4, 4), (2, 2)),
         ((2, 3, 1, 4), (2, 2)), ((2, 3, 4, 2), (3, 3))]
DTYPES = [numpy.float16, numpy.float32, numpy.float64]

with_cases = pytest.mark.parametrize(('shape', 'ksize'), CASES)
with_dtypes = pytest.mark.parametrize('dtype', DTYPES)


def images(shape, dtype, random):
    """Returns images of few values, so that there are ties, and of NaN."""
    size = numpy.prod(shape)
    values = numpy.concatenate([
        samples(dtype, size, random), random.choice([-1, 0., -0.], size),
        [numpy.nan] * (size // 4)])
    return random.choice(values, shape).astype(dtype)


def out_shape(shape, ksize):
    return (*shape[:2], shape[2] // ksize[0], shape[3] // ksize[1])


def check(backend, xp, shape, ksize, dtype, random):
    """Compares a backend with the reference, bit for bit."""
    x = images(shape, dtype, random)
    y, index = numpy_kernels.max_pooling_2d(x, ksize)
    actual = backend.max_pooling_2d(xp.asarray(x), ksize)
    same_bits(xp.asnumpy(actual[0]), y)
    same_bits(xp.asnumpy(actual[1]), index)
    gy = samples(dtype, y.size, random).reshape(y.shape)
    same_bits(
        xp.asnumpy(backend.max_pooling_2d_backward(
            xp.asarray(gy), actual[1], ksize, shape[2:])),
        numpy_kernels.max_pooling_2d_backward(gy, index, ksize, shape[2:]))


class OnHost:
    """NumPy, as a backend on a device has it."""

    asarray = asnumpy = staticmethod(numpy.asarray)


@with_cases
@with_dtypes
def test_the_reference_is_the_first_maximum_row_by_row(
        shape, ksize, dtype, random):
    x = images(shape, dtype, random)
    y, index = numpy_kernels.max_pooling_2d(x, ksize)
    assert (y.shape, y.dtype) == (out_shape(shape, ksize), dtype)
    assert (index.shape, index.dtype) == (y.shape, numpy.uint8)
    for n, c, i, j in numpy.ndindex(y.shape):
        window = x[n, c, ksize[0] * i:ksize[0] * (i + 1),
                   ksize[1] * j:ksize[1] * (j + 1)].ravel()
        # NaN counts as the most.
        assert index[n, c, i, j] == window.argmax()
        same_bits(y[n, c, i, j], window[window.argmax()])


@with_dtypes
@pytest.mark.parametrize(('shape', 'ksize'), [
    (shape, ksize) for shape, ksize in CASES
    if 0 not in out_shape(shape, ksize)[2:] and 0 not in shape])
@on_each_backend
def test_values_and_gradients_are_those_of_chainer(
        backend, shape, ksize, dtype, random):
    x = Variable(images(shape, dtype, random))
    y = F.max_pooling_2d(x, ksize, cover_all=False)
    actual, index = backend.max_pooling_2d(x.array, ksize)
    numpy.testing.assert_array_equal(actual, y.array)
    gy = samples(dtype, y.size, random).reshape(y.shape)
    y.grad = gy.copy()
    y.backward()
    # Chainer's has 0 where gy is -0.0.
    numpy.testing.assert_array_equal(
        backend.max_pooling_2d_backward(gy, index, ksize, shape[2:]), x.grad)


@needs_numba
@with_cases
@with_dtypes
def test_numba_equals_numpy_bit_for_bit(shape, ksize, dtype, random):
    check(numba_kernels, OnHost, shape, ksize, dtype, random)


@needs_numba
@pytest.mark.parametrize('ksize', [(2, 2), (3, 2)])
def test_numba_on_some_cores_equals_numpy_bit_for_bit(
        some_threads, ksize, random):
    check(numba_kernels, OnHost, (3, 2, 7, 9), ksize, numpy.float32, random)


@on_each_backend
@pytest.mark.parametrize('ksize', [(2, 2), (3, 3)])
def test_any_memory_layout_gives_the_same_values(backend, ksize, random):
    x = images((4, 3, 9, 10), numpy.float32, random)
    for view in (x[::2, :, ::-1], x[..., ::2], x.transpose(1, 0, 3, 2),
                 numpy.asfortranarray(x)):
        y, index = backend.max_pooling_2d(view, ksize)
        expected = numpy_kernels.max_pooling_2d(view.copy(order='C'), ksize)
        same_bits(y, expected[0])
        same_bits(index, expected[1])
        gy = samples(numpy.float32, y.size, random).reshape(y.T.shape).T
        same_bits(
            backend.max_pooling_2d_backward(gy, index, ksize, view.shape[2:]),
            numpy_kernels.max_pooling_2d_backward(
                gy.copy(order='C'), index, ksize, view.shape[2:]))


@on_each_backend
def test_the_arguments_are_left_as_they_were(backend, random):
    x = images((2, 3, 6, 6), numpy.float32, random)
    before = x.copy()
    y, index = backend.max_pooling_2d(x, (2, 2))
    before_y, before_index = y.copy(), index.copy()
    backend.max_pooling_2d_backward(y, index, (2, 2), (6, 6))
    for a, b in (x, before), (y, before_y), (index, before_index):
        same_bits(a, b)


@with_cases
@with_dtypes
def test_cuda_code_equals_numpy_bit_for_bit_on_the_host(
        host_cupy_max_pooling, shape, ksize, dtype, random):
    check(host_cupy_max_pooling, host_cupy_max_pooling.cupy, shape, ksize,
          dtype, random)


@pytest.mark.gpu
@with_dtypes
def test_cupy_equals_numpy_bit_for_bit(dtype, random):
    import cupy
    for shape, ksize in CASES:
        check(kernels, cupy, shape, ksize, dtype, random)
