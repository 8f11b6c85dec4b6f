import chainer_compat
import chainer
import chainer.functions as F
import chainer.links as L
import numpy
import pytest
from chainer.dataset import concat_examples
from chainer.training import Trainer, extensions, updaters

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


class Means(chainer.Chain):
    """Reports the mean of x, and of y where it is given."""

    def forward(self, x, y=None):
        chainer.report({'x': x.mean()}, self)
        if y is not None:
            chainer.report({'y': F.mean(y),
                            'weighted': (y.mean(), 2 * len(y))}, self)


def as_dictionary(batch, device=None):
    x, y = concat_examples(batch, device)
    return {'x': x, 'y': y}


@pytest.mark.parametrize('form', ['tuple', 'dictionary', 'array'])
@pytest.mark.parametrize('batch_size', [1, 3, 4, 10, 20])
def test_a_batch_is_a_tuple_a_dictionary_or_an_array(form, batch_size, random):
    x, y = random.standard_normal((2, 10, 3))
    dataset = x if form == 'array' else list(zip(x, y))
    iterator = chainer.iterators.SerialIterator(
        dataset, batch_size, repeat=False, shuffle=False)
    evaluator = ExactEvaluator(
        iterator, Means(), device=-1, **(
            {'converter': as_dictionary} if form == 'dictionary' else {}))
    result = evaluator()
    assert result['main/x'] == pytest.approx(x.mean(), rel=1e-12)
    if form != 'array':
        # What has a weight of its own keeps it.
        assert result['main/y'] == pytest.approx(y.mean(), rel=1e-12)
        assert result['main/weighted'] == pytest.approx(y.mean(), rel=1e-12)
    assert evaluator.eval_func is None


def test_the_rest_is_chainers_evaluator(capsys, random):
    """The hook, the progress bar, a plain converter's device, no target."""
    devices, hooked = [], []

    def convert(batch, device):
        devices.append(device)
        return numpy.stack(batch)

    x = random.standard_normal((4, 3))
    for cls in ExactEvaluator, extensions.Evaluator:
        means = Means()
        evaluator = cls(
            chainer.iterators.SerialIterator(x, 2, repeat=False), {},
            converter=convert, device='@numpy', eval_hook=hooked.append,
            eval_func=means, progress_bar=True)
        reporter = chainer.Reporter()
        reporter.add_observer('means', means)
        with reporter:
            result = evaluator.evaluate()
        assert result == {'means/x': pytest.approx(x.mean())}
        assert hooked.pop() is evaluator
        assert 'validation [' in capsys.readouterr().out
        assert evaluator.eval_func is means
    assert devices == [-1] * 4


@pytest.mark.parametrize('batch', [None, (), {}, 3, numpy.float32(3)])
def test_a_batch_that_cannot_be_counted_is_refused(batch):
    iterator = chainer.iterators.SerialIterator([1, 2], 2, repeat=False)
    evaluator = ExactEvaluator(
        iterator, Means(), converter=lambda *_: batch)
    with pytest.raises(TypeError, match='must return arrays of examples'):
        evaluator()
    assert evaluator.eval_func is None
