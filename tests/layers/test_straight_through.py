import chainer_compat
import chainer
import chainer.functions as F
import numpy
import pytest
from chainer import gradient_check

import quantizers
from layers.straight_through import straight_through
from qst import qst

DTYPES = [numpy.float16, numpy.float32, numpy.float64]
NAMES = [*quantizers.ESTIMATORS, 'unit']


def sign_swish(x):
    s = F.sigmoid(5 * x)
    return 2 * s * (1 + 5 * x * (1 - s)) - 1


# The functions whose derivatives the factors are, by Chainer's own.
STANDS_FOR = {
    'clip': lambda x: F.clip(x, -1., 1.),
    'identity': lambda x: x * 1.,
    'approx': lambda x: F.where(
        x.array < 0, 2 * F.clip(x, -1., 0.) + F.clip(x, -1., 0.) ** 2,
        2 * F.clip(x, 0., 1.) - F.clip(x, 0., 1.) ** 2),
    'swish': sign_swish,
    'unit': lambda x: F.clip(x, 0., 1.),
}


def by(estimator):
    return lambda x, gy: straight_through(x, gy, estimator)


@pytest.mark.parametrize(('dtype', 'tolerance'), [
    (numpy.float16, 2e-2), (numpy.float32, 1e-5), (numpy.float64, 1e-12)])
@pytest.mark.parametrize('name', NAMES)
def test_the_gradient_is_that_of_what_the_rounded_value_stands_for(
        name, dtype, tolerance, kernel_path, random):
    x = random.uniform(-1.5, 1.5, (50, 7)).astype(dtype)
    gy = random.standard_normal(x.shape).astype(dtype)
    gx = by(name)(chainer.Variable(x), chainer.Variable(gy)).array
    assert gx.dtype == dtype
    exact = chainer.Variable(x.astype('d'))
    y = STANDS_FOR[name](exact)
    y.grad = gy.astype('d')
    y.backward()
    numpy.testing.assert_allclose(gx, exact.grad, rtol=tolerance,
                                  atol=5 * tolerance)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('name', quantizers.ESTIMATORS)
def test_the_forward_is_the_same_bits_whatever_the_estimator(
        name, dtype, kernel_path, random):
    x = random.uniform(-2, 2, (20, 30)).astype(dtype)
    y = qst(x, quantizers.Binary(name))
    numpy.testing.assert_array_equal(y.array, qst(x).array)
    y, = (qst(x, quantizers.parse('linear:4', name)),)
    numpy.testing.assert_array_equal(
        y.array, qst(x, quantizers.Linear(4)).array)


@pytest.mark.parametrize('name', quantizers.ESTIMATORS)
def test_the_quantizers_estimator_is_that_of_qst(name, random):
    x, gy = random.uniform(-2, 2, (2, 20, 30)).astype('f')
    for quantizer in quantizers.Binary(name), quantizers.Log(4, name):
        v = chainer.Variable(x)
        y = qst(v, quantizer)
        y.grad = gy
        y.backward()
        numpy.testing.assert_array_equal(
            v.grad, by(name)(chainer.Variable(x), chainer.Variable(gy)).array)


def test_a_function_without_an_estimator_is_clipped(random):
    x = chainer.Variable(random.uniform(-2, 2, (20, 30)).astype('f'))
    y = qst(x, numpy.sign)
    y.grad = random.standard_normal((20, 30)).astype('f')
    y.backward(retain_grad=True)
    numpy.testing.assert_array_equal(
        x.grad, y.grad * (numpy.abs(x.array) <= 1))


@pytest.mark.parametrize('name', NAMES)
def test_the_second_gradient_agrees_with_numerical_differentiation(
        name, kernel_path, random):
    # Away from where the factor jumps or has an edge.
    x = random.choice([-1.6, -.5, .5, 1.6], (4, 5)) + random.uniform(
        -.3, .3, (4, 5))
    gy, ggx = random.standard_normal((2, 4, 5))
    gradient_check.check_backward(
        by(name), (x, gy), ggx, eps=1e-5, rtol=1e-5, atol=1e-6,
        dtype=numpy.float64)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('name', NAMES)
def test_the_second_gradient_keeps_dtypes_and_hides_no_edge(
        name, dtype, kernel_path):
    x = numpy.array([0, -0., 1, -1, 2, numpy.inf, -numpy.inf, numpy.nan],
                    dtype)
    x, gy, ggx = (chainer.Variable(a) for a in (
        x, numpy.full(8, 2, dtype), numpy.full(8, 3, dtype)))
    gx = by(name)(x, gy)
    to_gy, to_x = chainer.grad([gx], [gy, x], [ggx])
    numpy.testing.assert_allclose(
        to_gy.array, by(name)(x, ggx).array, rtol=1e-3)
    if name in ('approx', 'swish'):
        assert to_x.dtype == dtype
        assert numpy.isfinite(to_x.array).all()
        assert to_x.array[:2].tolist() == [0, 0]
    else:
        assert to_x is None
    if name == 'approx':
        assert to_x.array.tolist() == [0, 0, -12, 12, 0, 0, 0, 0]


@pytest.mark.parametrize('name', quantizers.ESTIMATORS)
def test_qst_has_a_second_gradient(name, random):
    x = random.uniform(.1, .9, (3, 4)) * random.choice([-1, 1], (3, 4))
    gy, ggx = random.standard_normal((2, 3, 4))
    gradient_check.check_double_backward(
        lambda x: qst(x, quantizers.Binary(name)), x, gy, ggx, eps=1e-5,
        rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('shape', [(), (0,), (0, 3), (1, 1), (2, 3, 4)])
def test_any_shape_is_kept(name, shape):
    x = chainer.Variable(numpy.full(shape, .25, 'f'))
    assert by(name)(x, x).shape == shape


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('name', NAMES)
def test_gpu_gives_what_the_cpu_gives(name, dtype, random):
    arrays = random.uniform(-2, 2, (3, 50)).astype(dtype)
    results = []
    for device in '@numpy', '@cupy:0':
        x, gy, ggx = map(chainer.Variable,
                         chainer.get_device(device).send(list(arrays)))
        gx = by(name)(x, gy)
        results.append(chainer.get_device('@numpy').send(
            [gx.array, *(v.array for v in chainer.grad(
                [gx], [gy, x], [ggx]) if v is not None)]))
    eps = numpy.finfo(dtype).eps
    for a, b in zip(*results):
        numpy.testing.assert_allclose(a, b, rtol=50 * eps, atol=50 * eps)
