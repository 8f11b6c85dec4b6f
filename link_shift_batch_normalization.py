import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer
from chainer import link
from chainer import variable
import numpy

from function_shift_batch_normalization import (
    fixed_shift_batch_normalization, shift_batch_normalization)


class ShiftBatchNormalization(link.Link):
    """Shift-based batch normalization with running averages.

    In training :func:`~function_shift_batch_normalization.\
shift_batch_normalization`; in evaluation (``chainer.config.train`` is False)
    the same with the running averages: what is averaged is
    ``1 / sqrt(var + eps)`` before it is rounded to a power of two.

    Args:
        size (int): Size of an input vector.
        decay (float): Weight of the averages' old values: 1 less the weight
            of the new batch.
        eps (float): Small value for the numerical stability.

    Attributes:
        gamma, beta (~chainer.Parameter): Scale and shift, (size,).
        avg_mean, avg_inv_std (:ref:`ndarray`): Running averages, (size,).

    Reference: I. Hubara, M. Courbariaux, D. Soudry, R. El-Yaniv, Y. Bengio,
    "Quantized Neural Networks", arXiv:1609.07061, the algorithm of
    shift-based batch normalization; the defaults are those of the authors'
    code.

    """

    def __init__(self, size, decay=.875, eps=1e-5):
        super().__init__()
        self.decay = decay
        self.eps = eps
        with self.init_scope():
            self.gamma = variable.Parameter(numpy.ones(size, numpy.float32))
            self.beta = variable.Parameter(numpy.zeros(size, numpy.float32))
        self.avg_mean = numpy.zeros(size, numpy.float32)
        self.avg_inv_std = numpy.ones(size, numpy.float32)
        self.register_persistent('avg_mean')
        self.register_persistent('avg_inv_std')

    def forward(self, x):
        """Normalizes a batch of shape (N, size)."""
        if chainer.config.train:
            return shift_batch_normalization(
                x, self.gamma, self.beta, self.eps, self.avg_mean,
                self.avg_inv_std, self.decay)
        return fixed_shift_batch_normalization(
            x, self.gamma.array, self.beta.array, self.avg_mean,
            self.avg_inv_std)
