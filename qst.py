import chainer_compat
from chainer import function_node
from chainer.utils import type_check

from layers.quantize_gradient import quantize_gradient
from layers.straight_through import straight_through
from quantizers import Binary

_BINARY = Binary()


class QST(function_node.FunctionNode):
    """Rounding with a straight-through gradient; see :func:`qst`."""

    def __init__(self, quantizer):
        self.quantizer = quantizer

    def check_type_forward(self, in_types):
        type_check._argname(in_types, ('x',))
        type_check.expect(in_types[0].dtype.kind == 'f')

    def forward(self, inputs):
        self.retain_inputs((0,))
        x, = inputs
        return self.quantizer(x),

    def backward(self, indexes, grad_outputs):
        x, = self.get_retained_inputs()
        gy, = grad_outputs
        estimator = getattr(self.quantizer, 'estimator', 'clip')
        return straight_through(x, gy, estimator),


def qst(x, quantizer=_BINARY, gradient_quantizer=None):
    """Quantized activation with a straight-through gradient.

    Forward, ``y = quantizer(x)``; by default the deterministic binarization
    of the paper:

    .. math:: y = +1 \\text{ if } x \\ge 0 \\text{ else } -1.

    The derivative is zero nearly everywhere, so the straight-through
    estimator takes that of ``clip(x, -1, 1)`` instead, edges included:

    .. math:: g_x = g_y 1_{|x| \\le 1}.

    0 and -0.0 give +1; +1 and -1 pass the gradient. NaN stays NaN, so that a
    run that diverges shows it, and blocks the gradient. The quantizer may have
    another estimator, see :func:`~layers.straight_through.straight_through`.

    Args:
        x (:class:`~chainer.Variable` or :ref:`ndarray`): Input of any shape,
            float16, float32 or float64.
        quantizer (callable): One of ``quantizers``.
        gradient_quantizer (callable): One of ``quantizers``, which rounds
            g_y, see
            :func:`~layers.quantize_gradient.quantize_gradient`; or ``None``.

    Returns:
        ~chainer.Variable: Output of x's shape and dtype, by default +1 or -1.

    Raises:
        ~chainer.utils.type_check.InvalidType: If x is not of a float dtype.

    Reference: Hubara et al., arXiv:1609.07061, on deterministic
    binarization and the gradient through discretized activations.

    .. admonition:: Example

        >>> import chainer_compat
        >>> import chainer
        >>> import numpy as np
        >>> from qst import qst
        >>> x = chainer.Variable(np.array([-2, -.5, 0, 1], np.float32))
        >>> y = qst(x)
        >>> y.array
        array([-1., -1.,  1.,  1.], dtype=float32)
        >>> y.grad = np.array([1, 2, 3, 4], np.float32)
        >>> y.backward()
        >>> x.grad
        array([0., 2., 3., 4.], dtype=float32)

    """
    y, = QST(quantizer).apply((x,))
    if gradient_quantizer is not None:
        y = quantize_gradient(y, gradient_quantizer)
    return y
