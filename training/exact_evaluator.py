import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer
from chainer import reporter
from chainer.training import extensions
import numpy


class ExactEvaluator(extensions.Evaluator):
    """Evaluator whose averages are over examples, whatever the batch size.

    :class:`chainer.training.extensions.Evaluator` averages over batches, which
    gives the examples of a last, smaller batch too much weight. Here each
    batch counts by its number of examples. What the converter returns is, as
    for Chainer's, a tuple, a dictionary or one array of examples.
    """

    def evaluate(self):
        """Returns the means over the examples; see Chainer's Evaluator."""
        if self.eval_hook:
            self.eval_hook(self)
        iterator = self.get_iterator('main')
        iterator.reset()
        eval_func = self.eval_func or self.get_target('main')
        summary = reporter.DictSummary()
        for batch in iterator:
            observation = {}
            inputs = self.converter(batch, self.device)
            args = inputs if isinstance(inputs, tuple) else ()
            kwargs = inputs if isinstance(inputs, dict) else {}
            if not (args or kwargs):
                args = inputs,
            with reporter.report_scope(observation), (
                    chainer.no_backprop_mode()):
                eval_func(*args, **kwargs)
            # Double precision, so that the sum's rounding does not depend on
            # the number of batches.
            n_examples = len(next(iter([*args, *kwargs.values()])))
            weight = numpy.float64(n_examples)
            summary.add({name: (value, weight)
                         for name, value in observation.items()})
        return summary.compute_mean()
