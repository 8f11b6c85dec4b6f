import chainer_compat
import chainer
import chainer.links as L
import numpy
import pytest
from chainer import optimizers

from optimizers.fused_adam import FusedAdam
from weight_clip import WeightClip


def make_chain():
    chain = chainer.Chain()
    with chain.init_scope():
        chain.linear = L.Linear(3, 4)
        chain.bn = L.BatchNormalization(4)
        chain.lazy = L.Linear(None, 2)
    return chain


def update_with_gradients_of(value, optimizer):
    optimizer.target.cleargrads()
    for param in optimizer.target.params():
        if param.array is not None:
            param.grad = numpy.full_like(param.array, value)
    optimizer.update()


@pytest.mark.parametrize('sign', [-1, 1])
def test_every_parameter_is_within_the_limits_after_the_update(sign):
    chain = make_chain()
    optimizer = optimizers.SGD(lr=10).setup(chain)
    optimizer.add_hook(WeightClip())
    update_with_gradients_of(-sign, optimizer)
    for name in 'linear/W', 'linear/b', 'bn/gamma', 'bn/beta':
        param = dict(chain.namedparams())['/' + name]
        assert (param.array == sign).all(), name


def test_values_within_the_limits_stay_as_they_are(random):
    chain = make_chain()
    chain.linear.W.array[...] = random.uniform(-1, 1, (4, 3))
    before = chain.linear.W.array.copy()
    WeightClip()(None, chain.linear.W)
    numpy.testing.assert_array_equal(chain.linear.W.array, before)


def test_clip_is_in_place():
    param = chainer.Parameter(numpy.array([-3, 0.5, 3], numpy.float32))
    array = param.array
    WeightClip()(None, param)
    assert param.array is array
    assert array.tolist() == [-1, 0.5, 1]


def test_limits_can_be_chosen():
    param = chainer.Parameter(numpy.array([-3, 0.5, 3], numpy.float32))
    WeightClip(-0.25, 2)(None, param)
    assert param.array.tolist() == [-0.25, 0.5, 2]


def test_nan_stays_nan():
    param = chainer.Parameter(
        numpy.array([numpy.nan, numpy.inf, -numpy.inf], numpy.float32))
    WeightClip()(None, param)
    numpy.testing.assert_array_equal(param.array, [numpy.nan, 1, -1])


def test_parameters_without_data_are_skipped():
    param = chainer.Parameter()
    WeightClip()(None, param)
    assert param.array is None


@pytest.mark.parametrize('make_optimizer', [
    optimizers.SGD, optimizers.Adam, FusedAdam])
def test_a_clip_before_the_update_leaves_its_step(make_optimizer):
    chain = make_chain()
    optimizer = make_optimizer().setup(chain)
    optimizer.add_hook(WeightClip(timing='pre'))
    chain.bn.gamma.array[...] = 3
    update_with_gradients_of(-1, optimizer)
    gamma = chain.bn.gamma.array
    assert (gamma > 1).all()
    assert (gamma < 1.02).all()
    step = float(gamma[0]) - 1
    update_with_gradients_of(-1, optimizer)
    assert chain.bn.gamma.array == pytest.approx(1 + step, abs=1e-5)


def test_a_timing_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'pre' or 'post', got 'before'"):
        WeightClip(timing='before')


@pytest.mark.parametrize('limits', [(1, -1), (0, 0), (float('nan'), 1)])
def test_a_lower_limit_that_is_not_below_the_upper_is_refused(limits):
    with pytest.raises(ValueError, match='lower must be less than upper'):
        WeightClip(*limits)


@pytest.mark.gpu
def test_gpu_clips_what_the_cpu_clips():
    import cupy
    param = chainer.Parameter(
        cupy.array([-3, 0.5, 3, numpy.nan], numpy.float32))
    WeightClip()(None, param)
    numpy.testing.assert_array_equal(
        cupy.asnumpy(param.array), [-1, 0.5, 1, numpy.nan])


def test_only_the_named_parameters_are_clipped():
    link = L.Linear(None, 3)
    link(numpy.ones((1, 2), numpy.float32))
    link.W.array[...] = link.b.array[...] = 3
    optimizer = chainer.optimizers.SGD(lr=0).setup(link)
    optimizer.add_hook(WeightClip(names=('W',)))
    link.cleargrads()
    optimizer.update()
    assert (link.W.array == 1).all()
    assert (link.b.array == 3).all()
