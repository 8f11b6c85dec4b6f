import chainer_compat
import chainer
import numpy
import pytest

import quantizers
from tests.helpers import edge_values

DTYPES = [numpy.float16, numpy.float32, numpy.float64]


@pytest.mark.parametrize('name', [
    'binary', 'stochastic', 'linear:1', 'linear:4', 'linear:16', 'log',
    'log:2', 'log:7', 'none', 'heaviside', 'dorefa:1', 'dorefa:16',
    'ternary:0.05', 'ternary:0.0', 'ternary:1e-05'])
def test_a_quantizer_is_found_by_the_name_that_it_says(name):
    assert str(quantizers.parse(name)) == name


@pytest.mark.parametrize('name', [
    '', 'x', 'binary:1', 'linear', 'linear:', 'linear:x', 'linear:4:4',
    'linear:-1', 'linear:1.5', 'log:', 'none:2', 'stochastic:1', 'LOG',
    'dorefa', 'dorefa:x', 'heaviside:1', 'ternary:', 'ternary:x',
    'ternary:1.2.3', 'ternary:nan', 'ternary:-1'])
def test_an_unknown_name_is_refused_with_what_is_allowed(name):
    with pytest.raises(ValueError, match='binary, stoch') as e:
        quantizers.parse(name)
    assert repr(name) in str(e.value)


@pytest.mark.parametrize(('name', 'message'), [
    ('linear:0', 'bits must be from 1 to 16, got 0'),
    ('linear:17', 'bits must be from 1 to 16, got 17'),
    ('log:1', 'bits must be from 2 to 7, got 1'),
    ('log:99999999999999999999', 'bits must be from 2 to 7'),
    ('dorefa:0', 'bits must be from 1 to 16, got 0'),
    ('ternary:1', 'threshold must be 0 or more, and less than 1, got 1.0'),
])
def test_impossible_bits_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        quantizers.parse(name)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('name', [
    'binary', 'stochastic', 'linear:1', 'linear:4', 'log', 'log:4', 'none',
    'heaviside', 'ternary:0.05', 'dorefa:2'])
def test_shape_dtype_and_nan_are_kept_and_the_range_is_that_of_the_clip(
        name, dtype, kernel_path):
    x = numpy.append(edge_values(dtype), dtype(numpy.nan))[None, ::-1]
    before = x.copy()
    with numpy.errstate(invalid='ignore', over='ignore'):
        y = quantizers.parse(name)(x)
    numpy.testing.assert_array_equal(x, before)
    assert y.dtype == dtype
    assert y.shape == x.shape
    assert numpy.isnan(y[0, 0])
    assert (numpy.abs(y[0, 1:]) <= 1).all()


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('bits', [2, 3, 8])
def test_linear_is_its_formula_and_has_two_to_the_bits_values(
        bits, dtype, kernel_path):
    x = numpy.linspace(-1.5, 1.5, 2001).astype(dtype)
    step = 2. ** (1 - bits)
    y = quantizers.Linear(bits)(x)
    numpy.testing.assert_array_equal(y, numpy.clip(
        numpy.round(x.astype('d') / step) * step, -1, 1 - step))
    assert len(set(y.tolist())) == 2 ** bits


def test_linear_takes_ties_to_the_even_step(kernel_path):
    x = numpy.array([-.75, -.25, .25, .74], numpy.float32)
    numpy.testing.assert_array_equal(
        quantizers.Linear(2)(x), [-1, 0, 0, .5])


def test_linear_of_one_bit_is_the_sign(kernel_path):
    x = numpy.array([-.1, -0., 0., .1], numpy.float32)
    numpy.testing.assert_array_equal(quantizers.Linear(1)(x), [-1, 1, 1, 1])


@pytest.mark.parametrize('dtype', DTYPES)
def test_log_is_the_nearest_power_of_two(dtype, kernel_path, random):
    x = random.uniform(-1.5, 1.5, 1000).astype(dtype)
    x = x[numpy.abs(x) > 1e-3]
    exact = x.astype('d')
    numpy.testing.assert_array_equal(
        quantizers.Log()(x), numpy.clip(numpy.sign(exact) * 2. ** numpy.round(
            numpy.log2(numpy.abs(exact))), -1, 1))


@pytest.mark.parametrize(('bits', 'magnitudes'), [
    (2, [1]), (3, [.25, .5, 1]),
    (4, [1 / 64, 1 / 32, 1 / 16, 1 / 8, .25, .5, 1])])
def test_log_has_the_magnitudes_of_its_bits_and_zero_below_half_of_the_least(
        bits, magnitudes, kernel_path):
    half = numpy.float32(magnitudes[0] / 2)
    x = numpy.concatenate([
        numpy.linspace(-2, 2, 4001),
        [half, numpy.nextafter(half, numpy.float32(0))]]).astype(numpy.float32)
    y = quantizers.Log(bits)(x)
    numpy.testing.assert_array_equal(
        numpy.unique(numpy.abs(y)), [0, *magnitudes])
    assert y[-2] == magnitudes[0]
    assert y[-1] == 0
    assert ((y == 0) == (numpy.abs(x) < half)).all()


def test_stochastic_has_the_probability_of_the_paper(kernel_path):
    numpy.random.seed(0)
    x = numpy.repeat(numpy.array(
        [-2, -1, -.5, 0, .2, 1, 3], numpy.float32)[:, None], 40000, axis=1)
    y = quantizers.Stochastic()(x)
    assert set(numpy.unique(y)) == {-1, 1}
    share = (y > 0).mean(axis=1)
    expected = numpy.clip((x[:, 0] + 1) / 2, 0, 1)
    # Five standard deviations; 0 and 1 exactly.
    numpy.testing.assert_array_less(
        numpy.abs(share - expected),
        1e-9 + 5 * numpy.sqrt(expected * (1 - expected) / 40000))


def test_stochastic_follows_the_seed_and_is_the_sign_in_evaluation(
        kernel_path):
    x = numpy.linspace(-1, 1, 1000, dtype=numpy.float32)
    quantizer = quantizers.Stochastic()
    draws = []
    for seed in 0, 0, 1:
        numpy.random.seed(seed)
        draws.append(quantizer(x))
    numpy.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()
    with chainer.using_config('train', False):
        numpy.testing.assert_array_equal(quantizer(x), numpy.where(
            x >= 0, 1, -1))


@pytest.mark.parametrize('name', ['binary', 'log:4', 'stochastic'])
def test_the_estimator_is_kept_and_is_clip_by_default(name):
    assert quantizers.parse(name).estimator == 'clip'
    for estimator in quantizers.ESTIMATORS:
        assert quantizers.parse(name, estimator).estimator == estimator


def test_an_unknown_estimator_is_refused_with_what_is_allowed():
    with pytest.raises(ValueError, match=(
            "one of clip, identity, approx, swish, got 'unit'")):
        quantizers.Binary('unit')


def test_dorefa_has_its_own_estimator_alone():
    assert quantizers.parse('dorefa:2').estimator == 'unit'
    with pytest.raises(ValueError, match=(
            'dorefa:2 has no estimator but clip, got swish')):
        quantizers.parse('dorefa:2', 'swish')


def test_dorefa_is_its_formula(kernel_path):
    x = numpy.linspace(-1, 2, 999).astype(numpy.float32)
    numpy.testing.assert_allclose(
        quantizers.DoReFa(3)(x),
        numpy.round(numpy.clip(x.astype('d'), 0, 1) * 7) / 7, rtol=1e-6)


@pytest.mark.parametrize(('name', 'estimator', 'n'), [
    ('binary', 'clip', 4), ('log', 'approx', 4), ('binary', 'identity', 0),
    ('binary', 'swish', 0), ('dorefa:2', 'clip', 6)])
def test_blocked_are_those_whose_factor_is_zero(name, estimator, n):
    x = numpy.array([-2, -1, -.5, -0., .5, 1, 2, numpy.inf, numpy.nan], 'f')
    assert quantizers.parse(name, estimator).count_blocked(x) == n


@pytest.mark.gpu
@pytest.mark.parametrize('name', ['binary', 'linear:4', 'log', 'log:4',
                                  'none', 'heaviside', 'ternary:0.05',
                                  'dorefa:2'])
def test_gpu_gives_what_the_cpu_gives(name, random):
    import cupy
    x = random.uniform(-1.5, 1.5, 1000).astype(numpy.float32)
    quantizer = quantizers.parse(name)
    numpy.testing.assert_array_equal(
        quantizer(cupy.asarray(x)).get(), quantizer(x))
