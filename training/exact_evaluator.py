import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer
from chainer import reporter
from chainer.training import extensions
import numpy


class ExactEvaluator(extensions.Evaluator):
    """Evaluator whose averages are over examples, whatever the batch size.

    :class:`chainer.training.extensions.Evaluator` averages over batches, which
    gives the examples of a last, smaller batch too much weight. Here each
    batch counts by its number of examples. It takes an iterator whose batches
    are tuples of arrays (:class:`~training.array_iterator.ArrayIterator`).
    """

    def evaluate(self):
        if self.eval_hook:
            self.eval_hook(self)
        iterator = self.get_iterator('main')
        iterator.reset()
        eval_func = self.eval_func or self.get_target('main')
        summary = reporter.DictSummary()
        for batch in iterator:
            observation = {}
            with reporter.report_scope(observation):
                arrays = self.converter(batch, self.device)
                with chainer.no_backprop_mode():
                    eval_func(*arrays)
            # Double precision, so that the sum's rounding does not depend on
            # the number of batches.
            weight = numpy.float64(len(batch[0]))
            summary.add({name: (value, weight)
                         for name, value in observation.items()})
        return summary.compute_mean()
