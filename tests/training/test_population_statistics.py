"""Statistics of training batches, taken anew at the end of an epoch."""
import chainer_compat
import chainer
from chainer.training import Trainer, updaters
import numpy
import pytest

from layers.batch_normalization import BatchNormalization
from training import population_statistics
from training.array_dataset import ArrayDataset
from training.array_iterator import ArrayIterator, send_arrays
from training.exact_evaluator import ExactEvaluator
from training.population_statistics import PopulationStatistics


class Model(chainer.Chain):
    """Batch normalization, and a loss that lets gamma grow."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.bn = BatchNormalization(3)

    def forward(self, x):
        y = self.bn(x)
        loss = -chainer.functions.sum(abs(y))
        chainer.report({'loss': loss}, self)
        return loss


def train(x, tmp_path, extension=None, batchsize=10):
    """Trains two epochs; returns the model, and the statistics evaluated."""
    numpy.random.seed(0)
    model = Model()
    if extension is None:
        extension = PopulationStatistics(model, batchsize)
    trainer = Trainer(
        updaters.StandardUpdater(
            ArrayIterator(ArrayDataset(x), batchsize),
            chainer.optimizers.SGD(.01).setup(model), converter=send_arrays),
        (2, 'epoch'), out=str(tmp_path))
    seen = []

    class Evaluator(ExactEvaluator):
        def evaluate(self):
            seen.append((model.bn.avg_mean.copy(), model.bn.avg_var.copy()))
            return super().evaluate()

    trainer.extend(Evaluator(
        ArrayIterator(ArrayDataset(x), batchsize, False, False), model,
        converter=send_arrays))
    if extension:
        trainer.extend(extension)
    trainer.run(show_loop_exception_msg=False)
    return model, seen


# With 57 the last images, which are no whole batch, are left out; with 95
# and 3 batches every third image is taken, but for the last two.
@pytest.mark.parametrize(('n', 'n_batches'), [(60, 100), (57, 100), (95, 3)])
def test_the_evaluation_sees_the_statistics_of_the_training_images(
        n, n_batches, tmp_path, monkeypatch, random):
    monkeypatch.setattr(population_statistics, 'N_BATCHES', n_batches)
    # As a folder of pictures, class after class.
    x = random.standard_normal((n, 3)).astype('f') + numpy.arange(
        n, dtype='f')[:, None]
    _, seen = train(x, tmp_path)
    batches = ([x[k:10 * (n // 10):n // 10] for k in range(n // 10)]
               if n_batches == 100 else [x[:90][3 * k::9] for k in range(3)])
    assert {len(batch) for batch in batches} == {10}
    mean = numpy.mean([batch.mean(axis=0) for batch in batches], axis=0)
    var = numpy.mean([batch.var(axis=0, ddof=1) for batch in batches], axis=0)
    assert len(seen) == 2
    for means in seen:
        numpy.testing.assert_allclose(means[0], mean, rtol=1e-5)
        numpy.testing.assert_allclose(means[1], var, rtol=1e-5)
    assert chainer.config.train


def test_the_training_does_not_depend_on_it(tmp_path, random):
    x = random.standard_normal((50, 3)).astype('f')
    with_it, _ = train(x, tmp_path)
    without, _ = train(x, tmp_path, extension=False)
    numpy.testing.assert_array_equal(
        with_it.bn.gamma.array, without.bn.gamma.array)
    assert (with_it.bn.gamma.array != 1).all()
    assert (with_it.bn.avg_mean != without.bn.avg_mean).any()
