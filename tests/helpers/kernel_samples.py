"""Samples for the kernels of a training, and what is compared with them."""
import numpy

from tests.helpers import edge_values

SIZES = [0, 1, 2, 15, 16, 17, 1000, (1 << 14) + 1]

ADAM = {'alpha_t': 0.0123, 'beta1': 0.9, 'beta2': 0.999, 'eps': 1e-8,
        'eta': 0.7}
CLIP = {'lower': -1.0, 'upper': 1.0}

# The quantizations, as functions of a backend and an array.
QUANTIZE = {
    'linear 2': lambda backend, x: backend.quantize_linear(x, 2),
    'linear 4': lambda backend, x: backend.quantize_linear(x, 4),
    'linear 24': lambda backend, x: backend.quantize_linear(x, 24),
    'log': lambda backend, x: backend.quantize_log(x, 0),
    'log of 1': lambda backend, x: backend.quantize_log(x, 1),
    'log of 7': lambda backend, x: backend.quantize_log(x, 7),
    'ap2': lambda backend, x: backend.ap2(x),
}


def same_bits(a, b):
    """Compares arrays bit for bit: -0.0 is not 0, but one NaN is another."""
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    numpy.testing.assert_array_equal(a, b)
    finite = ~numpy.isnan(a)
    numpy.testing.assert_array_equal(
        numpy.signbit(a)[finite], numpy.signbit(b)[finite])


def samples(dtype, size, random):
    """Returns random values, half of them edge values and NaN."""
    values = numpy.append(edge_values(dtype), dtype(numpy.nan))
    return random.permutation(numpy.concatenate([
        numpy.resize(values, size - size // 2),
        random.uniform(-2, 2, size // 2).astype(dtype)])).astype(dtype)


def adam_arrays(random, dtype, shape):
    """Returns param, grad, m and v as in the midst of a training."""
    param, grad, m = random.standard_normal((3, *shape)).astype(dtype)
    v = random.uniform(0, 1e-3, shape).astype(dtype)
    return [param, grad, m, v]


def rounding_samples(dtype, random):
    """Returns values on both sides of every switch, and all edge values."""
    powers = numpy.ldexp(numpy.ones((), dtype), numpy.arange(-14, 15))
    switches = numpy.concatenate([
        powers, powers * dtype(2 ** .5), numpy.arange(-9, 10) / dtype(8),
        numpy.arange(-9, 10) / dtype(16)]).astype(dtype)
    return numpy.concatenate([
        samples(dtype, 1000, random),
        *(sign * numpy.nextafter(switches, dtype(to))
          for to in (0, 6e4) for sign in (1, -1)), switches, -switches])
