import chainer_compat
import chainer
import chainer.links as L
import numpy
import pytest
from chainer import testing

from link_quantized_linear import QuantizedLinear
from net import MnistMLP
from optimizers.bop import Bop, BopRule
from optimizers.fused_adam import FusedAdam, FusedAdamRule
from quantizers import Linear
from weight_clip import WeightClip


def make_model(seed=0, dtype=numpy.float32):
    numpy.random.seed(seed)
    with chainer.using_config('dtype', dtype):
        return L.Classifier(MnistMLP(20, 12, 5))


def steps(optimizer, model, n, seed=1):
    random = numpy.random.RandomState(seed)
    for _ in range(n):
        for _, param in sorted(model.namedparams()):
            param.grad = param.device.send(
                (1e-3 * random.standard_normal(param.shape)).astype(
                    param.dtype))
        optimizer.update()


def test_binary_weights_have_bop_and_all_else_has_adam():
    model = make_model()
    Bop().setup(model)
    rules = {name: type(param.update_rule)
             for name, param in model.namedparams()}
    assert len(rules) == 12
    for name, rule in rules.items():
        assert rule is (BopRule if name.endswith('/W') else FusedAdamRule)


def test_weights_that_are_not_binary_have_adam_too():
    model = chainer.Sequential(
        L.Linear(3, 4), QuantizedLinear(4, 5, quantizer=Linear(4)),
        QuantizedLinear(5, 2))
    Bop().setup(model)
    assert [type(link.W.update_rule) for link in model] == [
        FusedAdamRule, FusedAdamRule, BopRule]


def test_a_model_without_binary_weights_is_refused():
    with pytest.raises(ValueError, match='needs a link whose quantizer is b'):
        Bop().setup(L.Linear(3, 2))


def test_updates_are_those_of_the_algorithm(kernel_path):
    model = make_model()
    optimizer = Bop(gamma=.1, threshold=2e-4).setup(model)
    W = model.predictor.l2.W
    w, m, n_flips = numpy.where(W.array >= 0, 1, -1), 0, 0
    random = numpy.random.RandomState(1)
    for _ in range(20):
        for param in model.params():
            param.grad = numpy.zeros_like(param.array)
        W.grad = (1e-3 * random.standard_normal(W.shape)).astype('f')
        optimizer.update()
        m = .9 * m + .1 * W.grad.astype('d')
        flips = (numpy.abs(m) > 2e-4) & (numpy.sign(m) == w)
        w = numpy.where(flips, -w, w)
        n_flips += flips.sum()
        numpy.testing.assert_array_equal(W.array, w)
    assert n_flips > 50


def test_all_other_parameters_are_adams():
    models = [make_model(), make_model()]
    for model, make in zip(models, (Bop, FusedAdam)):
        steps(make(alpha=.01).setup(model), model, 3)
    for (name, param), (_, other) in zip(*(
            sorted(model.namedparams()) for model in models)):
        if not name.endswith('/W'):
            numpy.testing.assert_array_equal(param.array, other.array)


def test_there_are_no_latent_weights_after_the_first_update():
    model = make_model()
    signs = [numpy.where(link.W.array >= 0, 1, -1)
             for link, _ in model.predictor.layers()]
    steps(Bop(threshold=1).setup(model), model, 1)
    for (link, _), sign in zip(model.predictor.layers(), signs):
        numpy.testing.assert_array_equal(link.W.array, sign)
        assert link.W.update_rule.state.keys() == {'m'}


def test_gamma_and_threshold_can_be_changed_between_updates():
    model = make_model()
    optimizer = Bop(gamma=.5, threshold=1).setup(model)
    optimizer.gamma, optimizer.threshold = 0, 0
    steps(optimizer, model, 2)
    rule = model.predictor.l1.W.update_rule
    assert (rule.hyperparam.gamma, rule.hyperparam.threshold) == (0, 0)
    assert not rule.state['m'].any()


def test_a_layer_that_is_frozen_stays_as_it_is():
    model = make_model()
    optimizer = Bop(gamma=1, threshold=0).setup(model)
    net = model.predictor
    net.l1.disable_update()
    before = net.l1.W.array.copy()
    for param in net.params():
        param.grad = numpy.ones_like(param.array)
    optimizer.update()
    numpy.testing.assert_array_equal(net.l1.W.array, before)
    assert (net.l2.W.array == -1).all()


def test_a_clip_is_of_all_parameters():
    model = make_model()
    optimizer = Bop(alpha=5.).setup(model)
    optimizer.add_hook(WeightClip())
    steps(optimizer, model, 2)
    for param in model.params():
        assert numpy.abs(param.array).max() <= 1
    assert numpy.abs(model.predictor.bn1.beta.array).max() == 1


@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float64])
def test_other_dtypes_are_kept(dtype):
    model = make_model(dtype=dtype)
    steps(Bop(gamma=.5, threshold=1e-4).setup(model), model, 3)
    for link, _ in model.predictor.layers():
        assert link.W.dtype == dtype
        assert set(numpy.unique(link.W.array)) == {-1, 1}


def test_a_run_goes_on_from_its_saved_state(tmp_path):
    model = make_model()
    optimizer = Bop(gamma=.1, threshold=1e-5).setup(model)
    steps(optimizer, model, 3)
    other = make_model(seed=5)
    resumed = Bop(gamma=.1, threshold=1e-5).setup(other)
    for name, (saved, loaded) in {'model': (model, other),
                                  'optimizer': (optimizer, resumed)}.items():
        chainer.serializers.save_npz(str(tmp_path / name), saved)
        chainer.serializers.load_npz(str(tmp_path / name), loaded)
    steps(optimizer, model, 3, seed=2)
    steps(resumed, other, 3, seed=2)
    for (_, a), (_, b) in zip(sorted(model.namedparams()),
                              sorted(other.namedparams())):
        numpy.testing.assert_array_equal(a.array, b.array)


@pytest.mark.gpu
def test_gpu_gives_what_the_cpu_gives():
    models = []
    for device in '@numpy', '@cupy:0':
        model = make_model()
        model.to_device(device)
        optimizer = Bop(gamma=.1, threshold=1e-4).setup(model)
        steps(optimizer, model, 4)
        model.to_device('@numpy')
        models.append(dict(model.namedparams()))
    for name, param in models[0].items():
        testing.assert_allclose(models[1][name].array, param.array, 1e-5, 1e-6)
