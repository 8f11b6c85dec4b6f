import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer
import chainer.functions as F
import numpy

import kernels


def dropout(x, ratio):
    """:func:`chainer.functions.dropout`, with a mask that is drawn faster.

    In training

    .. math:: y = m x, \\quad g_x = m g_y,

    where each value of m is 0 with a probability of ``ratio`` and else
    :math:`1 / (1 - ratio)`, NaN and infinity times 0 being NaN; in evaluation
    (``chainer.config.train`` is False) x is returned as it is. The mask
    follows from one number that ``numpy.random`` draws, on a GPU, too, where
    the same values are dropped as on the CPU.

    Args:
        x (:class:`~chainer.Variable` or :ref:`ndarray`): Input, of any float
            dtype.
        ratio (float): Share of the values that is dropped, in [0, 1).

    Returns:
        ~chainer.Variable: Output, of x's shape and dtype.

    Raises:
        ValueError: If ``ratio`` is not in [0, 1).

    .. admonition:: Example

        >>> import numpy as np
        >>> from layers.dropout import dropout
        >>> y = dropout(np.ones(1000, np.float32), .5)
        >>> np.unique(y.array)
        array([0., 2.], dtype=float32)

    """
    if not 0 <= ratio < 1:
        raise ValueError(f'ratio must be in the range [0, 1), got {ratio}')
    x = chainer.as_variable(x)
    if not chainer.config.train:
        return x
    seed = numpy.random.randint(1 << 64, dtype=numpy.uint64)
    return F.dropout(
        x, ratio, mask=kernels.dropout_mask(x.array, ratio, seed))
