import functools
import math
import os
import pathlib
import shutil
import subprocess
import sys

import numpy
import pytest

import kernels
from kernels import numpy_kernels
from tests.helpers import (
    edge_values, needs_numba, numba_kernels, on_each_backend)

SIZES = [0, 1, 2, 15, 16, 17, 1000, (1 << 14) + 1]
LAYOUTS = {
    'contiguous': lambda a: a,
    'transposed': lambda a: a.T,
    'sliced': lambda a: a[::2, 1::3],
    'reversed': lambda a: a[::-1],
}


def same_bits(a, b):
    """Equality that tells -0.0 from 0, and lets NaN be NaN."""
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    numpy.testing.assert_array_equal(a, b)
    finite = ~numpy.isnan(a)
    numpy.testing.assert_array_equal(
        numpy.signbit(a)[finite], numpy.signbit(b)[finite])


def samples(dtype, size, random):
    values = numpy.append(edge_values(dtype), dtype(numpy.nan))
    return random.permutation(numpy.concatenate([
        numpy.resize(values, size - size // 2),
        random.uniform(-2, 2, size // 2).astype(dtype)])).astype(dtype)


def adam_arrays(random, dtype, shape):
    """param, grad, m, v as in the midst of a training."""
    param, grad, m = random.standard_normal((3, *shape)).astype(dtype)
    v = random.uniform(0, 1e-3, shape).astype(dtype)
    return [param, grad, m, v]


ADAM = {'alpha_t': 0.0123, 'beta1': 0.9, 'beta2': 0.999, 'eps': 1e-8,
        'eta': 0.7}
CLIP = {'lower': -1.0, 'upper': 1.0}


@needs_numba
@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
@pytest.mark.parametrize('size', SIZES)
def test_numba_equals_numpy_bit_for_bit(dtype, size, random):
    x, gy = samples(dtype, size, random), samples(dtype, size, random)
    same_bits(numba_kernels.binarize(x), numpy_kernels.binarize(x))
    with numpy.errstate(invalid='ignore'):
        same_bits(numba_kernels.binarize_backward(x, gy),
                  numpy_kernels.binarize_backward(x, gy))


@needs_numba
@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('clip', [{}, CLIP], ids=['free', 'clip'])
def test_numba_adam_equals_numpy_bit_for_bit(dtype, size, clip, random):
    actual = adam_arrays(random, dtype, (size,))
    if size > 20:
        actual[0][:2] = actual[1][2:4] = numpy.nan, numpy.inf
    expected = [array.copy() for array in actual]
    with numpy.errstate(invalid='ignore'):
        numba_kernels.adam(*actual, **ADAM, **clip)
        numpy_kernels.adam(*expected, **ADAM, **clip)
    for a, b in zip(actual, expected):
        same_bits(a, b)


@pytest.mark.parametrize('layout', LAYOUTS)
@on_each_backend
def test_any_memory_layout_gives_the_same_values(backend, layout, random):
    arrays = [LAYOUTS[layout](a)
              for a in adam_arrays(random, numpy.float32, (12, 9))]
    copies = [array.copy(order='C') for array in arrays]
    same_bits(backend.binarize(arrays[0]), numpy_kernels.binarize(copies[0]))
    same_bits(backend.binarize_backward(*arrays[:2]),
              numpy_kernels.binarize_backward(*copies[:2]))
    backend.adam(*arrays, **ADAM, **CLIP)
    numpy_kernels.adam(*copies, **ADAM, **CLIP)
    for a, b in zip(arrays, copies):
        same_bits(a, b)


@on_each_backend
def test_adam_clips_after_the_step_and_keeps_nan(backend):
    param = numpy.array([0.999, -0.999, numpy.nan, 5], numpy.float32)
    grad = numpy.array([-1, 1, 0, 0], numpy.float32)
    m, v = numpy.zeros((2, 4), numpy.float32)
    backend.adam(param, grad, m, v, 0.1, 0.9, 0.999, 1e-8, 1.0, **CLIP)
    numpy.testing.assert_array_equal(param, [1, -1, numpy.nan, 1])


@on_each_backend
def test_adam_leaves_the_gradient_as_it_was(backend, random):
    arrays = adam_arrays(random, numpy.float32, (40,))
    grad = arrays[1].copy()
    backend.adam(*arrays, **ADAM, **CLIP)
    numpy.testing.assert_array_equal(arrays[1], grad)


@needs_numba
def test_numpy_path_is_used_inside_its_context_only():
    default = kernels.description()
    with kernels.using_numpy():
        assert kernels.description() == f'NumPy {numpy.__version__}'
    assert kernels.description() == default != f'NumPy {numpy.__version__}'


def run(code, **environment):
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True,
        check=True, env={**os.environ, **environment}).stdout.strip()


def test_numpy_takes_over_where_numba_is_missing_or_switched_off():
    code = 'import kernels; print(kernels.description())'
    assert run(code, NUMBA_DISABLE_JIT='1').startswith('NumPy')
    hidden = "import sys; sys.modules['numba'] = None; "
    assert run(hidden + code).startswith('NumPy')


def test_kernels_need_no_chainer():
    assert run("import sys; sys.modules['chainer'] = None; import kernels, "
               'numpy; print(kernels.binarize(numpy.zeros(1)))') == '[1.]'


@needs_numba
def test_kernels_run_where_no_cache_can_be_written(tmp_path):
    # A copy of the package in a folder that cannot be written to, and no
    # home to put Numba's cache into. Root may write anywhere, so that a file
    # stands in the way of each folder.
    shutil.copytree(pathlib.Path(kernels.__file__).parent,
                    tmp_path / 'kernels',
                    ignore=shutil.ignore_patterns('__pycache__'))
    (tmp_path / 'kernels' / '__pycache__').write_text('')
    home = tmp_path / 'home'
    home.write_text('')
    assert run('import kernels, numpy; print(kernels.description()[:5], '
               'kernels.binarize(numpy.zeros(1)))',
               PYTHONPATH=str(tmp_path), HOME=str(home),
               XDG_CACHE_HOME=str(home)) == 'Numba [1.]'


# CuPy. Its code is run by a stand-in, compiled for the CPU, and on a GPU
# where there is one: the same bits, but for sums in another order.


def every_float16():
    return numpy.arange(1 << 16, dtype=numpy.uint16).view(numpy.float16)


def check_cupy(module, cupy, dtype, size, random):
    x, gy = samples(dtype, size, random), samples(dtype, size, random)
    if dtype == numpy.float16 and size == SIZES[-1]:
        x, gy = every_float16(), random.permutation(every_float16())
    on_gpu = [cupy.asarray(array) for array in (x, gy)]
    with numpy.errstate(invalid='ignore'):
        same_bits(cupy.asnumpy(module.binarize(on_gpu[0])),
                  numpy_kernels.binarize(x))
        same_bits(cupy.asnumpy(module.binarize_backward(*on_gpu)),
                  numpy_kernels.binarize_backward(x, gy))
    numbers = random.randint(0, 1 << 32, x.shape, numpy.uint32)
    if size == SIZES[-1]:
        x = rounding_samples(dtype, random) if dtype != numpy.float16 else x
        numbers = numpy.resize(numbers, x.shape)
    there = cupy.asarray(x)
    with numpy.errstate(all='ignore'):
        for quantize in QUANTIZE.values():
            same_bits(cupy.asnumpy(quantize(module, there)),
                      quantize(numpy_kernels, x))
        same_bits(cupy.asnumpy(module.binarize_stochastic(
            there, cupy.asarray(numbers))),
            numpy_kernels.binarize_stochastic(x, numbers))
        assert int(module.count_outside(there)) == (
            numpy_kernels.count_outside(x))
        same_bits(cupy.asnumpy(module.dropout_mask(there, .3, 1 << 63)),
                  numpy_kernels.dropout_mask(x, .3, 1 << 63))
    if dtype == numpy.float16:  # Chainer's code
        return
    rules = [functools.partial(adam, **clip) for clip in ({}, CLIP)
             for adam in (
        lambda kernels, *args, **clip: kernels.adam(*args, **ADAM, **clip),
        lambda kernels, *args, **clip: kernels.shift_adamax(
            *args, 2. ** -6, .9, .999, **clip))]
    for rule in rules:
        arrays = adam_arrays(random, dtype, (size,))
        if size > 20:
            for array in arrays:
                array[:20] = samples(dtype, 20, random)
        on_gpu = [cupy.asarray(array) for array in arrays]
        with numpy.errstate(all='ignore'):
            rule(numpy_kernels, *arrays)
            rule(module, *on_gpu)
        for a, b in zip(on_gpu, arrays):
            same_bits(cupy.asnumpy(a), b)


def check_cupy_batch_normalization(module, cupy, dtype, n, random):
    x, gy = random.standard_normal((2, n, 70)).astype(dtype)
    gamma, beta = random.standard_normal((2, 70)).astype(dtype)
    y, mean, var, inv_std = numpy_kernels.batch_normalization(
        x, gamma, beta, 2e-5)
    expected = [y, mean, var, inv_std,
                *numpy_kernels.batch_normalization_backward(
                    x, gamma, gy, mean, inv_std)]
    x, gamma, beta, gy = map(cupy.asarray, (x, gamma, beta, gy))
    y, mean, var, inv_std = module.batch_normalization(x, gamma, beta, 2e-5)
    actual = [y, mean, var, inv_std,
              *module.batch_normalization_backward(
                  x, gamma, gy, mean, inv_std)]
    tolerance = 100 * numpy.finfo(dtype).eps
    for a, b in zip(actual, expected):
        assert a.dtype == dtype
        # Of one image the variance is 0, and eps the whole of the root.
        numpy.testing.assert_allclose(
            cupy.asnumpy(a), b, rtol=tolerance,
            atol=tolerance * max(1, abs(b).max()))


def check_cupy_products(module, cupy, dtype, random):
    x, W = (random.choice([-1, 1], shape).astype(dtype)
            for shape in ((9, 130), (70, 130)))
    on_gpu = cupy.asarray(x), cupy.asarray(W)
    same_bits(cupy.asnumpy(module.dot(on_gpu[0], on_gpu[1].T)), x.dot(W.T))
    matrix = module.sign_matrix(on_gpu[1] / 2)
    same_bits(cupy.asnumpy(matrix.multiply_transposed(on_gpu[0])), x.dot(W.T))
    same_bits(cupy.asnumpy(matrix.multiply(on_gpu[1][:, :70])),
              W[:, :70].dot(W))


@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
@pytest.mark.parametrize('size', SIZES)
def test_cuda_code_equals_numpy_bit_for_bit_on_the_host(
        host_cupy_kernels, dtype, size, random):
    check_cupy(host_cupy_kernels, host_cupy_kernels.cupy, dtype, size, random)


@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
@pytest.mark.parametrize('n', [1, 2, 100])
def test_cuda_batch_normalization_agrees_with_numpy_on_the_host(
        host_cupy_kernels, dtype, n, random):
    check_cupy_batch_normalization(
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
    check_cupy_products(host_cupy_kernels, host_cupy_kernels.cupy,
                        numpy.float32, random)


def test_every_kernel_has_its_cupy_form(host_cupy_kernels):
    names = {name for name, value in vars(numpy_kernels).items()
             if getattr(value, '__module__', '') in (
                 'kernels.numpy_kernels', 'kernels.numpy_bits')
             and not name.startswith('_')}
    # These are steps of others.
    assert names - {'whole_runs', 'sqrt_half', 'dropout_limit'} <= set(
        vars(host_cupy_kernels))


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
def test_cupy_equals_numpy_bit_for_bit(dtype, random):
    import cupy
    for size in SIZES:
        check_cupy(kernels, cupy, dtype, size, random)


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
def test_cupy_sums_agree_with_numpy(dtype, random):
    import cupy
    for n in 1, 2, 100:
        check_cupy_batch_normalization(kernels, cupy, dtype, n, random)
    check_cupy_products(kernels, cupy, dtype, random)


QUANTIZE = {
    'linear 2': lambda kernels, x: kernels.quantize_linear(x, 2),
    'linear 4': lambda kernels, x: kernels.quantize_linear(x, 4),
    'linear 24': lambda kernels, x: kernels.quantize_linear(x, 24),
    'log': lambda kernels, x: kernels.quantize_log(x, 0),
    'log of 1': lambda kernels, x: kernels.quantize_log(x, 1),
    'log of 7': lambda kernels, x: kernels.quantize_log(x, 7),
    'ap2': lambda kernels, x: kernels.ap2(x),
}


def rounding_samples(dtype, random):
    """Values on both sides of every switch, and all the edge values."""
    powers = numpy.ldexp(numpy.ones((), dtype), numpy.arange(-14, 15))
    switches = numpy.concatenate([
        powers, powers * dtype(2 ** .5), numpy.arange(-9, 10) / dtype(8),
        numpy.arange(-9, 10) / dtype(16)]).astype(dtype)
    return numpy.concatenate([
        samples(dtype, 1000, random),
        *(sign * numpy.nextafter(switches, dtype(to))
          for to in (0, 6e4) for sign in (1, -1)), switches, -switches])


@needs_numba
@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
@pytest.mark.parametrize('name', QUANTIZE)
def test_numba_quantizes_as_numpy_bit_for_bit(dtype, name, random):
    x = rounding_samples(dtype, random)
    with numpy.errstate(invalid='ignore', over='ignore'):
        same_bits(QUANTIZE[name](numba_kernels, x),
                  QUANTIZE[name](numpy_kernels, x))


@needs_numba
@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
def test_numba_draws_and_counts_as_numpy(dtype, random):
    x = rounding_samples(dtype, random)
    numbers = random.randint(0, 1 << 32, x.shape, numpy.uint32)
    with numpy.errstate(invalid='ignore', over='ignore'):
        same_bits(numba_kernels.binarize_stochastic(x, numbers),
                  numpy_kernels.binarize_stochastic(x, numbers))
        assert (numba_kernels.count_outside(x)
                == numpy_kernels.count_outside(x))
    same_bits(numba_kernels.dropout_mask(x, .3, 1 << 63),
              numpy_kernels.dropout_mask(x, .3, 1 << 63))


@on_each_backend
@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
def test_dropout_mask_compares_the_numbers_of_splitmix64(backend, dtype):
    # Those of Java's SplittableRandom for the seed 1234567.
    numbers = [6457827717110365317, 3203168211198807973, 9817491932198370423,
               4593380528125082431, 16408922859458223821]
    for ratio in 0, .1, .2, .25, .3, .4, .5, .6, .9:
        same_bits(
            backend.dropout_mask(numpy.zeros((1, 5), dtype), ratio, 1234567),
            numpy.array([[1 / (1 - ratio) if number >= ratio * 2 ** 64 else 0
                          for number in numbers]], dtype))


def test_dropout_mask_has_the_share_of_zeros_and_other_ones_for_each_seed():
    x = numpy.zeros(1 << 16, numpy.float32)
    masks = [kernels.dropout_mask(x, .3, seed) == 0
             for seed in (0, 1, 2, 2 ** 64 - 1)]
    for i, mask in enumerate(masks):
        assert abs(mask.mean() - .3) < 5 * (.3 * .7 / x.size) ** .5
        # One after the other, and those of another seed, are independent.
        for other in numpy.roll(mask, 1), *masks[:i]:
            assert abs((mask & other).mean() - .09) < 5 * (
                .09 * .91 / x.size) ** .5


@on_each_backend
@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
def test_ap2_switches_at_the_square_root_of_two(backend, dtype):
    # In whole numbers: below and above 2^k sqrt(2), of which none is a float.
    digits = numpy.finfo(dtype).nmant
    low = math.isqrt(2 << 2 * digits)
    for exponent in (-20, -1, 0, 9):
        x = numpy.ldexp(numpy.array([low, low + 1], dtype), exponent - digits)
        numpy.testing.assert_array_equal(
            backend.ap2(x), numpy.ldexp(dtype(1), [exponent, exponent + 1]))
        numpy.testing.assert_array_equal(
            backend.ap2(-x), numpy.ldexp(dtype(-1), [exponent, exponent + 1]))


@needs_numba
@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('clip', [{}, CLIP], ids=['free', 'clip'])
def test_numba_shift_adamax_equals_numpy_bit_for_bit(
        dtype, size, clip, random):
    actual = adam_arrays(random, dtype, (size,))
    actual[3][:10] = actual[1][:5] = 0
    if size > 20:
        actual[0][12:14] = actual[1][14:16] = numpy.nan, numpy.inf
        actual[3][17] = numpy.nan
    expected = [array.copy() for array in actual]
    with numpy.errstate(invalid='ignore'):
        numba_kernels.shift_adamax(*actual, 2. ** -6, .9, .999, **clip)
        numpy_kernels.shift_adamax(*expected, 2. ** -6, .9, .999, **clip)
    for a, b in zip(actual, expected):
        same_bits(a, b)
