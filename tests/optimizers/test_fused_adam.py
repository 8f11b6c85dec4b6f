import warnings

import chainer_compat
import chainer
import numpy
import pytest
from chainer import optimizers

from optimizers.fused_adam import FusedAdam
from optimizers.shift_adamax import ShiftAdaMax
from weight_clip import WeightClip


def make_link(dtype, shapes=((30, 20), (30,), (1,), (0, 5), ())):
    link = chainer.Link()
    random = numpy.random.RandomState(1)
    with link.init_scope():
        for i, shape in enumerate(shapes):
            array = random.standard_normal(shape)
            setattr(link, f'p{i}', chainer.Parameter(
                numpy.asarray(array, dtype)))
    return link


def train(optimizer_class, steps, dtype=numpy.float32, hooks=(), **kwargs):
    """Returns a link and its optimizer after steps with the same gradients."""
    link = make_link(dtype)
    optimizer = optimizer_class(**kwargs).setup(link)
    for hook in hooks:
        optimizer.add_hook(hook)
    random = numpy.random.RandomState(2)
    for _ in range(steps):
        for _, param in sorted(link.namedparams()):
            param.grad = numpy.asarray(
                random.standard_normal(param.shape), dtype)
        optimizer.update()
    return link, optimizer


def assert_same(a, b, **tolerance):
    (link_a, optimizer_a), (link_b, optimizer_b) = a, b
    assert optimizer_a.t == optimizer_b.t
    for (name, p), (_, q) in zip(sorted(link_a.namedparams()),
                                 sorted(link_b.namedparams())):
        assert p.dtype == q.dtype
        numpy.testing.assert_allclose(
            p.array, q.array, err_msg=name, **tolerance)
        assert p.update_rule.state.keys() == q.update_rule.state.keys()
        for key, value in p.update_rule.state.items():
            numpy.testing.assert_allclose(
                value, q.update_rule.state[key], err_msg=name, **tolerance)


HYPERPARAMETERS = [
    {}, {'alpha': 0.02, 'beta1': 0.5, 'beta2': 0.9, 'eps': 1e-3, 'eta': 0.3}]


@pytest.mark.parametrize('kwargs', HYPERPARAMETERS, ids=['default', 'other'])
@pytest.mark.parametrize('clip', [False, True], ids=['free', 'clip'])
@pytest.mark.parametrize(('dtype', 'rtol', 'atol'), [
    (numpy.float32, 1e-5, 1e-6), (numpy.float64, 1e-13, 1e-14)])
def test_a_hundred_steps_equal_those_of_chainers_adam_within_rounding(
        dtype, rtol, atol, clip, kwargs, kernel_path):
    hooks = [WeightClip()] if clip else []
    assert_same(train(FusedAdam, 100, dtype, hooks, **kwargs),
                train(optimizers.Adam, 100, dtype, hooks, **kwargs),
                rtol=rtol, atol=atol)


@pytest.mark.parametrize('kwargs', [
    {'amsgrad': True}, {'adabound': True}, {'weight_decay_rate': 0.1}],
    ids=lambda kwargs: next(iter(kwargs)))
def test_variants_that_the_kernel_lacks_are_those_of_chainers_adam(kwargs):
    hooks = [WeightClip()]
    assert_same(train(FusedAdam, 5, hooks=hooks, **kwargs),
                train(optimizers.Adam, 5, hooks=hooks, **kwargs), rtol=0)


def test_float16_is_left_to_chainers_adam():
    # Chainer's default eps is 0 in float16, but computes in float32.
    assert_same(train(FusedAdam, 5, numpy.float16, [WeightClip()]),
                train(optimizers.Adam, 5, numpy.float16, [WeightClip()]),
                rtol=0)


@pytest.mark.parametrize('optimizer_class', [FusedAdam, ShiftAdaMax])
def test_the_float32_copy_of_a_float16_parameter_is_clipped(optimizer_class):
    link = make_link(numpy.float16)
    optimizer = optimizer_class(alpha=.1)
    optimizer.use_fp32_update()
    optimizer.setup(link).add_hook(WeightClip())
    copies = []
    for param in link.params():
        param.update_rule.add_hook(
            lambda rule, copy: copies.append(copy), 'copy')
    for _ in range(3):
        for param in link.params():
            param.grad = numpy.ones_like(param.array)
        optimizer.update()
    for param, copy in zip(link.params(), copies):
        assert copy.dtype == numpy.float32
        assert (numpy.abs(copy.array) <= 1).all()
        numpy.testing.assert_array_equal(
            copy.array.astype(numpy.float16), param.array)


@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
@pytest.mark.parametrize('scale', [None, 8.])
def test_a_loss_is_scaled_as_for_chainers_adam(scale, dtype, random):
    x = random.standard_normal((4, 3)).astype(dtype)
    W = random.standard_normal((2, 3)).astype(dtype)

    def loss(link, factor):
        return factor * chainer.functions.sum(link(x) ** 2)

    results = []
    for cls in FusedAdam, optimizers.Adam:
        link = chainer.links.Linear(3, 2, initialW=W, nobias=True)
        optimizer = cls(.1).setup(link)
        optimizer.loss_scaling(scale=scale)
        optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(.5))
        for i in range(4):
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # of the loss that is NaN
                is_bad = i == 1 and scale is None
                optimizer.update(loss, link, numpy.nan if is_bad else 1)
        results.append((link.W.array, link.W.update_rule.t))
    numpy.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    assert results[0][1] == results[1][1] == (4 if scale else 3)


class Shift:
    """A hook that moves each parameter out of the limits."""

    name = 'Shift'
    timing = 'post'
    call_for_each_param = True

    def __call__(self, rule, param):
        param.array[...] += 5


@pytest.mark.parametrize('first', [0, 1])
def test_hooks_after_the_update_run_in_the_order_of_their_registration(first):
    hooks = [WeightClip(), Shift()]
    hooks = hooks[first:] + hooks[:first]
    (link, _), _ = (train(cls, 3, hooks=hooks)
                    for cls in (FusedAdam, optimizers.Adam))
    assert (link.p0.array > 1).all() == (hooks[-1].name == 'Shift')
    assert_same(train(FusedAdam, 3, hooks=hooks),
                train(optimizers.Adam, 3, hooks=hooks), rtol=1e-5, atol=1e-6)


def test_a_hook_of_one_rule_runs_before_the_clip():
    link = make_link(numpy.float32)
    optimizer = FusedAdam().setup(link)
    optimizer.add_hook(WeightClip())
    link.p0.update_rule.add_hook(Shift())
    for param in link.params():
        param.grad = numpy.zeros_like(param.array)
    optimizer.update()
    assert (link.p0.array == 1).all()
    assert (numpy.abs(link.p1.array) <= 1).all()


def test_the_clip_happens_in_the_update_itself():
    class Recorder(WeightClip):
        pass

    link, _ = train(FusedAdam, 1, hooks=[WeightClip()])
    assert all(param.update_rule.clipped for param in link.params())
    # A class of one's own may do anything, so that it is called.
    link, _ = train(FusedAdam, 1, hooks=[Recorder()])
    assert not any(param.update_rule.clipped for param in link.params())
    assert (numpy.abs(link.p0.array) <= 1).all()


def test_parameters_without_a_gradient_are_clipped_and_not_updated():
    link = make_link(numpy.float32)
    link.p1.array[:2] = 3, 0.25
    optimizer = FusedAdam().setup(link)
    optimizer.add_hook(WeightClip())
    link.cleargrads()
    link.p0.grad = numpy.ones_like(link.p0.array)
    optimizer.update()
    assert link.p1.array[:2].tolist() == [1, 0.25]


@pytest.mark.parametrize('optimizer', [
    FusedAdam, ShiftAdaMax, optimizers.Adam])
def test_a_frozen_link_is_neither_updated_nor_clipped(optimizer):
    link = make_link(numpy.float32)
    optimizer = optimizer().setup(link)
    optimizer.add_hook(WeightClip())
    link.disable_update()
    link.p0.array[0, :2] = 3, 0.25
    link.p0.grad = numpy.ones_like(link.p0.array)
    optimizer.update()
    assert link.p0.array[0, :2].tolist() == [3, 0.25]
    link.enable_update()
    link.p0.grad[...] = 0
    optimizer.update()
    assert link.p0.array[0, :2].tolist() == [1, 0.25]


@pytest.mark.parametrize(('saver', 'loader'), [
    (FusedAdam, optimizers.Adam), (optimizers.Adam, FusedAdam)])
def test_snapshots_are_those_of_chainers_adam(saver, loader, tmp_path):
    path = str(tmp_path / 'optimizer')
    saved = train(saver, 3)
    chainer.serializers.save_npz(path, saved[1])
    link = make_link(numpy.float32)
    link.copyparams(saved[0])
    loaded = loader().setup(link)
    chainer.serializers.load_npz(path, loaded)
    assert_same(saved, (link, loaded), rtol=0)


@pytest.mark.gpu
def test_gpu_gives_what_the_cpu_gives():
    import cupy
    arrays = []
    for xp in numpy, cupy:
        link = make_link(numpy.float32)
        link.to_device('@cupy:0' if xp is cupy else '@numpy')
        optimizer = FusedAdam().setup(link)
        optimizer.add_hook(WeightClip())
        random = numpy.random.RandomState(2)
        for _ in range(20):
            for _, param in sorted(link.namedparams()):
                param.grad = xp.asarray(
                    random.standard_normal(param.shape), numpy.float32)
            optimizer.update()
        arrays.append(link.p0.array if xp is numpy
                      else cupy.asnumpy(link.p0.array))
    numpy.testing.assert_allclose(*arrays, rtol=1e-5, atol=1e-6)
