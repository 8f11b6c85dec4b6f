import math

import numpy
import pytest

import kernels
from kernels import numpy_kernels
from tests.helpers import on_each_backend
from tests.helpers.kernel_samples import (
    ADAM, CLIP, QUANTIZE, adam_arrays, same_bits, samples)

LAYOUTS = {
    'contiguous': lambda a: a,
    'transposed': lambda a: a.T,
    'sliced': lambda a: a[::2, 1::3],
    'reversed': lambda a: a[::-1],
}


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


@pytest.mark.parametrize('shape', [(3, 4, 5, 7), (0, 4, 5, 7), (1, 1, 1, 1)])
@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
@on_each_backend
def test_images_are_rounded_as_their_values_are(backend, dtype, shape, random):
    size = math.prod(shape)
    x, gy = (samples(dtype, size, random).reshape(shape) for _ in range(2))
    numbers = random.randint(0, 1 << 32, shape, numpy.uint32)
    kernels_of_one = [*QUANTIZE.values(), *(
        lambda backend, x, name=name: getattr(backend, name)(x)
        for name in ('binarize', 'heaviside')),
        lambda backend, x: backend.quantize_ternary(x, .5),
        lambda backend, x: backend.quantize_unit(x, 3)]
    kernels_of_two = [*(getattr(backend, name) for name in (
        'binarize_backward', 'unit_backward', 'approx_backward',
        'swish_backward'))]
    with numpy.errstate(all='ignore'):
        for kernel in kernels_of_one:
            same_bits(kernel(backend, x).ravel(), kernel(backend, x.ravel()))
        for kernel in kernels_of_two:
            same_bits(kernel(x, gy).ravel(), kernel(x.ravel(), gy.ravel()))
        same_bits(backend.binarize_stochastic(x, numbers).ravel(),
                  backend.binarize_stochastic(x.ravel(), numbers.ravel()))
        assert backend.count_outside(x) == backend.count_outside(x.ravel())
    same_bits(backend.dropout_mask(x, .3, 7).ravel(),
              backend.dropout_mask(x.ravel(), .3, 7))
    # As between layers whose images are seen in another order.
    same_bits(backend.binarize(x.transpose(0, 2, 3, 1)),
              backend.binarize(x).transpose(0, 2, 3, 1))


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


def test_dropout_mask_has_its_share_of_zeros_and_differs_for_each_seed():
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
