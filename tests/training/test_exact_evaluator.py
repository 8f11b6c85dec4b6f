import chainer_compat  # noqa: F401  (before chainer)
import chainer
import chainer.functions as F
import chainer.links as L
import numpy
import pytest
from chainer.training import Trainer, updaters
from chainer.training import extensions

from training.array_dataset import ArrayDataset
from training.array_iterator import ArrayIterator, send_arrays
from training.exact_evaluator import ExactEvaluator


@pytest.fixture
def classifier():
    numpy.random.seed(0)
    return L.Classifier(L.Linear(3, 4))


@pytest.fixture
def dataset(random):
    return ArrayDataset(random.standard_normal((10, 3)).astype(numpy.float32),
                        random.randint(0, 4, 10).astype(numpy.int32))


def evaluate(classifier, dataset, batch_size, **kwargs):
    iterator = ArrayIterator(dataset, batch_size, repeat=False, shuffle=False)
    return ExactEvaluator(
        iterator, classifier, converter=send_arrays, **kwargs)()


@pytest.mark.parametrize('batch_size', [1, 3, 4, 5, 9, 10, 11])
def test_averages_are_over_examples_for_any_batch_size(
        classifier, dataset, batch_size):
    result = evaluate(classifier, dataset, batch_size)
    x, t = dataset.arrays
    y = classifier.predictor(x)
    assert float(result['main/accuracy']) == pytest.approx(
        float((y.array.argmax(axis=1) == t).mean()), abs=1e-7)
    assert float(result['main/loss']) == pytest.approx(
        float(F.softmax_cross_entropy(y, t).array), rel=1e-6)


def test_chainers_evaluator_weighs_a_smaller_batch_too_much(
        classifier, dataset):
    # The reason for the class: where this fails, it is no longer needed.
    iterator = chainer.iterators.SerialIterator(
        dataset, 9, repeat=False, shuffle=False)
    chainers = extensions.Evaluator(iterator, classifier)()
    ours = evaluate(classifier, dataset, 9)
    assert abs(float(chainers['main/loss']) - float(ours['main/loss'])) > 1e-3


def test_it_evaluates_twice_and_without_training_mode(classifier, dataset):
    modes = []

    def function(x, t):
        modes.append((chainer.config.train, chainer.config.enable_backprop))
        classifier(x, t)

    iterator = ArrayIterator(dataset, 4, repeat=False, shuffle=False)
    evaluator = ExactEvaluator(
        iterator, classifier, converter=send_arrays, eval_func=function)
    first, second = evaluator(), evaluator()
    assert first == second
    assert modes == [(False, False)] * 6


def test_it_reports_under_the_names_of_chainers_evaluator(
        classifier, dataset, tmp_path):
    optimizer = chainer.optimizers.SGD().setup(classifier)
    updater = updaters.StandardUpdater(
        ArrayIterator(dataset, 5), optimizer, converter=send_arrays)
    trainer = Trainer(updater, (1, 'epoch'), out=str(tmp_path))
    trainer.extend(ExactEvaluator(
        ArrayIterator(dataset, 5, repeat=False, shuffle=False), classifier,
        converter=send_arrays))
    trainer.run()
    assert {'validation/main/loss', 'validation/main/accuracy'} <= set(
        trainer.observation)
