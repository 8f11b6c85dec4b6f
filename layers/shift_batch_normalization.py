import numbers

import chainer_compat
import chainer
import chainer.functions as F
from chainer import function_node
from chainer import link
from chainer import variable
from chainer.utils import type_check
import numpy

import kernels
from kernels.numpy_normalization import axes, spread


class ShiftBatchNormalizationFunction(function_node.FunctionNode):
    """Normalization by shifts; see :func:`shift_batch_normalization`.

    Attributes:
        mean, inv_std (:ref:`ndarray`): Statistics of the batch, (M,), after
            the forward; ``inv_std`` is not rounded.

    """

    def __init__(self, eps):
        self.eps = eps

    def check_type_forward(self, in_types):
        type_check._argname(in_types, ('x', 'gamma', 'beta'))
        x_type, gamma_type, beta_type = in_types
        type_check.expect(x_type.dtype.kind == 'f')
        if type_check.eval(x_type.ndim) == 4:
            type_check.expect(x_type.shape[2] > 0, x_type.shape[3] > 0)
        else:
            type_check.expect(x_type.ndim == 2)
        type_check.expect(x_type.shape[0] > 0)
        for vector in gamma_type, beta_type:
            type_check.expect(
                vector.dtype == x_type.dtype,
                vector.ndim == 1,
                vector.shape[0] == x_type.shape[1],
            )

    def forward(self, inputs):
        self.retain_inputs((1,))
        x, gamma, beta = inputs
        dtype = x.dtype.type
        self.mean = x.mean(axis=axes(x))
        self.centred = x - spread(self.mean, x)
        self.power = kernels.ap2(self.centred)
        var = (self.centred * self.power).mean(axis=axes(x))
        self.inv_std = dtype(1) / (var + dtype(self.eps)) ** dtype(.5)
        self.scale = kernels.ap2(self.inv_std)
        y = self.centred * spread(self.scale * kernels.ap2(gamma), x)
        y += spread(beta, x)
        return y,

    def backward(self, indexes, grad_outputs):
        gamma, = self.get_retained_inputs()
        return ShiftBatchNormalizationGrad(
            self.centred, self.power, self.scale, gamma.array).apply(
                grad_outputs)


class ShiftBatchNormalizationGrad(function_node.FunctionNode):
    """Gradient in the authors' closed form, linear in gy; all else constant.

    Of x it is symmetric: the same matrix is that of its own backward.
    """

    def __init__(self, centred, power, scale, gamma):
        self.centred = centred
        self.power = power
        self.scale = scale
        self.gamma = gamma

    def forward(self, inputs):
        gy, = inputs
        correlation = (self.power * gy).mean(axis=axes(gy))
        correlation *= self.scale * self.scale
        gx = gy - spread(gy.mean(axis=axes(gy)), gy)
        gx -= self.power * spread(correlation, gy)
        gx *= spread(kernels.ap2(self.gamma) * self.scale, gy)
        ggamma = (gy * self._power_of_x_hat()).sum(axis=axes(gy))
        return gx, ggamma, gy.sum(axis=axes(gy))

    def _power_of_x_hat(self):
        return kernels.ap2(self.centred * spread(self.scale, self.centred))

    def backward(self, indexes, grad_outputs):
        ggx, gggamma, ggbeta = grad_outputs
        terms = []
        if ggx is not None:
            terms.append(ShiftBatchNormalizationGrad(
                self.centred, self.power, self.scale, self.gamma).apply(
                    (ggx,))[0])
        if gggamma is not None:
            terms.append(self._broadcast(gggamma) * self._power_of_x_hat())
        if ggbeta is not None:
            terms.append(self._broadcast(ggbeta))
        return F.add(*terms) if len(terms) > 1 else terms[0],

    def _broadcast(self, vector):
        return F.broadcast_to(spread(vector, self.centred), self.centred.shape)


def shift_batch_normalization(x, gamma, beta, eps=1e-5, running_mean=None,
                              running_inv_std=None, decay=.875):
    """Shift-based batch normalization of a batch of vectors or of images.

    It takes these alone: :func:`chainer.functions.batch_normalization` and
    its ``axis`` are for arrays of any number of axes.

    Batch normalization whose products are shifts, by rounding one factor of
    each to a power of two, :math:`AP2(x) = sign(x) 2^{round(\\log_2 |x|)}`:

    .. math::
        C &= x - mean(x), \\quad
        var = mean(C \\, AP2(C)), \\quad
        s = AP2(1 / \\sqrt{var + \\epsilon}), \\\\
        y &= C \\, s \\, AP2(\\gamma) + \\beta

    with the means over the batch, and over the pixels of its images.
    Backward, in the closed form of the authors' code, which is not the
    derivative of the above:

    .. math::
        g_x &= AP2(\\gamma) \\, s \\, (g_y - mean(g_y)
            - s^2 AP2(C) \\, mean(AP2(C) g_y)), \\\\
        g_\\gamma &= \\sum g_y AP2(C s), \\quad g_\\beta = \\sum g_y.

    NaN stays NaN.

    Args:
        x (:class:`~chainer.Variable` or :ref:`ndarray`): Batch of shape
            (N, M) or (N, M, height, width), all but M not 0, of a float
            dtype.
        gamma, beta (:class:`~chainer.Variable` or :ref:`ndarray`): Scale and
            shift of shape (M,) and x's dtype.
        eps (float): Small value for the numerical stability.
        running_mean, running_inv_std (:ref:`ndarray`): Running averages of
            mean and ``1 / sqrt(var + eps)``, which is not rounded, of shape
            (M,), updated in place; or ``None``.
        decay (float): Weight of the running averages' old values.

    Returns:
        ~chainer.Variable: Output of x's shape and dtype.

    Raises:
        ~chainer.utils.type_check.InvalidType: If shapes or dtypes do not fit.

    Reference: Hubara et al., arXiv:1609.07061, the algorithm of
    shift-based batch normalization; beta and the gradient are those of the
    authors' code.

    .. admonition:: Example

        >>> import numpy as np
        >>> from layers.shift_batch_normalization import (
        ...     shift_batch_normalization)
        >>> x = np.array([[1], [3], [8]], np.float32)
        >>> one = np.ones(1, np.float32)
        >>> shift_batch_normalization(x, one, 0 * one).array
        array([[-0.75],
               [-0.25],
               [ 1.  ]], dtype=float32)

    """
    function = ShiftBatchNormalizationFunction(eps)
    y, = function.apply((x, gamma, beta))
    for running, value in ((running_mean, function.mean),
                           (running_inv_std, function.inv_std)):
        if running is not None:
            running *= decay
            running += (1 - decay) * value
    return y


def fixed_shift_batch_normalization(x, gamma, beta, mean, inv_std):
    """:func:`shift_batch_normalization` with given statistics.

    ``y = (x - mean) (AP2(inv_std) AP2(gamma)) + beta``. Gradients pass to x
    alone.

    Args:
        x (:class:`~chainer.Variable` or :ref:`ndarray`): Batch, (N, M) or
            (N, M, height, width), of a float dtype.
        gamma, beta, mean, inv_std (:ref:`ndarray`): Vectors of shape (M,) and
            x's dtype.

    Returns:
        ~chainer.Variable: Output of x's shape and dtype.

    Raises:
        ~chainer.utils.type_check.InvalidType: If x's shape or dtype does not
            fit those of the vectors.

    """
    x = chainer.as_variable(x)
    if (x.ndim not in (2, 4) or x.shape[1:2] != mean.shape
            or x.dtype != mean.dtype):
        raise type_check.InvalidType(
            f'x of shape (N, {mean.size}) or (N, {mean.size}, height, width) '
            f'and dtype {mean.dtype}', f'shape {x.shape} and dtype {x.dtype}')
    scale = kernels.ap2(inv_std) * kernels.ap2(gamma)
    return (x - spread(mean, x)) * spread(scale, x) + spread(beta, x)


class ShiftBatchNormalization(link.Link):
    """Shift-based batch normalization with running averages.

    In training :func:`shift_batch_normalization`; in evaluation
    (``chainer.config.train`` is False) the same with the running averages:
    what is averaged is ``1 / sqrt(var + eps)`` before it is rounded to a
    power of two.

    It takes batches of shape (N, size) or (N, size, height, width) and dtype
    float32, whatever ``chainer.config.dtype`` is, not empty in training. It
    does not stand in the place of :class:`chainer.links.BatchNormalization`:
    its defaults and snapshots are others, and of the arguments it has these
    alone, and no ``finetune``.

    Args:
        size (int): Size of an input vector, or channels of an image.
        decay (float): Weight of the averages' old values: 1 less the weight
            of the new batch.
        eps (float): Small value for the numerical stability.

    Raises:
        TypeError: If ``size`` is no whole number.

    Attributes:
        gamma, beta (~chainer.Parameter): Scale and shift, (size,).
        avg_mean, avg_inv_std (:ref:`ndarray`): Running averages, (size,).

    Reference: Hubara et al., arXiv:1609.07061, the algorithm of
    shift-based batch normalization; the defaults are those of the authors'
    code.

    """

    def __init__(self, size, decay=.875, eps=1e-5):
        super().__init__()
        if not isinstance(size, numbers.Integral):
            raise TypeError(f'size must be a whole number, got {size!r}')
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
        """Normalizes a batch, (N, size) or (N, size, height, width)."""
        if not chainer.config.train:
            return fixed_shift_batch_normalization(
                x, self.gamma.array, self.beta.array, self.avg_mean,
                self.avg_inv_std)
        # Where F.forget computes a batch once more, it has counted already.
        averages = ((None, None) if chainer.config.in_recomputing
                    else (self.avg_mean, self.avg_inv_std))
        return shift_batch_normalization(
            x, self.gamma, self.beta, self.eps, *averages, self.decay)
