import chainer_compat
from chainer import function_node


class QuantizeGradient(function_node.FunctionNode):
    """Identity whose gradient is rounded; see :func:`quantize_gradient`."""

    def __init__(self, quantizer):
        self.quantizer = quantizer

    def forward(self, inputs):
        return inputs

    def backward(self, indexes, grad_outputs):
        return Quantize(self.quantizer).apply(grad_outputs)


class Quantize(function_node.FunctionNode):
    """Rounding whose gradient is passed through."""

    def __init__(self, quantizer):
        self.quantizer = quantizer

    def forward(self, inputs):
        gy, = inputs
        return self.quantizer(gy),

    def backward(self, indexes, grad_outputs):
        return grad_outputs


def quantize_gradient(x, quantizer):
    """Identity function that rounds the gradient.

    .. math:: y = x, \\quad g_x = q(g_y).

    The gradient's own gradient is straight-through.

    Args:
        x (:class:`~chainer.Variable` or :ref:`ndarray`): Input of any shape.
        quantizer (callable): One of ``quantizers``. The gradients of a mean
            over a batch are small numbers, for which the steps of
            :class:`~quantizers.Linear` are large;
            :class:`~quantizers.Log` suits them.

    Returns:
        ~chainer.Variable: Output of x's shape and dtype.

    Reference: Hubara et al., arXiv:1609.07061, on quantized gradients.

    .. admonition:: Example

        >>> import chainer_compat
        >>> import chainer
        >>> import numpy as np
        >>> from layers.quantize_gradient import quantize_gradient
        >>> from quantizers import Log
        >>> x = chainer.Variable(np.array([1, 2], np.float32))
        >>> y = quantize_gradient(x, Log())
        >>> y.grad = np.array([.1, -.3], np.float32)
        >>> y.backward()
        >>> x.grad
        array([ 0.125, -0.25 ], dtype=float32)

    """
    y, = QuantizeGradient(quantizer).apply((x,))
    return y
