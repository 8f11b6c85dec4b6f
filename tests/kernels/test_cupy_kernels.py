"""CuPy's kernels, by a stand-in compiled for the CPU and, marked, on a GPU.

They give the same bits as NumPy's, but for sums in another order.
"""
import functools

import numpy
import pytest

import kernels
from kernels import numpy_kernels
from kernels.window import Window
from tests.helpers import convolutions
from tests.helpers.kernel_samples import (
    ADAM, CLIP, QUANTIZE, SIZES, adam_arrays, rounding_samples, same_bits,
    samples)


def every_float16():
    """Returns each of the float16 numbers."""
    return numpy.arange(1 << 16, dtype=numpy.uint16).view(numpy.float16)


def check_elementwise(backend, cupy, dtype, size, random):
    """Compares a backend's elementwise kernels with NumPy's, bit for bit."""
    x, gy = samples(dtype, size, random), samples(dtype, size, random)
    if dtype == numpy.float16 and size == SIZES[-1]:
        x, gy = every_float16(), random.permutation(every_float16())
    on_gpu = [cupy.asarray(array) for array in (x, gy)]
    with numpy.errstate(invalid='ignore'):
        same_bits(cupy.asnumpy(backend.binarize(on_gpu[0])),
                  numpy_kernels.binarize(x))
        same_bits(cupy.asnumpy(backend.binarize_backward(*on_gpu)),
                  numpy_kernels.binarize_backward(x, gy))
    numbers = random.randint(0, 1 << 32, x.shape, numpy.uint32)
    if size == SIZES[-1]:
        x = rounding_samples(dtype, random) if dtype != numpy.float16 else x
        numbers = numpy.resize(numbers, x.shape)
    there = cupy.asarray(x)
    with numpy.errstate(all='ignore'):
        for quantize in QUANTIZE.values():
            same_bits(cupy.asnumpy(quantize(backend, there)),
                      quantize(numpy_kernels, x))
        same_bits(cupy.asnumpy(backend.binarize_stochastic(
            there, cupy.asarray(numbers))),
            numpy_kernels.binarize_stochastic(x, numbers))
        assert int(backend.count_outside(there)) == (
            numpy_kernels.count_outside(x))
        same_bits(cupy.asnumpy(backend.dropout_mask(there, .3, 1 << 63)),
                  numpy_kernels.dropout_mask(x, .3, 1 << 63))
    if dtype == numpy.float16:  # which is updated by Chainer's code
        return
    rules = [functools.partial(adam, **clip) for clip in ({}, CLIP)
             for adam in (
        lambda backend, *args, **clip: backend.adam(*args, **ADAM, **clip),
        lambda backend, *args, **clip: backend.shift_adamax(
            *args, 2. ** -6, .9, .999, **clip))]
    for rule in rules:
        arrays = adam_arrays(random, dtype, (size,))
        if size > 20:
            for array in arrays:
                array[:20] = samples(dtype, 20, random)
        on_gpu = [cupy.asarray(array) for array in arrays]
        with numpy.errstate(all='ignore'):
            rule(numpy_kernels, *arrays)
            rule(backend, *on_gpu)
        for a, b in zip(on_gpu, arrays):
            same_bits(cupy.asnumpy(a), b)


def check_batch_normalization(backend, cupy, dtype, n, random):
    """Compares a backend's batch normalization with NumPy's."""
    x, gy = random.standard_normal((2, n, 70)).astype(dtype)
    gamma, beta = random.standard_normal((2, 70)).astype(dtype)
    y, mean, var, inv_std = numpy_kernels.batch_normalization(
        x, gamma, beta, 2e-5)
    expected = [y, mean, var, inv_std,
                *numpy_kernels.batch_normalization_backward(
                    x, gamma, gy, mean, inv_std)]
    x, gamma, beta, gy = map(cupy.asarray, (x, gamma, beta, gy))
    y, mean, var, inv_std = backend.batch_normalization(x, gamma, beta, 2e-5)
    actual = [y, mean, var, inv_std,
              *backend.batch_normalization_backward(
                  x, gamma, gy, mean, inv_std)]
    tolerance = 100 * numpy.finfo(dtype).eps
    for a, b in zip(actual, expected):
        assert a.dtype == dtype
        # Of one image the variance is 0, and eps the whole of the root.
        numpy.testing.assert_allclose(
            cupy.asnumpy(a), b, rtol=tolerance,
            atol=tolerance * max(1, abs(b).max()))


def check_products(backend, cupy, dtype, random):
    """Compares a backend's products of signs with NumPy's, bit for bit."""
    x, W = (random.choice([-1, 1], shape).astype(dtype)
            for shape in ((9, 130), (70, 130)))
    on_gpu = cupy.asarray(x), cupy.asarray(W)
    same_bits(cupy.asnumpy(backend.dot(on_gpu[0], on_gpu[1].T)), x.dot(W.T))
    matrix = backend.sign_matrix(on_gpu[1] / 2)
    same_bits(cupy.asnumpy(matrix.multiply_transposed(on_gpu[0])), x.dot(W.T))
    same_bits(cupy.asnumpy(matrix.multiply(on_gpu[1][:, :70])),
              W[:, :70].dot(W))


def check_convolutions(backend, cupy, dtype, random):
    """Compares a backend's convolutions of integers with NumPy's."""
    for size, ksize, arguments in convolutions.CASES:
        window = Window(groups=arguments.get('groups', 1), **{
            name: convolutions.pair(value)
            for name, value in arguments.items() if name != 'groups'})
        for n in 3, 0:
            x, W, gy = (random.randint(-3, 4, shape).astype(dtype)
                        for shape in (
                (n, 4, *size), (8, 4 // window.groups, *ksize),
                (n, 8, *window.out_size(size, ksize))))
            for name, arrays, rest in [
                    ('convolution_2d', (x, W), (window,)),
                    ('convolution_2d_gx', (gy, W), (window, size)),
                    ('convolution_2d_gW', (x, gy), (window, ksize))]:
                result = getattr(backend, name)(
                    *map(cupy.asarray, arrays), *rest)
                expected = getattr(numpy_kernels, name)(*arrays, *rest)
                assert result.flags.c_contiguous
                assert result.dtype == expected.dtype
                numpy.testing.assert_array_equal(
                    cupy.asnumpy(result), expected)


@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
@pytest.mark.parametrize('size', SIZES)
def test_cuda_code_equals_numpy_bit_for_bit_on_the_host(
        host_cupy_kernels, dtype, size, random):
    check_elementwise(host_cupy_kernels, host_cupy_kernels.cupy, dtype, size,
                      random)


@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
@pytest.mark.parametrize('n', [1, 2, 100])
def test_cuda_batch_normalization_agrees_with_numpy_on_the_host(
        host_cupy_kernels, dtype, n, random):
    check_batch_normalization(
        host_cupy_kernels, host_cupy_kernels.cupy, dtype, n, random)


@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
def test_normalization_rounds_as_numpy_does_on_the_host(
        host_cupy_kernels, dtype, random):
    cupy, kernel = host_cupy_kernels.cupy, host_cupy_kernels._kernel
    x, gy = random.standard_normal((2, 1000)).astype(dtype)
    mean, inv_std, gamma, beta, ggamma, gbeta, inv_n = (
        random.standard_normal(7).astype(dtype))
    same_bits(
        kernel(host_cupy_kernels.NORMALIZE)(
            cupy.asarray(x), mean, inv_std, gamma, beta).get(),
        (x - mean) * inv_std * gamma + beta)
    same_bits(
        kernel(host_cupy_kernels.NORMALIZE_BACKWARD)(
            cupy.asarray(x), mean, inv_std, gamma, cupy.asarray(gy), ggamma,
            gbeta, inv_n).get(),
        gamma * inv_std * (
            gy - ((x - mean) * inv_std * ggamma + gbeta) * inv_n))


def test_cuda_products_of_signs_are_exact_on_the_host(
        host_cupy_kernels, random):
    check_products(host_cupy_kernels, host_cupy_kernels.cupy, numpy.float32,
                   random)


@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
def test_cuda_convolutions_of_integers_are_exact_on_the_host(
        host_cupy_kernels, dtype, random):
    check_convolutions(
        host_cupy_kernels, host_cupy_kernels.cupy, dtype, random)


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
def test_cupy_convolutions_of_integers_are_exact(dtype, random):
    import cupy
    check_convolutions(kernels, cupy, dtype, random)


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
def test_cupy_equals_numpy_bit_for_bit(dtype, random):
    import cupy
    for size in SIZES:
        check_elementwise(kernels, cupy, dtype, size, random)


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
def test_cupy_sums_agree_with_numpy(dtype, random):
    import cupy
    for n in 1, 2, 100:
        check_batch_normalization(kernels, cupy, dtype, n, random)
    check_products(kernels, cupy, dtype, random)
