import chainer_compat  # noqa: F401  (makes Chainer importable)
from chainer import function_node
import chainer.functions as F
from chainer.utils import type_check

import kernels


class BinarizeWeight(function_node.FunctionNode):
    """Sign whose gradient passes unchanged; see :func:`quantized_linear`."""

    def check_type_forward(self, in_types):
        type_check._argname(in_types, ('W',))
        type_check.expect(
            in_types[0].dtype.kind == 'f',
            in_types[0].ndim == 2,
        )

    def forward(self, inputs):
        W, = inputs
        return kernels.binarize(W),

    def backward(self, indexes, grad_outputs):
        return grad_outputs


def quantized_linear(x, W, b=None, n_batch_axes=1):
    """Linear function with binarized weights.

    Forward, with x and b as they come:

    .. math:: y = x W_q^T + b, \\quad W_q = +1 \\text{ if } W \\ge 0
        \\text{ else } -1.

    Backward, the straight-through estimator takes the gradient with respect
    to the binarized weights for that of the latent ones. It is not masked: a
    mask would hold a weight that has reached +1 or -1 there for good
    (:class:`~weight_clip.WeightClip` keeps the weights in [-1, 1] instead).

    .. math:: g_x = g_y W_q, \\quad g_W = g_y^T x, \\quad g_b = \\sum_i g_{y,i}.

    In W, 0 and -0.0 give +1, and NaN stays NaN: it reaches the loss. W is
    binarized once for forward and backward together.

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

    Returns:
        ~chainer.Variable: Output of shape (s_1, ..., s_{n_batch_axes}, M) and
        x's dtype.

    Raises:
        ~chainer.utils.type_check.InvalidType: If shapes or dtypes do not fit.
        ValueError: If ``n_batch_axes`` is less than 1.

    Reference: I. Hubara, M. Courbariaux, D. Soudry, R. El-Yaniv, Y. Bengio,
    "Quantized Neural Networks", arXiv:1609.07061, Algorithm 1.

    .. admonition:: Example

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
    Wq, = BinarizeWeight().apply((W,))
    return F.linear(x, Wq, b, n_batch_axes=n_batch_axes)
