import functools

import chainer_compat
import chainer.functions as F
from chainer import function_node
from chainer import utils
from chainer.utils import type_check

import kernels
from layers.quantize_gradient import quantize_gradient
from quantizers import Binary, Quantizer

_BINARY = Binary()


def _quantize(quantizer, W):
    """Returns the rounded weights as a matrix for products."""
    if isinstance(quantizer, Quantizer):
        return quantizer.matrix(W)
    return kernels.as_matrix(quantizer(W))


class QuantizedLinearFunction(function_node.FunctionNode):
    """Linear function of quantized weights; see :func:`quantized_linear`.

    ``quantize`` makes a ``kernels.matrix.Matrix`` of the weights.
    """

    def __init__(self, quantize):
        self.quantize = quantize

    def check_type_forward(self, in_types):
        n_in = in_types.size()
        type_check.expect(n_in >= 2, n_in <= 3)
        x_type, W_type = in_types[:2]
        type_check._argname((x_type, W_type), ('x', 'W'))
        type_check.expect(
            x_type.dtype.kind == 'f',
            W_type.dtype.kind == 'f',
            x_type.ndim == 2,
            W_type.ndim == 2,
            x_type.shape[1] == W_type.shape[1],
        )
        if type_check.eval(n_in) == 3:
            b_type = in_types[2]
            type_check._argname((b_type,), ('b',))
            type_check.expect(
                b_type.dtype == x_type.dtype,
                b_type.ndim == 1,
                b_type.shape[0] == W_type.shape[0],
            )

    def forward(self, inputs):
        self.retain_inputs((0, 1))
        x, W, *b = inputs
        self.Wq = self.quantize(W)
        y = self.Wq.multiply_transposed(x).astype(x.dtype, copy=False)
        if b:
            y += b[0]
        return y,  # (N, n_in) -> (N, n_out)

    def backward(self, indexes, grad_outputs):
        x, W = self.get_retained_inputs()
        gy, = grad_outputs
        return QuantizedLinearGrad(self.Wq, indexes).apply((x, W, gy))


class QuantizedLinearGrad(function_node.FunctionNode):
    """Gradients gx, gW, gb, as far as asked for, as functions of x, W, gy."""

    def __init__(self, Wq, indexes):
        self.Wq = Wq
        self.indexes = indexes

    def forward(self, inputs):
        self.retain_inputs((0, 1, 2))
        x, W, gy = inputs
        gradients = {
            0: lambda: self.Wq.multiply(gy).astype(x.dtype, copy=False),
            1: lambda: kernels.dot(gy.T, x).astype(W.dtype, copy=False),
            2: lambda: gy.sum(axis=0),
        }
        return tuple(gradients[i]() for i in self.indexes)

    def backward(self, indexes, grad_outputs):
        x, W, gy = self.get_retained_inputs()
        # The gradients of gx, gW and gb; None where one is not there.
        given = dict(zip(self.indexes, grad_outputs))
        ggx, ggW, ggb = map(given.get, range(3))
        gx, gW, ggy = [], [], []
        if ggx is not None:  # gx = gy Wq, and straight through Wq
            gW.append(F.cast(F.matmul(gy, ggx, transa=True), W.dtype))
            ggy += QuantizedLinearFunction(lambda W: self.Wq).apply((ggx, W))
        if ggW is not None:  # gW = gy^T x
            ggW = F.cast(ggW, x.dtype)
            gx.append(F.matmul(gy, ggW))
            ggy.append(F.matmul(x, ggW, transb=True))
        if ggb is not None:  # gb = sum_i gy_i
            ggy.append(F.broadcast_to(ggb, gy.shape))
        return tuple(F.add(*terms) if len(terms) > 1
                     else terms[0] if terms else None
                     for terms in (gx, gW, ggy))


def quantized_linear(x, W, b=None, n_batch_axes=1, quantizer=_BINARY,
                     gradient_quantizer=None):
    """Linear function with quantized weights.

    It takes the arguments of :func:`chainer.functions.linear` and two more,
    and empty batches of any number of axes.

    Forward, with x and b as they come:

    .. math:: y = x W_q^T + b;

    :math:`W_q` is ``quantizer(W)``, by default the deterministic binarization
    of the paper, :math:`+1 \\text{ if } W \\ge 0 \\text{ else } -1`.

    Backward, the straight-through estimator takes the gradient with respect
    to the quantized weights for that of the latent ones. It is not masked: a
    mask would hold a weight that has reached +1 or -1 there for good
    (:class:`~weight_clip.WeightClip` keeps the weights in [-1, 1] instead).

    .. math:: g_x = g_y W_q,
        \\quad g_W = g_y^T x,
        \\quad g_b = \\sum_i g_{y,i}.

    In W, 0 and -0.0 give +1, and NaN stays NaN: it reaches the loss. W is
    quantized once for forward and backward together.

    Args:
        x (:class:`~chainer.Variable` or :ref:`ndarray`): Input of shape
            (s_1, ..., s_n), float16, float32 or float64. Its first
            ``n_batch_axes`` axes are those of the batch, the others hold N
            values together.
        W (:class:`~chainer.Variable` or :ref:`ndarray`): Latent weights of
            shape (M, N), of a float dtype.
        b (:class:`~chainer.Variable` or :ref:`ndarray`): Bias of shape (M,)
            and x's dtype, or ``None``.
        n_batch_axes (int): Number of batch axes, 1 by default.
        quantizer (callable): One of ``quantizers``, or any function of an
            array that keeps shape and dtype.
        gradient_quantizer (callable): One of ``quantizers``, which rounds
            g_y, see
            :func:`~layers.quantize_gradient.quantize_gradient`; or ``None``.

    Returns:
        ~chainer.Variable: Output of shape (s_1, ..., s_{n_batch_axes}, M) and
        x's dtype.

    Raises:
        ~chainer.utils.type_check.InvalidType: If shapes or dtypes do not fit.
        ValueError: If ``n_batch_axes`` is less than 1.

    Reference: Hubara et al., arXiv:1609.07061, Algorithm 1.

    .. admonition:: Example

        >>> import chainer_compat
        >>> import chainer
        >>> import numpy as np
        >>> from function_quantized_linear import quantized_linear
        >>> x = chainer.Variable(np.array([[1, 2]], np.float32))
        >>> W = chainer.Variable(np.array([[.5, -.1], [-3, 0]], np.float32))
        >>> y = quantized_linear(x, W)
        >>> y.array
        array([[-1.,  1.]], dtype=float32)
        >>> y.grad = np.array([[1, 10]], np.float32)
        >>> y.backward()
        >>> x.grad
        array([[-9.,  9.]], dtype=float32)
        >>> W.grad
        array([[ 1.,  2.],
               [10., 20.]], dtype=float32)

    """
    if n_batch_axes < 1:
        raise ValueError(
            f'n_batch_axes must be at least 1, got {n_batch_axes}')
    batch_shape = x.shape[:n_batch_axes]
    if x.ndim > 2 or n_batch_axes > 1:
        size = utils.size_of_shape(x.shape[n_batch_axes:])
        x = F.reshape(x, (utils.size_of_shape(batch_shape), size))
    quantize = functools.partial(_quantize, quantizer)
    y, = QuantizedLinearFunction(quantize).apply(
        (x, W) if b is None else (x, W, b))
    if gradient_quantizer is not None:
        y = quantize_gradient(y, gradient_quantizer)
    if n_batch_axes > 1:
        y = F.reshape(y, (*batch_shape, y.shape[1]))
    return y
