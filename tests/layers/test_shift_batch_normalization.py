import chainer_compat
import chainer
import chainer.functions as F
import numpy
import pytest
from chainer import testing
from chainer.utils import type_check

from layers.shift_batch_normalization import (
    ShiftBatchNormalization, fixed_shift_batch_normalization,
    shift_batch_normalization)


def ap2(x):
    """Returns the power of two nearest to x, by the paper's formula."""
    x = numpy.asarray(x, numpy.float64)
    with numpy.errstate(divide='ignore'):
        return numpy.where(x == 0, 0, numpy.sign(x) * 2. ** numpy.round(
            numpy.log2(numpy.abs(x))))


def arrays(random, dtype=numpy.float32, n=12, m=7):
    """Returns x (n, m), gamma (m,), beta (m,) and gy (n, m)."""
    x = random.standard_normal((n, m)) * 3 + 1
    gamma = random.uniform(-1.5, 1.5, m)
    beta = random.standard_normal(m)
    gy = random.standard_normal((n, m))
    return [a.astype(dtype) for a in (x, gamma, beta, gy)]


def forward(x, gamma, beta, eps=1e-5):
    """Returns centred x, 1 / deviation and y by the paper's formula."""
    x = x.astype('d')
    centred = x - x.mean(axis=0)
    inv_std = 1 / numpy.sqrt((centred * ap2(centred)).mean(axis=0) + eps)
    return centred, inv_std, centred * ap2(inv_std) * ap2(gamma) + beta


@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
def test_forward_is_the_formula_of_the_paper(dtype, random, kernel_path):
    x, gamma, beta, _ = arrays(random, dtype)
    y = shift_batch_normalization(x, gamma, beta)
    assert y.dtype == dtype
    tolerance = 2e-2 if dtype == numpy.float16 else 1e-5
    testing.assert_allclose(
        y.array, forward(x, gamma, beta)[2], tolerance, tolerance)


def test_backward_is_the_authors_closed_form(random, kernel_path):
    x, gamma, beta, gy = (chainer.Variable(a) for a in arrays(random))
    y = shift_batch_normalization(x, gamma, beta)
    y.grad = gy.array.copy()
    y.backward(retain_grad=True)
    centred, inv_std, _ = forward(x.array, gamma.array, beta.array)
    g, s, c2 = gy.array.astype('d'), ap2(inv_std), ap2(centred)
    expected = ap2(gamma.array) * s * (
        g - g.mean(axis=0) - s ** 2 * c2 * (c2 * g).mean(axis=0))
    testing.assert_allclose(x.grad, expected, 1e-4, 1e-5)
    testing.assert_allclose(
        gamma.grad, (g * ap2(centred * s)).sum(axis=0), 1e-4, 1e-5)
    testing.assert_allclose(beta.grad, g.sum(axis=0), 1e-4, 1e-5)
    numpy.testing.assert_array_equal(y.grad, gy.array)


@pytest.mark.parametrize('size', [(), (3, 4)])
def test_the_second_gradient_is_that_of_a_linear_function(size, random):
    x, gamma, beta, gy = arrays(random, numpy.float64)
    x, gy = random.standard_normal((2, *x.shape, *size))
    x, gamma, beta, gy = map(chainer.Variable, (x, gamma, beta, gy))
    y = shift_batch_normalization(x, gamma, beta)
    gradients = chainer.grad([y], [x, gamma, beta], [gy],
                             enable_double_backprop=True)
    others = [chainer.Variable(random.standard_normal(g.shape))
              for g in gradients]
    ggy, = chainer.grad(gradients, [gy], others)
    # The sum over all of (gradient . other) is ggy . gy, for any gy.
    direction = random.standard_normal(gy.shape)
    shifted = chainer.grad([y], [x, gamma, beta],
                           [chainer.Variable(direction)])
    expected = sum((g.array * other.array).sum()
                   for g, other in zip(shifted, others))
    testing.assert_allclose((ggy.array * direction).sum(), expected,
                            1e-9, 1e-9)


def test_running_averages_are_updated_in_place(random):
    x, gamma, beta, _ = arrays(random)
    mean, inv_std = numpy.zeros(7, 'f'), numpy.ones(7, 'f')
    shift_batch_normalization(x, gamma, beta, 1e-5, mean, inv_std, .875)
    testing.assert_allclose(mean, .125 * x.mean(axis=0), 1e-5, 1e-6)
    testing.assert_allclose(
        inv_std, .875 + .125 * forward(x, gamma, beta)[1], 1e-5, 1e-6)


def test_fixed_is_the_formula_with_the_given_statistics(random):
    x, gamma, beta, _ = arrays(random)
    mean, inv_std = random.uniform(.1, 2, (2, 7)).astype('f')
    y = fixed_shift_batch_normalization(x, gamma, beta, mean, inv_std)
    testing.assert_allclose(
        y.array, (x - mean) * ap2(inv_std) * ap2(gamma) + beta, 1e-5, 1e-5)


def test_nan_is_kept_and_a_constant_column_is_finite():
    x = numpy.zeros((4, 2), 'f')
    x[1, 0] = numpy.nan
    y = shift_batch_normalization(x, numpy.ones(2, 'f'), numpy.zeros(2, 'f'))
    assert numpy.isnan(y.array[:, 0]).all()
    assert (y.array[:, 1] == 0).all()


@pytest.mark.parametrize(('shapes', 'dtype'), [
    ([(0, 3), 3, 3], 'f'), ([(2, 3), 2, 3], 'f'), ([(2, 3), 3, 2], 'f'),
    ([(2, 3, 1), 3, 3], 'f'), ([(2, 3), 3, 3], 'i'),
    ([(3,), 3, 3], 'f'), ([(2, 3, 4, 4), 4, 4], 'f'),
    ([(0, 3, 4, 4), 3, 3], 'f'), ([(2, 3, 0, 4), 3, 3], 'f'),
    ([(2, 3, 4, 0), 3, 3], 'f'), ([(2, 3, 1, 1, 1), 3, 3], 'f')])
def test_shapes_and_dtypes_that_do_not_fit_are_refused(shapes, dtype):
    with pytest.raises(type_check.InvalidType):
        shift_batch_normalization(*(numpy.ones(s, dtype) for s in shapes))


def as_vectors(array):
    """Returns images as vectors of their channels, one a pixel."""
    return numpy.moveaxis(array, 1, -1).reshape(-1, array.shape[1])


@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
def test_images_are_normalized_as_vectors_of_their_channels_are(
        dtype, random, kernel_path):
    x, gy = random.standard_normal((2, 6, 7, 5, 3)).astype(dtype)
    if dtype != numpy.float16:  # whose numbers end where its deviation is
        x[:, 1] = 2
    _, gamma, beta, _ = arrays(random, dtype)
    gamma[2] = 0
    results = []
    for x_, gy_ in (x, gy), map(as_vectors, (x, gy)):
        variables = [chainer.Variable(a) for a in (x_, gamma, beta)]
        averages = numpy.zeros((2, 7), dtype)
        y = shift_batch_normalization(*variables, 1e-5, *averages)
        y.grad = gy_
        y.backward()
        fixed = fixed_shift_batch_normalization(
            x_, gamma, beta, *random.standard_normal((2, 7)).astype(dtype))
        results.append([y.array, *(v.grad for v in variables), *averages])
        assert y.dtype == fixed.dtype == dtype
        assert y.shape == fixed.shape == x_.shape
    tolerance = 2e-2 if dtype == numpy.float16 else 1e-5
    for a, b in zip(*results):
        testing.assert_allclose(as_vectors(a) if a.ndim > 1 else a, b,
                                tolerance, tolerance)


def test_fixed_normalizes_the_channels_of_images(random):
    x = random.standard_normal((6, 7, 5, 3)).astype('f')
    _, gamma, beta, _ = arrays(random)
    statistics = random.uniform(.1, 2, (2, 7)).astype('f')
    numpy.testing.assert_array_equal(
        as_vectors(fixed_shift_batch_normalization(
            x, gamma, beta, *statistics).array),
        fixed_shift_batch_normalization(
            as_vectors(x), gamma, beta, *statistics).array)


def test_a_mean_over_more_pixels_than_float16_counts_is_finite(random):
    x = random.standard_normal((100, 1, 28, 28)).astype('e')
    one = numpy.ones(1, 'e')
    x = chainer.Variable(x)
    y = shift_batch_normalization(x, one, one)
    y.grad = (.5 + random.standard_normal(x.shape)).astype('e')
    y.backward()
    assert abs(x.grad.mean(dtype='d')) < .01
    assert x.grad.std(dtype='d') > .1


@pytest.mark.gpu
def test_gpu_gives_what_the_cpu_gives(random):
    import cupy
    x, gamma, beta, _ = arrays(random)
    testing.assert_allclose(
        shift_batch_normalization(
            *map(cupy.asarray, (x, gamma, beta))).array.get(),
        shift_batch_normalization(x, gamma, beta).array, 1e-4, 1e-5)


# The link


def make_link(random):
    """Returns a link of 5 columns with random gamma and beta."""
    link = ShiftBatchNormalization(5)
    link.gamma.array[...] = random.uniform(-1.5, 1.5, 5)
    link.beta.array[...] = random.standard_normal(5)
    return link


@pytest.mark.parametrize('shape', [(8, 5), (8, 5, 3, 2)])
def test_training_normalizes_by_the_batch_and_keeps_averages(shape, random):
    link = make_link(random)
    x = random.standard_normal(shape).astype('f')
    mean, inv_std = link.avg_mean.copy(), link.avg_inv_std.copy()
    expected = shift_batch_normalization(
        x, link.gamma, link.beta, 1e-5, mean, inv_std, .875)
    numpy.testing.assert_array_equal(link(x).array, expected.array)
    numpy.testing.assert_array_equal(link.avg_mean, mean)
    numpy.testing.assert_array_equal(link.avg_inv_std, inv_std)
    assert (link.avg_mean != 0).all()


@pytest.mark.parametrize('shape', [(8, 5), (8, 5, 3, 2)])
def test_evaluation_normalizes_by_the_averages_and_leaves_them(shape, random):
    link = make_link(random)
    x = random.standard_normal(shape).astype('f')
    link(x)
    mean, inv_std = link.avg_mean.copy(), link.avg_inv_std.copy()
    with chainer.using_config('train', False):
        y = link(x)
    numpy.testing.assert_array_equal(
        y.array, fixed_shift_batch_normalization(
            x, link.gamma.array, link.beta.array, mean, inv_std).array)
    numpy.testing.assert_array_equal(link.avg_mean, mean)
    numpy.testing.assert_array_equal(link.avg_inv_std, inv_std)


def test_parameters_and_averages_are_saved(random, tmp_path):
    link = make_link(random)
    link(random.standard_normal((8, 5)).astype('f'))
    chainer.serializers.save_npz(str(tmp_path / 'link'), link)
    other = ShiftBatchNormalization(5)
    chainer.serializers.load_npz(str(tmp_path / 'link'), other)
    for name in 'avg_mean', 'avg_inv_std':
        numpy.testing.assert_array_equal(
            getattr(other, name), getattr(link, name))
    numpy.testing.assert_array_equal(other.gamma.array, link.gamma.array)


@pytest.mark.parametrize('size', [None, 5., (5,), 'axis'])
def test_a_size_that_is_no_whole_number_is_refused(size):
    with pytest.raises(TypeError, match='size must be a whole number, got'):
        ShiftBatchNormalization(size)


@pytest.mark.parametrize('train', [False, True])
@pytest.mark.parametrize('x', [
    numpy.ones((8, 4), 'f'), numpy.ones((8, 1), 'f'), numpy.ones(5, 'f'),
    numpy.ones((8, 5, 1), 'f'), numpy.ones((8, 4, 5, 5), 'f'),
    numpy.ones((8, 5, 1, 1), 'd'), numpy.ones((8, 5), 'd'),
    numpy.ones((8, 5), 'e'), numpy.ones((8, 5), 'i')],
    ids=lambda x: f'{x.shape} {x.dtype}')
def test_a_batch_that_does_not_fit_is_refused_in_either_mode(
        x, train, random):
    with chainer.using_config('train', train), pytest.raises(
            type_check.InvalidType):
        make_link(random)(x)


def test_an_empty_batch_can_be_evaluated_alone(random):
    link, x = make_link(random), numpy.ones((0, 5), 'f')
    with pytest.raises(type_check.InvalidType):
        link(x)
    with chainer.using_config('train', False):
        assert link(x).shape == (0, 5)


def test_it_is_of_float32_whatever_the_configuration_says(random):
    with chainer.using_config('dtype', numpy.float64):
        link = make_link(random)
        assert link(random.standard_normal((8, 5)).astype('f')).dtype == 'f'
    assert link.gamma.dtype == link.avg_mean.dtype == numpy.float32


def test_a_batch_that_is_computed_again_counts_once(random):
    link = make_link(random)
    other = link.copy('copy')
    x = chainer.Variable(random.standard_normal((8, 5)).astype('f'))
    gradients = []
    for function in link, lambda x: F.forget(other, x):
        x.cleargrad()
        F.sum(function(x) ** 2).backward()
        gradients.append(x.grad)
    numpy.testing.assert_array_equal(*gradients)
    numpy.testing.assert_array_equal(link.avg_mean, other.avg_mean)
    numpy.testing.assert_array_equal(link.avg_inv_std, other.avg_inv_std)
