import chainer_compat
import chainer
import chainer.functions as F
import chainer.links as L
import numpy
import pytest
from chainer.training import Trainer, updaters

from training import divergence
from training import snapshots
from training.array_dataset import ArrayDataset
from training.array_iterator import ArrayIterator, send_arrays


class Net(chainer.Chain):
    """A net of Chainer's own links: nothing in it is binary."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.zeta = L.Linear(4, 5)
            self.norm = L.BatchNormalization(5)
            self.alpha = L.Linear(None, 3)

    def forward(self, x):
        return self.alpha(F.relu(self.norm(self.zeta(x))))


def make_trainer(out, change=None, at=4):
    """A trainer whose model is changed after an iteration."""
    numpy.random.seed(0)
    dataset = ArrayDataset(
        numpy.random.uniform(0, 1, (20, 4)).astype(numpy.float32),
        numpy.random.randint(0, 3, 20).astype(numpy.int32))
    model = L.Classifier(Net())
    optimizer = chainer.optimizers.MomentumSGD(.1).setup(model)
    updater = updaters.StandardUpdater(
        ArrayIterator(dataset, 10), optimizer, converter=send_arrays)
    trainer = Trainer(updater, (3, 'epoch'), out=str(out))

    def act(trainer):
        if change and trainer.updater.iteration == at:
            change(trainer, model.predictor)

    trainer.extend(act, priority=1000)
    trainer.extend(divergence.Watch())
    trainer.extend(snapshots.save, name='snapshot', priority=-100,
                   trigger=snapshots.every(1, 3))
    return trainer


def set_to(name, value):
    def change(trainer, net):
        link, array = name.split('/')
        array = getattr(net[link], array)
        getattr(array, 'array', array)[..., -1] = value
    return change


def run(trainer):
    trainer.run(show_loop_exception_msg=False)


def test_a_sound_run_is_not_stopped(tmp_path):
    run(make_trainer(tmp_path))


@pytest.mark.parametrize('value', [numpy.nan, numpy.inf, -numpy.inf])
@pytest.mark.parametrize('name', [
    'zeta/W', 'zeta/b', 'norm/gamma', 'norm/avg_var', 'alpha/W'])
def test_the_iteration_and_the_layer_are_named(tmp_path, name, value):
    with pytest.raises(FloatingPointError, match=(
            'diverged at iteration 4: the first layer affected is '
            f'{name}')):
        run(make_trainer(tmp_path, set_to(name, value)))
    # That of iteration 4 would hold the value: it was not written.
    assert [path.name for path in tmp_path.iterdir()] == ['snapshot_iter_2']


def test_the_first_layer_is_the_first_that_was_added(tmp_path):
    def change(trainer, net):
        for name in 'alpha/W', 'zeta/b', 'norm/beta':
            set_to(name, numpy.nan)(trainer, net)
    with pytest.raises(FloatingPointError, match='affected is zeta/b'):
        run(make_trainer(tmp_path, change))


@pytest.mark.parametrize('value', [
    numpy.nan, chainer.Variable(numpy.array(numpy.inf, 'f'))])
def test_a_loss_is_looked_at_as_well(tmp_path, value):
    def change(trainer, net):
        trainer.observation['validation/main/loss'] = value
    with pytest.raises(FloatingPointError, match=(
            r'iteration 4: validation/main/loss is (nan|inf); all parameters '
            'are finite')):
        run(make_trainer(tmp_path, change))


def test_large_values_are_finite(tmp_path):
    def change(trainer, net):
        net.norm.avg_mean[:] = 3e38
    run(make_trainer(tmp_path, change))


def test_float16_and_float64_and_no_floats():
    model = chainer.Sequential(L.Linear(3, 3), L.Linear(3, 3))
    assert divergence.first_not_finite(model) is None
    for dtype in numpy.float16, numpy.float64:
        model[1].W.array = numpy.full((3, 3), 60000, dtype)
        assert divergence.first_not_finite(model) is None
        model[1].W.array[2, 2] = numpy.nan
        assert divergence.first_not_finite(model) == '1/W'
    model[1].W.array = numpy.zeros((0, 3), numpy.float32)
    model[0].add_persistent('n', 3)
    assert divergence.first_not_finite(model) is None
    model[0].add_persistent('x', numpy.inf)
    assert divergence.first_not_finite(model) == '0/x'


@pytest.mark.parametrize(('name', 'iteration'), [
    ('zeta/W', 4), ('zeta/b', 3), ('norm/gamma', 3)])
def test_large_arrays_wait_and_small_ones_do_not(
        tmp_path, monkeypatch, name, iteration):
    # Iteration 3 is the first of an epoch, 4 its last.
    monkeypatch.setattr(divergence, '_LARGE', 10)
    trainer = make_trainer(tmp_path, set_to(name, numpy.nan), at=3)
    trainer.updater.get_optimizer('main').lr = 0
    with pytest.raises(FloatingPointError, match=(
            f'diverged at iteration {iteration}: .*affected is {name}')):
        run(trainer)
