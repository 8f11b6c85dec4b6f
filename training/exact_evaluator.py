import chainer_compat
from chainer import reporter
from chainer.training import extensions
import numpy


class ExactEvaluator(extensions.Evaluator):
    """Evaluator whose averages are over examples, whatever the batch size.

    :class:`chainer.training.extensions.Evaluator`, with the same arguments,
    averages over batches, which gives the examples of a last, smaller batch
    too much weight. Here each batch counts by its number of examples: the
    length of the first array that the converter returns, be it in a tuple, in
    a dictionary or alone. What is reported as a tuple of value and weight
    counts by that weight.
    """

    def evaluate(self):
        """Returns the means over the examples; see Chainer's Evaluator.

        Raises:
            TypeError: If what the converter returns has no length.

        """
        given = self.eval_func
        eval_func = given or self.get_target('main')

        def evaluate_and_weigh(*args, **kwargs):
            weight = _count(*args, *kwargs.values())
            eval_func(*args, **kwargs)
            observation = reporter.get_current_reporter().observation
            for name, value in observation.items():
                if not isinstance(value, tuple):
                    observation[name] = value, weight

        self.eval_func = evaluate_and_weigh
        try:
            return super().evaluate()
        finally:
            self.eval_func = given


def _count(first=None, *_):
    """Returns the number of examples, those of the first array.

    In double precision, so that the rounding of the sum of what it weighs
    does not depend on the number of batches.
    """
    try:
        return numpy.float64(len(first))
    except TypeError:
        raise TypeError('the converter must return arrays of examples, '
                        f'got {type(first).__name__}') from None
