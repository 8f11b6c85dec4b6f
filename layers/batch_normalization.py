import contextlib

import chainer_compat
import chainer
import chainer.links as L
from chainer import backend
from chainer.backends import cuda
from chainer.functions.normalization import batch_normalization
import numpy

import kernels
from kernels.numpy_normalization import n_values


def update_averages(running_mean, running_var, mean, var, n, decay):
    """Updates running averages in place, as Chainer does.

    Args:
        running_mean, running_var (:ref:`ndarray`): Averages of shape (M,).
        mean, var (:ref:`ndarray`): Statistics of a batch, of shape (M,).
        n (int): Number of examples in the batch.
        decay (float): Weight of the averages' old values.

    """
    adjust = n / max(n - 1., 1.)  # unbiased estimation
    running_mean *= decay
    running_mean += (1 - decay) * mean
    running_var *= decay
    running_var += (1 - decay) * adjust * var


class _FusedImpl(batch_normalization.GeneralBatchNormalizationImpl):
    """Chainer's computation in few passes over memory.

    Chainer's function chooses among implementations; this is one more for
    arrays of shape (N, M) or (N, M, height, width). The double backward stays
    Chainer's.
    """

    def forward(self, axis, gamma, x, x_layout, xp, expander,
                beta, eps, decay, running_mean, running_var):
        y, mean, var, inv_std = kernels.batch_normalization(
            x, gamma, beta, eps)
        if running_mean is not None:
            update_averages(
                running_mean, running_var, mean, var, n_values(x), decay)
        return (y, x_layout, running_mean, running_var, mean, var, inv_std,
                None)

    def backward(self, axis, gamma, gy, x, x_layout, xp,
                 expander, mean, inv_std, eps, var, forward_data):
        gx, ggamma, gbeta = kernels.batch_normalization_backward(
            x, gamma, gy, mean, inv_std)
        return gx, x_layout, ggamma, gbeta


def _are_covered(x, vectors, axis):
    """Returns whether the kernels normalize an array over the axes."""
    return (type(x) in (numpy.ndarray, cuda.ndarray)
            and all(type(vector) is type(x) and vector.dtype == x.dtype
                    for vector in vectors)
            and x.dtype in (numpy.float32, numpy.float64)
            and (x.ndim, axis) in ((2, (0,)), (4, (0, 2, 3)))
            and n_values(x) > 0)


def _select_impl(function, inputs):
    x, *vectors = inputs
    if _are_covered(x, vectors, function.axis):
        return _FusedImpl()
    return batch_normalization._impl_selector(function, inputs)


class _FixedImages(batch_normalization.FixedBatchNormalization):
    """Chainer's function of fixed statistics, in one pass for images.

    On the CPU it gives the same bits; the backward stays Chainer's.
    """

    def forward(self, inputs):
        x, gamma, beta, mean, var = inputs
        if x.ndim != 4 or gamma.ndim != 1 or not _are_covered(
                x, inputs[1:], self.axis or (0, 2, 3)):
            return super().forward(inputs)
        self.retain_inputs((0, 1, 3, 4))
        self.axis, self.key_axis = (0, 2, 3), (1,)
        self.expander = None, slice(None), None, None
        xp = backend.get_array_module(x)
        self.inv_var = xp.reciprocal(var + self.eps)
        self.inv_std = xp.sqrt(self.inv_var)
        return kernels.normalize(x, gamma, beta, mean, self.inv_std),


class BatchNormalization(L.BatchNormalization):
    """Batch normalization that trains in few passes over memory.

    :class:`chainer.links.BatchNormalization` with the same arguments,
    parameters, snapshots, results and errors. For a batch of vectors or of
    images, float32 or float64, its training mode runs on this project's
    kernels, and so does the evaluation of images; all else on Chainer's
    functions. The sums over images are taken in another order than Chainer's.

    Args:
        evaluate_with_batch (bool): If ``True``, evaluation normalizes by the
            batch's own statistics as well, and leaves the running ones alone.
        args, kwargs: Those of :class:`chainer.links.BatchNormalization`.

    Attributes:
        impl_selector (callable): Chooses what computes in training.
        is_collecting (bool): Whether evaluations make the running statistics,
            see :func:`population_statistics`.

    Reference: S. Ioffe, C. Szegedy, "Batch Normalization: Accelerating Deep
    Network Training by Reducing Internal Covariate Shift", arXiv:1502.03167.
    """

    def __init__(self, *args, evaluate_with_batch=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.evaluate_with_batch = evaluate_with_batch
        self.is_collecting = False
        self.impl_selector = _select_impl

    def forward(self, x, **kwargs):
        """forward(self, x, *, finetune=False)

        Normalizes a batch.

        Args:
            x (:class:`~chainer.Variable` or :ref:`ndarray`): Batch.
            finetune (bool): If ``True``, the running statistics become those
                of all batches since ``start_finetuning()``; in training only.

        Returns:
            ~chainer.Variable: Output of x's shape and dtype.

        Raises:
            TypeError: If there is another keyword argument.
            ValueError: If it is ``test``, which Chainer had once.

        """
        if chainer.config.train:
            if self._is_for_chainer(kwargs) or chainer.config.in_recomputing:
                return super().forward(x, **kwargs)
            return self._normalize_by_batch(x, self.decay)
        if self.is_collecting:
            return self._collect(x, kwargs)
        if self.evaluate_with_batch:
            # Chainer's way to leave the running statistics alone.
            with chainer.using_config('train', True), (
                    chainer.using_config('in_recomputing', True)):
                return super().forward(x, **kwargs)
        if self._is_for_chainer(kwargs):
            return super().forward(x, **kwargs)
        y, = _FixedImages(self.eps, self.axis).apply(
            (x, self.gamma, self.beta, self.avg_mean, self.avg_var))
        return y

    def _is_for_chainer(self, kwargs):
        """Returns whether Chainer's own link shall compute.

        It fine-tunes, complains of other arguments, and knows what to do
        without running statistics or a parameter.
        """
        return (kwargs not in ({}, {'finetune': False})
                or self.avg_mean is None
                or self.gamma is None or self.beta is None)

    def _collect(self, x, kwargs):
        """Normalizes by the batch's statistics, and averages those."""
        if self._is_for_chainer(kwargs):
            with chainer.using_config('train', True):
                return super().forward(x, **{**kwargs, 'finetune': True})
        self.N += 1
        return self._normalize_by_batch(x, 1. - 1. / self.N)

    def _normalize_by_batch(self, x, decay):
        function = batch_normalization.BatchNormalization(
            self.eps, self.avg_mean, self.avg_var, decay, self.axis,
            impl_selector=self.impl_selector)
        y, = function.apply((x, self.gamma, self.beta))
        return y


@contextlib.contextmanager
def population_statistics(model):
    """Takes the statistics of a model's batch normalizations anew.

    Within the ``with`` block an evaluation normalizes by the batch's own
    statistics, and the running ones become their averages over all batches of
    the block. Weights that change in training, of which a running average
    knows the older ones as well, are as they are for all of them; dropout and
    stochastic rounding are off, as in any evaluation.

    Args:
        model (~chainer.Link): Model; those of its links that are
            :class:`BatchNormalization` take part.

    Reference: Algorithm 2, lines 8 to 10, of Ioffe and Szegedy.
    """
    links = [link for link in model.links()
             if isinstance(link, BatchNormalization)]
    for link in links:
        link.start_finetuning()
        link.is_collecting = True
    try:
        yield
    finally:
        for link in links:
            link.is_collecting = False
