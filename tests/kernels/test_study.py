"""Gradients of rounding, other rules of it, and Bop: each in all backends."""
import numpy
import pytest

import kernels
from kernels import numpy_study
from tests.helpers import needs_numba, numba_kernels, on_each_backend
from tests.helpers.kernel_samples import (
    SIZES, adam_arrays, rounding_samples, same_bits, samples)

DTYPES = [numpy.float16, numpy.float32, numpy.float64]
BACKWARD = ['unit_backward', 'approx_backward', 'swish_backward']
ROUND = {
    'heaviside': lambda backend, x: backend.heaviside(x),
    'ternary': lambda backend, x: backend.quantize_ternary(x, .05),
    'ternary of 0': lambda backend, x: backend.quantize_ternary(x, 0),
    '1 step': lambda backend, x: backend.quantize_unit(x, 1),
    '7 steps': lambda backend, x: backend.quantize_unit(x, 7),
}


def bop_arrays(random, dtype, size):
    """Returns param, grad and m; signs, edge values and NaN among them."""
    param, grad, m = adam_arrays(random, dtype, (size,))[:3]
    param[::2] = numpy.where(param[::2] >= 0, 1, -1)
    m *= dtype(1e-3)
    if size > 20:
        for array in param, grad, m:
            array[:20] = samples(dtype, 20, random)
    return [param, grad, m]


# Values


def factors(name, x):
    """Returns the factor of an estimator by its published formula."""
    if name == 'swish_backward':
        return 5 * (2 - 5 * x * numpy.tanh(5 * x / 2)) / (
            1 + numpy.cosh(5 * x))
    return {'unit_backward': ((x >= 0) & (x <= 1)).astype('d'),
            'approx_backward': numpy.where(
                numpy.abs(x) < 1, numpy.where(x < 0, 2 + 2 * x, 2 - 2 * x),
                0)}[name]


@on_each_backend
@pytest.mark.parametrize(('dtype', 'tolerance'), [
    (numpy.float16, 1e-2), (numpy.float32, 2e-6), (numpy.float64, 1e-13)])
@pytest.mark.parametrize('name', BACKWARD)
def test_a_gradient_is_that_of_its_formula(
        backend, name, dtype, tolerance, random):
    x = numpy.linspace(-3, 3, 5000).astype(dtype)
    gy = random.standard_normal(x.shape).astype(dtype)
    gx = getattr(backend, name)(x, gy)
    assert gx.dtype == dtype
    numpy.testing.assert_allclose(
        gx, gy * factors(name, x.astype('d')), rtol=tolerance,
        atol=10 * tolerance)


@on_each_backend
@pytest.mark.parametrize('dtype', DTYPES)
def test_gradients_at_the_edges(backend, dtype):
    x = numpy.array([0, -0., 1, -1, numpy.nextafter(dtype(1), dtype(2)),
                     numpy.nextafter(dtype(0), dtype(-1)), numpy.inf,
                     -numpy.inf, numpy.finfo(dtype).max, numpy.nan], dtype)
    gy = numpy.full(x.shape, 3, dtype)
    numpy.testing.assert_array_equal(
        backend.unit_backward(x, gy), [3, 3, 3, 0, 0, 0, 0, 0, 0, 0])
    numpy.testing.assert_array_equal(
        backend.approx_backward(x, gy), [6, 6, 0, 0, 0, 6, 0, 0, 0, 0])
    swish = backend.swish_backward(x, gy)
    numpy.testing.assert_array_equal(swish[[0, 1, 6, 7, 8, 9]],
                                     [15, 15, 0, 0, 0, 0])
    assert -.6 < swish[2] == swish[3] < -.57


@on_each_backend
@pytest.mark.parametrize('dtype', DTYPES)
def test_roundings_at_the_edges(backend, dtype):
    x = numpy.array([-numpy.inf, -1, -.05, -0., 0, .05, .5, 1, 2, numpy.nan],
                    dtype)
    above = numpy.nextafter(dtype(.05), dtype(1))
    nan = numpy.nan
    same_bits(backend.heaviside(x), numpy.array(
        [0, 0, 0, 0, 0, 1, 1, 1, 1, nan], dtype))
    same_bits(backend.quantize_ternary(x, .05), numpy.array(
        [-1, -1, 0, 0, 0, 0, 1, 1, 1, nan], dtype))
    same_bits(backend.quantize_ternary(numpy.array([above, -above]), .05),
              numpy.array([1, -1], dtype))
    # 1/2 is a tie of one step, and goes to the even multiple.
    same_bits(backend.quantize_unit(x, 1), numpy.array(
        [0, 0, 0, 0, 0, 0, 0, 1, 1, nan], dtype))
    values = backend.quantize_unit(
        numpy.linspace(-1, 2, 3001).astype(dtype), 7)
    assert len(numpy.unique(values)) == 8
    assert (values.min(), values.max()) == (0, 1)


@on_each_backend
@pytest.mark.parametrize('dtype', DTYPES)
def test_bop_is_the_algorithm_in_print(backend, dtype, random):
    param, grad, m = bop_arrays(random, dtype, 4000)
    param = numpy.where(param >= 0, 1, -1).astype(dtype)
    grad, m = (numpy.nan_to_num(a, posinf=1, neginf=-1).clip(-9, 9)
               for a in (grad, m))
    before, average = param.copy(), (1 - dtype(.25)) * m + dtype(.25) * grad
    backend.bop(param, grad, m, .25, 2. ** -6)
    tolerance = 20 * numpy.finfo(dtype).eps
    numpy.testing.assert_allclose(m, average, rtol=tolerance, atol=tolerance)
    flips = (numpy.abs(m) > 2. ** -6) & (numpy.sign(m) == before)
    assert 100 < flips.sum() < 3900
    numpy.testing.assert_array_equal(param, numpy.where(
        flips, -before, before))


@on_each_backend
def test_bop_takes_the_sign_of_what_is_none_and_keeps_nan(backend):
    param = numpy.array([.3, -.3, 0, -0., numpy.nan, 1, 1, -1], 'f')
    grad = numpy.array([0, 0, 0, 0, 0, numpy.nan, .5, .5], 'f')
    m = numpy.zeros(8, 'f')
    backend.bop(param, grad, m, .5, .25)
    # An average of just the threshold flips nothing.
    numpy.testing.assert_array_equal(
        param, [1, -1, 1, 1, numpy.nan, 1, 1, -1])
    backend.bop(param, grad, m, .5, .25)
    numpy.testing.assert_array_equal(
        param, [1, -1, 1, 1, numpy.nan, 1, -1, -1])
    assert grad[6] == .5


# The same bits


def check_all(backend, to, back, dtype, size, random):
    """Compares a backend's kernels with NumPy's.

    Bit for bit, but the sign-swish on a GPU, whose exponential function is
    another.
    """
    x, gy = samples(dtype, size, random), samples(dtype, size, random)
    with numpy.errstate(all='ignore'):
        for name in BACKWARD:
            actual = back(getattr(backend, name)(to(x), to(gy)))
            expected = getattr(numpy_study, name)(x, gy)
            if back is numpy.asarray or name != 'swish_backward':
                same_bits(actual, expected)
                continue
            assert actual.dtype == dtype
            eps = numpy.finfo(dtype).eps
            numpy.testing.assert_allclose(
                actual, expected, rtol=100 * eps,
                atol=max(100 * eps, 1e3 * numpy.finfo(dtype).tiny))
        if size == SIZES[-1]:
            x = rounding_samples(dtype, random)
        for function in ROUND.values():
            same_bits(back(function(backend, to(x))), function(numpy_study, x))
        arrays = bop_arrays(random, dtype, size)
        there = [to(array.copy()) for array in arrays]
        numpy_study.bop(*arrays, .01, 1e-3)
        backend.bop(*there, .01, 1e-3)
        for a, b in zip(there, arrays):
            same_bits(back(a), b)


@needs_numba
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('size', SIZES)
def test_numba_equals_numpy_bit_for_bit(dtype, size, random):
    check_all(numba_kernels, numpy.asarray, numpy.asarray, dtype, size, random)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('size', SIZES)
def test_cuda_code_equals_numpy_on_the_host(
        host_cupy_kernels, dtype, size, random):
    cupy = host_cupy_kernels.cupy
    check_all(host_cupy_kernels, cupy.asarray, cupy.asnumpy, dtype, size,
              random)


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', DTYPES)
def test_cupy_equals_numpy(dtype, random):
    import cupy
    for size in SIZES:
        check_all(kernels, cupy.asarray, cupy.asnumpy, dtype, size, random)


@on_each_backend
def test_arrays_of_no_dimension_stay_arrays(backend):
    x = numpy.array(.25, 'f')
    results = [function(backend, x) for function in ROUND.values()]
    results += [getattr(backend, name)(x, x) for name in BACKWARD]
    assert [(type(y), y.shape) for y in results] == [
        (numpy.ndarray, ())] * 8


@on_each_backend
def test_any_memory_layout_gives_the_same_values(backend, random):
    whole = [random.standard_normal((12, 9)).astype('f') for _ in range(3)]
    for change in (lambda a: a.T, lambda a: a[::2, 1::3], lambda a: a[::-1]):
        arrays = [change(array.copy()) for array in whole]
        copies = [array.copy(order='C') for array in arrays]
        for name in BACKWARD:
            same_bits(getattr(backend, name)(*arrays[:2]),
                      getattr(numpy_study, name)(*copies[:2]))
        for function in ROUND.values():
            same_bits(function(backend, arrays[0]),
                      function(numpy_study, copies[0]))
        backend.bop(*arrays, .01, 1e-3)
        numpy_study.bop(*copies, .01, 1e-3)
        for a, b in zip(arrays, copies):
            same_bits(a, b)
