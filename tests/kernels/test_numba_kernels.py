import numpy
import pytest

from kernels import numpy_kernels
from tests.helpers import needs_numba, numba_kernels
from tests.helpers.kernel_samples import (
    ADAM, CLIP, QUANTIZE, SIZES, adam_arrays, rounding_samples, same_bits,
    samples)

pytestmark = needs_numba


@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
@pytest.mark.parametrize('size', SIZES)
def test_binarize_and_its_backward_equal_numpys_bit_for_bit(
        dtype, size, random):
    x, gy = samples(dtype, size, random), samples(dtype, size, random)
    same_bits(numba_kernels.binarize(x), numpy_kernels.binarize(x))
    with numpy.errstate(invalid='ignore'):
        same_bits(numba_kernels.binarize_backward(x, gy),
                  numpy_kernels.binarize_backward(x, gy))


@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
@pytest.mark.parametrize('name', QUANTIZE)
def test_quantized_values_equal_numpys_bit_for_bit(dtype, name, random):
    x = rounding_samples(dtype, random)
    with numpy.errstate(invalid='ignore', over='ignore'):
        same_bits(QUANTIZE[name](numba_kernels, x),
                  QUANTIZE[name](numpy_kernels, x))


@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
def test_random_signs_masks_and_counts_equal_numpys_bit_for_bit(dtype, random):
    x = rounding_samples(dtype, random)
    numbers = random.randint(0, 1 << 32, x.shape, numpy.uint32)
    with numpy.errstate(invalid='ignore', over='ignore'):
        same_bits(numba_kernels.binarize_stochastic(x, numbers),
                  numpy_kernels.binarize_stochastic(x, numbers))
        assert (numba_kernels.count_outside(x)
                == numpy_kernels.count_outside(x))
    same_bits(numba_kernels.dropout_mask(x, .3, 1 << 63),
              numpy_kernels.dropout_mask(x, .3, 1 << 63))


@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('clip', [{}, CLIP], ids=['free', 'clip'])
def test_adam_equals_numpys_bit_for_bit(dtype, size, clip, random):
    actual = adam_arrays(random, dtype, (size,))
    if size > 20:
        actual[0][:2] = actual[1][2:4] = numpy.nan, numpy.inf
    expected = [array.copy() for array in actual]
    with numpy.errstate(invalid='ignore'):
        numba_kernels.adam(*actual, **ADAM, **clip)
        numpy_kernels.adam(*expected, **ADAM, **clip)
    for a, b in zip(actual, expected):
        same_bits(a, b)


@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('clip', [{}, CLIP], ids=['free', 'clip'])
def test_shift_adamax_equals_numpys_bit_for_bit(
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
