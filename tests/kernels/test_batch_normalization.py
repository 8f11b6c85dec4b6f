"""Batch normalization of images; that of vectors is in tests/layers."""
import numpy
import pytest

import kernels
from kernels import numpy_kernels
from tests.helpers import needs_numba, numba_kernels, on_each_backend
from tests.helpers.kernel_samples import same_bits, samples

# Planes of fewer pixels than a sum has lanes, of as many, of more.
SHAPES = [(1, 1, 1, 1), (5, 3, 1, 1), (4, 3, 7, 7), (3, 2, 9, 7),
          (3, 2, 8, 8), (3, 2, 5, 13), (6, 5, 28, 28), (2, 3, 150),
          (2, 3, 2, 3, 4)]

with_shapes = pytest.mark.parametrize('shape', SHAPES)
with_dtypes = pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])


def arrays(random, shape, dtype):
    """Returns x, gamma, beta and gy; gamma falls, is 0 and rises."""
    x, gy = random.standard_normal((2, *shape))
    vectors = random.standard_normal((3, shape[1]))
    x += vectors[0].reshape(-1, *(1,) * (len(shape) - 2))
    vectors[1, :2] = [-abs(vectors[1, 0]), 0][:shape[1]]
    return [array.astype(dtype) for array in (x, vectors[1], vectors[2], gy)]


def everything(backend, x, gamma, beta, gy):
    """Returns the results of forward and backward."""
    y, mean, var, inv_std = backend.batch_normalization(x, gamma, beta, 2e-5)
    return [y, mean, var, inv_std, *backend.batch_normalization_backward(
        x, gamma, gy, mean, inv_std)]


def as_vectors(array):
    """Returns images as vectors of their channels, one a pixel."""
    return numpy.moveaxis(array, 1, -1).reshape(-1, array.shape[1])


def check(backend, xp, shape, dtype, random):
    """Compares a backend with the reference, within rounding."""
    given = arrays(random, shape, dtype)
    tolerance = 100 * numpy.finfo(dtype).eps
    for a, b in zip(everything(backend, *map(xp.asarray, given)),
                    everything(numpy_kernels, *given)):
        a = xp.asnumpy(a)
        assert (a.dtype, a.shape) == (dtype, b.shape)
        # Of one pixel the variance is 0, and eps the whole of the root.
        numpy.testing.assert_allclose(
            a, b, rtol=tolerance,
            atol=tolerance * max(1, abs(b).max()))
    x, gamma, beta, _ = given
    mean, inv_std = samples(dtype, 2 * shape[1], random).reshape(2, -1)
    with numpy.errstate(all='ignore'):
        expected = numpy_kernels.normalize(x, gamma, beta, mean, inv_std)
    same_bits(xp.asnumpy(backend.normalize(*map(
        xp.asarray, (x, gamma, beta, mean, inv_std)))), expected)


class OnHost:
    """NumPy, as a backend on a device has it."""

    asarray = asnumpy = staticmethod(numpy.asarray)


@with_shapes
@with_dtypes
def test_images_are_normalized_as_vectors_of_their_channels_are(
        shape, dtype, random):
    x, gamma, beta, gy = arrays(random, shape, dtype)
    actual = everything(numpy_kernels, x, gamma, beta, gy)
    expected = everything(numpy_kernels, as_vectors(x), gamma, beta,
                          as_vectors(gy))
    tolerance = 100 * numpy.finfo(dtype).eps
    for a, b in zip(actual, expected):
        numpy.testing.assert_allclose(
            as_vectors(a) if a.ndim > 1 else a, b, rtol=tolerance,
            atol=tolerance * max(1, abs(b).max()))


@needs_numba
@with_shapes
@with_dtypes
def test_numba_agrees_with_numpy(shape, dtype, random):
    check(numba_kernels, OnHost, shape, dtype, random)


@needs_numba
def test_sums_of_many_pixels_are_as_exact_as_numpys(random):
    x = random.standard_normal((2000, 2, 28, 28)).astype(numpy.float32)
    x += numpy.float32(3)
    one = numpy.ones(2, numpy.float32)
    exact = x.mean(axis=(0, 2, 3), dtype='d'), x.var(axis=(0, 2, 3), dtype='d')
    for backend in numba_kernels, numpy_kernels:
        _, mean, var, _ = backend.batch_normalization(x, one, one, 2e-5)
        for a, b in (mean, exact[0]), (var, exact[1]):
            numpy.testing.assert_allclose(a, b, rtol=3e-6)


@needs_numba
@with_dtypes
def test_the_sums_of_some_cores_are_those_of_one(dtype, random, monkeypatch):
    given = arrays(random, (4, 5, 9, 9), dtype)
    vectors = random.standard_normal((2, 5)).astype(dtype)
    normalized = numba_kernels.normalize(*given[:3], *vectors)
    expected = everything(numba_kernels, *given)
    for n in 2, 3, 8:
        monkeypatch.setattr('kernels.compiled.batch_normalization.n_own',
                            lambda work, least, n=n: n)
        for a, b in zip(everything(numba_kernels, *given), expected):
            same_bits(a, b)
        same_bits(numba_kernels.normalize(*given[:3], *vectors), normalized)


@on_each_backend
def test_a_constant_channel_gives_beta_and_no_gradient(backend, random):
    x, gamma, beta, gy = arrays(random, (4, 3, 7, 7), numpy.float32)
    x[:, 2] = 5
    y, mean, var, _, gx, ggamma, _ = everything(backend, x, gamma, beta, gy)
    assert (y[:, 2] == beta[2]).all()
    assert (mean[2], var[2], ggamma[2]) == (5, 0, 0)
    # gamma is 0 there.
    assert (y[:, 1] == beta[1]).all()
    assert (gx[:, 1] == 0).all()


@on_each_backend
def test_nan_in_one_channel_stays_in_that_channel(backend, random):
    x, gamma, beta, gy = arrays(random, (4, 3, 7, 7), numpy.float32)
    x[1, 2, 3, 4] = numpy.nan
    for result in everything(backend, x, gamma, beta, gy)[:-1]:
        is_nan = numpy.isnan(as_vectors(result) if result.ndim > 1
                             else result[None]).any(axis=0)
        assert is_nan.tolist() == [False, False, True]


@on_each_backend
def test_any_memory_layout_gives_the_same_values(backend, random):
    x, gamma, beta, gy = arrays(random, (6, 4, 9, 10), numpy.float32)
    for view in (lambda a: a[::2, :, ::-1], lambda a: a[..., ::2],
                 lambda a: a.transpose(0, 1, 3, 2),
                 numpy.asfortranarray):
        for a, b in zip(
                everything(backend, view(x), gamma, beta, view(gy)),
                everything(backend, view(x).copy(order='C'), gamma, beta,
                           view(gy).copy(order='C'))):
            numpy.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)


@with_shapes
@with_dtypes
def test_cuda_code_agrees_with_numpy_on_the_host(
        host_cupy_kernels, shape, dtype, random):
    check(host_cupy_kernels, host_cupy_kernels.cupy, shape, dtype, random)


@pytest.mark.gpu
@with_dtypes
def test_cupy_agrees_with_numpy(dtype, random):
    import cupy
    for shape in SHAPES:
        check(kernels, cupy, shape, dtype, random)
