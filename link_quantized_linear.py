import chainer_compat
import chainer.links as L
from chainer import utils

from function_quantized_linear import quantized_linear
from quantizers import Binary


class QuantizedLinear(L.Linear):
    """Linear layer with quantized weights and a straight-through gradient.

    :class:`chainer.links.Linear` whose forward is
    :func:`~function_quantized_linear.quantized_linear`: ``W`` holds the latent
    real weights, of which the forward sees only the sign, or what another
    quantizer makes of them. All else is that of
    :class:`~chainer.links.Linear`, so that either can take the other's place.

    Args:
        in_size (int or None): Size of an input vector. ``None``: taken from
            the first batch. With ``out_size`` left out, this is the
            ``out_size``.
        out_size (int): Size of an output vector.
        nobias (bool): If ``True``, the link has no bias.
        initialW (:ref:`initializer <initializer>`): Initializer of W, or an
            array of shape (out_size, in_size). By default W is drawn from
            N(0, 1/in_size).
        initial_bias (:ref:`initializer <initializer>`): Initializer of b, or
            an array of shape (out_size,). By default b is zero.
        quantizer (callable): One of ``quantizers``.
        gradient_quantizer (callable): One of ``quantizers``, for the upstream
            gradient, or ``None``.

    Attributes:
        W (~chainer.Parameter): Latent weights, (out_size, in_size).
        b (~chainer.Parameter): Bias, (out_size,), or ``None``.

    Reference: Hubara et al., arXiv:1609.07061, Algorithm 1.

    .. admonition:: Example

        >>> import numpy as np
        >>> from link_quantized_linear import QuantizedLinear
        >>> layer = QuantizedLinear(None, 5)
        >>> x = np.array([[0, 1, 2, 3, 4]], np.float32)
        >>> layer(x).shape
        (1, 5)
        >>> layer.W.shape
        (5, 5)

    """

    def __init__(self, in_size, out_size=None, nobias=False, initialW=None,
                 initial_bias=None, quantizer=None, gradient_quantizer=None):
        super().__init__(in_size, out_size, nobias, initialW, initial_bias)
        self.quantizer = quantizer or Binary()
        self.gradient_quantizer = gradient_quantizer

    def forward(self, x, n_batch_axes=1):
        """Applies the layer.

        Args:
            x (~chainer.Variable): Batch of input vectors, a float array.
            n_batch_axes (int): Number of batch axes, 1 by default.

        Returns:
            ~chainer.Variable: Output, with ``out_size`` values in the place
            of each input vector.

        """
        if self.W.array is None:
            self._initialize_params(
                utils.size_of_shape(x.shape[n_batch_axes:]))
        return quantized_linear(
            x, self.W, self.b, n_batch_axes, self.quantizer,
            self.gradient_quantizer)
