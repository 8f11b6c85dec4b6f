import chainer_compat
import chainer
import numpy
import pytest
from chainer import testing

from optimizers.shift_adamax import ShiftAdaMax
from weight_clip import WeightClip


def ap2(x):
    return numpy.sign(x) * 2. ** numpy.round(numpy.log2(numpy.abs(x)))


def make_link(random):
    link = chainer.Link()
    with link.init_scope():
        link.W = chainer.Parameter(random.uniform(-1, 1, (6, 5)).astype('f'))
        link.b = chainer.Parameter(random.uniform(-1, 1, 6).astype('f'))
    return link


def steps(random, optimizer, link, n):
    """Makes n updates with random gradients; returns the gradients of W."""
    gradients = []
    for _ in range(n):
        for param in link.params():
            param.grad = random.standard_normal(param.shape).astype('f')
        gradients.append(link.W.grad.astype('d'))
        optimizer.update()
    return gradients


@pytest.mark.parametrize('eta', [1., 3.])
def test_updates_are_those_of_the_formula(eta, random, kernel_path):
    link = make_link(random)
    optimizer = ShiftAdaMax(alpha=.01).setup(link)
    link.W.update_rule.hyperparam.eta = eta
    theta = link.W.array.astype('d')
    m = v = 0
    for t, g in enumerate(steps(random, optimizer, link, 5), 1):
        m = .9 * m + .1 * g
        v = numpy.maximum(.999 * v, numpy.abs(g))
        theta = theta - ap2(eta * .01 / (1 - .9 ** t)) * m * ap2(1 / v)
    testing.assert_allclose(link.W.array, theta, 1e-5, 1e-5)


def test_every_factor_of_the_step_but_m_is_a_power_of_two(random):
    link = make_link(random)
    optimizer = ShiftAdaMax(alpha=.01).setup(link)
    before = link.W.array.astype('d')
    steps(random, optimizer, link, 1)
    quotient = (before - link.W.array) / link.W.update_rule.state['m']
    exponent = numpy.log2(numpy.abs(quotient))
    testing.assert_allclose(exponent, exponent.round(), 1e-3, 1e-3)


def test_a_gradient_that_was_always_zero_makes_no_step(random, kernel_path):
    link = make_link(random)
    optimizer = ShiftAdaMax().setup(link)
    before = link.W.array.copy()
    for _ in range(3):
        link.W.grad = numpy.zeros_like(before)
        link.b.grad = numpy.ones_like(link.b.array)
        optimizer.update()
    numpy.testing.assert_array_equal(link.W.array, before)
    assert numpy.isfinite(link.b.array).all()


def test_the_clip_of_chosen_parameters_is_part_of_the_update(random):
    link, other = make_link(random), None
    other = link.copy('copy')
    optimizers = []
    for one, hook_last in (link, False), (other, True):
        optimizer = ShiftAdaMax(alpha=1).setup(one)
        if hook_last:
            # Any other hook before it, and the clip is done on its own.
            optimizer.add_hook(Nothing())
        optimizer.add_hook(WeightClip(names=('W',)))
        optimizers.append(optimizer)
        steps(numpy.random.RandomState(1), optimizer, one, 3)
    assert link.W.update_rule.clipped
    assert not link.b.update_rule.clipped
    assert not other.W.update_rule.clipped
    assert numpy.abs(link.W.array).max() == 1
    assert numpy.abs(link.b.array).max() > 1
    numpy.testing.assert_array_equal(link.W.array, other.W.array)
    numpy.testing.assert_array_equal(link.b.array, other.b.array)


class Nothing:
    """A hook that does nothing."""

    name = 'Nothing'
    timing = 'post'
    call_for_each_param = True

    def __call__(self, rule, param):
        pass


def test_a_run_goes_on_from_its_saved_state(random, tmp_path):
    link = make_link(random)
    optimizer = ShiftAdaMax().setup(link)
    steps(numpy.random.RandomState(1), optimizer, link, 3)
    for name, target in ('link', link), ('optimizer', optimizer):
        chainer.serializers.save_npz(str(tmp_path / name), target)
    other = make_link(random)
    resumed = ShiftAdaMax().setup(other)
    for name, target in ('link', other), ('optimizer', resumed):
        chainer.serializers.load_npz(str(tmp_path / name), target)
    for one, o in (link, optimizer), (other, resumed):
        steps(numpy.random.RandomState(2), o, one, 2)
    numpy.testing.assert_array_equal(link.W.array, other.W.array)


def test_the_step_size_can_be_changed_between_updates(random):
    link = make_link(random)
    optimizer = ShiftAdaMax().setup(link)
    assert optimizer.alpha == 2. ** -6
    optimizer.alpha /= 2
    steps(random, optimizer, link, 1)
    assert link.W.update_rule.step == ap2(2. ** -7 / .1)


@pytest.mark.gpu
def test_gpu_gives_what_the_cpu_gives(random):
    link = make_link(random)
    other = link.copy('copy')
    other.to_device('@cupy:0')
    for one in link, other:
        optimizer = ShiftAdaMax().setup(one)
        optimizer.add_hook(WeightClip())
        generator = numpy.random.RandomState(1)
        for _ in range(3):
            for param in one.params():
                param.grad = param.device.send(
                    generator.standard_normal(param.shape).astype('f'))
            optimizer.update()
    testing.assert_allclose(other.W.array.get(), link.W.array, 1e-5, 1e-6)
