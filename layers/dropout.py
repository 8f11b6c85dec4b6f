import chainer_compat
import chainer
from chainer.functions.noise import dropout as chainers
import numpy

import kernels


def dropout(x, ratio=.5, **kwargs):
    """dropout(x, ratio=.5, *, mask=None, return_mask=False)

    :func:`chainer.functions.dropout`, with a mask that is drawn faster.

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
        mask (:ref:`ndarray` or None): The mask m, of x's shape and dtype and
            on its device; then none is drawn, and ``ratio`` has no effect.
        return_mask (bool): If ``True``, the mask is returned as well.

    Returns:
        ~chainer.Variable or tuple: Output, of x's shape and dtype; with
        ``return_mask`` a tuple of it and the mask, which is ``None`` in
        evaluation.

    Raises:
        ValueError: If ``ratio`` is not in [0, 1), in evaluation, too, where
            Chainer's accepts it; if there is a keyword argument ``train``,
            which Chainer had once.
        TypeError: If there is another keyword argument.
        ~chainer.utils.type_check.InvalidType: If x is not of a float dtype.

    .. admonition:: Example

        >>> import numpy as np
        >>> from layers.dropout import dropout
        >>> x = np.ones(1000, np.float32)
        >>> y, mask = dropout(x, .5, return_mask=True)
        >>> np.unique(y.array)
        array([0., 2.], dtype=float32)
        >>> bool((dropout(2 * x, mask=mask).array == 2 * y.array).all())
        True

    """
    if not 0 <= ratio < 1:
        raise ValueError(f'ratio must be in the range [0, 1), got {ratio}')
    x = chainer.as_variable(x)
    # An array of another dtype is left to Chainer's check.
    if (chainer.config.train and kwargs.get('mask') is None
            and x.dtype.kind == 'f'):
        seed = numpy.random.randint(1 << 64, dtype=numpy.uint64)
        kwargs['mask'] = kernels.dropout_mask(x.array, ratio, seed)
    return chainers.dropout(x, ratio, **kwargs)
