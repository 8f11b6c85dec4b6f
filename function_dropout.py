import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer
import chainer.functions as F
import numpy

import kernels


def dropout(x, ratio):
    """:func:`chainer.functions.dropout`, with a mask that is drawn faster.

    In training, each value is set to zero with a probability of ``ratio``,
    the others are multiplied by ``1 / (1 - ratio)``; else x is returned as it
    is. The random numbers follow from one that ``numpy.random`` draws, on a
    GPU, too, where the same values are dropped as on the CPU.

    Args:
        x (:class:`~chainer.Variable` or :ref:`ndarray`): Input, of any float
            dtype.
        ratio (float): Share of the values that is dropped, in [0, 1).

    Returns:
        ~chainer.Variable: Output, of x's shape and dtype.

    .. admonition:: Example

        >>> y = dropout(np.ones(8, np.float32), .5)
        >>> np.unique(y.array)
        array([0., 2.], dtype=float32)

    """
    x = chainer.as_variable(x)
    if not chainer.config.train:
        return x
    seed = numpy.random.randint(1 << 64, dtype=numpy.uint64)
    return F.dropout(
        x, ratio, mask=kernels.dropout_mask(x.array, ratio, seed))
