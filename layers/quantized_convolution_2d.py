"""A convolution with quantized weights: the function, then its link."""
import chainer_compat
import chainer
import chainer.functions as F
import chainer.links as L
from chainer.utils import type_check

from kernels.window import Window
from layers.convolution_2d import convolution_2d, make_window
from layers.quantize_gradient import Quantize, quantize_gradient
from quantizers import Binary

_BINARY = Binary()


class QuantizeWeights(Quantize):
    """Rounded weights whose gradient is passed through."""

    def check_type_forward(self, in_types):
        type_check._argname(in_types, ('W',))
        W_type, = in_types
        type_check.expect(W_type.dtype.kind == 'f', W_type.ndim == 4)


def _check_pad_value(pad_value):
    if pad_value not in (0, 1, -1):
        raise ValueError(f'pad_value must be 0, 1 or -1, got {pad_value!r}')


def _pad(x, ksize, window, pad_value, cover_all):
    """Returns x with the padding that is not the kernels', and the window.

    Theirs is of zeros, as wide at one edge as at the other.
    """
    behind = window.pad
    if cover_all:
        behind = tuple(
            pad + (dilate * (k - 1) + 1 - n - 2 * pad) % stride
            for n, k, stride, pad, dilate in zip(
                x.shape[2:], ksize, window.stride, window.pad, window.dilate))
    if behind == window.pad and not (pad_value and any(behind)):
        return x, window
    x = F.pad(x, [(0, 0), (0, 0), *zip(window.pad, behind)], 'constant',
              constant_values=pad_value)
    return x, Window(window.stride, (0, 0), window.dilate, window.groups)


def quantized_convolution_2d(x, W, b=None, stride=1, pad=0, cover_all=False,
                             *, dilate=1, groups=1, quantizer=_BINARY,
                             gradient_quantizer=None, pad_value=0):
    """Two-dimensional convolution with quantized weights.

    It takes the arguments of :func:`chainer.functions.convolution_2d` and
    three more.

    Forward, with x and b as they come, for a stride s, a padding p and a
    dilation d (of height and width each):

    .. math:: y_{n,o,i,j} = b_o + \\sum_{c,k,l} (W_q)_{o,c,k,l} \\,
        x_{n,c,\\,s i + d k - p,\\,s j + d l - p};

    :math:`W_q` is ``quantizer(W)``, by default the deterministic binarization
    of the paper, :math:`+1 \\text{ if } W \\ge 0 \\text{ else } -1`. Outside
    of the image x is ``pad_value``: with 0 these places add nothing to the
    sum, with +1 or -1 all inputs of a binary layer have a sign.

    Backward, the straight-through estimator takes the gradient with respect
    to the quantized weights for that of the latent ones, unmasked, as in
    :func:`~function_quantized_linear.quantized_linear`.

    .. math:: (g_x)_{n,c,u,v} &= \\sum (g_y)_{n,o,i,j} (W_q)_{o,c,k,l}
        \\text{ over } s i + d k - p = u,\\, s j + d l - p = v, \\\\
        (g_W)_{o,c,k,l} &= \\sum_{n,i,j} (g_y)_{n,o,i,j} \\,
        x_{n,c,\\,s i + d k - p,\\,s j + d l - p}, \\\\
        (g_b)_o &= \\sum_{n,i,j} (g_y)_{n,o,i,j}.

    In W, 0 and -0.0 give +1, and NaN stays NaN: it reaches the loss. W is
    quantized once for forward and backward together. Sums of float16 are taken
    in float32.

    Args:
        x (:class:`~chainer.Variable` or :ref:`ndarray`): Images of shape
            (N, C, height, width), float16, float32 or float64.
        W (:class:`~chainer.Variable` or :ref:`ndarray`): Latent weights of
            shape (O, C / groups, kh, kw), of a float dtype.
        b (:class:`~chainer.Variable` or :ref:`ndarray`): Bias of shape (O,)
            and x's dtype, or ``None``.
        stride (int or pair of ints): Pixels between two places of the window,
            1 by default. A pair is of height and width, here and below.
        pad (int or pair of ints): Pixels added at each edge, 0 by default.
        cover_all (bool): If ``True``, more is added at the lower and the
            right edge where the last pixels would not be reached.
        dilate (int or pair of ints): Pixels between two values of the window,
            1 by default.
        groups (int): Groups of channels, 1 by default, each of which is
            convolved apart. C and O are multiples of it.
        quantizer (callable): One of ``quantizers``, or any function of an
            array that keeps shape and dtype.
        gradient_quantizer (callable): One of ``quantizers``, which rounds
            g_y, see
            :func:`~layers.quantize_gradient.quantize_gradient`; or ``None``.
        pad_value (int): What x is outside of the image: 0, the default, 1
            or -1, as ``pad_values`` of Larq.

    Returns:
        ~chainer.Variable: y of shape (N, O, out_height, out_width) and x's
        dtype; out_height is
        (height + 2 pad - dilate (kh - 1) - 1) // stride + 1.

    Raises:
        ~chainer.utils.type_check.InvalidType: If shapes or dtypes do not fit.
        TypeError: If stride, pad, dilate or groups is no integer.
        ValueError: If one of them is too small, ``pad_value`` is another one,
            or the window is larger than the padded image.

    Reference: Hubara et al., arXiv:1609.07061, Algorithm 1.

    .. admonition:: Example

        >>> import chainer_compat
        >>> import chainer
        >>> import numpy as np
        >>> from layers.quantized_convolution_2d import (
        ...     quantized_convolution_2d)
        >>> x = chainer.Variable(np.array([[[[1, 2, 4]]]], np.float32))
        >>> W = chainer.Variable(np.array([[[[.5, -.1]]]], np.float32))
        >>> y = quantized_convolution_2d(x, W)
        >>> y.array
        array([[[[-1., -2.]]]], dtype=float32)
        >>> y.grad = np.array([[[[1, 10]]]], np.float32)
        >>> y.backward()
        >>> x.grad
        array([[[[  1.,   9., -10.]]]], dtype=float32)
        >>> W.grad
        array([[[[21., 42.]]]], dtype=float32)

    """
    window = make_window(stride, pad, dilate, groups)
    _check_pad_value(pad_value)
    x = chainer.as_variable(x)
    Wq, = QuantizeWeights(quantizer).apply((W,))
    if Wq.dtype != x.dtype and x.dtype.kind == 'f':
        Wq = F.cast(Wq, x.dtype)
    if x.ndim == 4:  # else the convolution says so
        x, window = _pad(x, Wq.shape[2:], window, pad_value, cover_all)
    y = convolution_2d(x, Wq, b, window)
    if gradient_quantizer is not None:
        y = quantize_gradient(y, gradient_quantizer)
    return y


class QuantizedConvolution2D(L.Convolution2D):
    """Convolutional layer with quantized weights, straight-through gradient.

    :class:`chainer.links.Convolution2D` whose forward is
    :func:`quantized_convolution_2d`: ``W`` holds the latent real weights, of
    which the forward sees only the sign, or what another quantizer makes of
    them. All else is that of :class:`~chainer.links.Convolution2D`, so that
    either can take the other's place; but W is always (O, C, kh, kw) in
    memory, in Chainer's compute mode ``cudnn_fast`` too.

    Args:
        in_channels (int or None): Channels of the input. ``None``: taken from
            the first batch. With ``ksize`` left out, the first two arguments
            are ``out_channels`` and ``ksize``.
        out_channels (int): Channels of the output.
        ksize (int or pair of ints): Height and width of the window.
        stride, pad, dilate, groups: See :func:`quantized_convolution_2d`.
        nobias (bool): If ``True``, the link has no bias.
        initialW (:ref:`initializer <initializer>`): Initializer of W, or an
            array of its shape. By default W is drawn from
            N(0, groups / (in_channels kh kw)).
        initial_bias (:ref:`initializer <initializer>`): Initializer of b, or
            an array of shape (out_channels,). By default b is zero.
        quantizer (callable): One of ``quantizers``.
        gradient_quantizer (callable): One of ``quantizers``, for the upstream
            gradient, or ``None``.
        pad_value (int): 0, 1 or -1, what the input is outside of the image.

    Attributes:
        W (~chainer.Parameter): Latent weights,
            (out_channels, in_channels / groups, kh, kw).
        b (~chainer.Parameter): Bias, (out_channels,), or ``None``.

    Raises:
        TypeError: If stride, pad, dilate or groups is no integer.
        ValueError: If one of them is too small, a number of channels is no
            multiple of ``groups``, or ``pad_value`` is another one.

    Reference: Hubara et al., arXiv:1609.07061, Algorithm 1.

    .. admonition:: Example

        >>> import numpy as np
        >>> from layers.quantized_convolution_2d import QuantizedConvolution2D
        >>> layer = QuantizedConvolution2D(None, 7, 3, pad=1)
        >>> x = np.zeros((1, 2, 28, 28), np.float32)
        >>> layer(x).shape
        (1, 7, 28, 28)
        >>> layer.W.shape
        (7, 2, 3, 3)

    """

    def __init__(self, in_channels, out_channels, ksize=None, stride=1, pad=0,
                 nobias=False, initialW=None, initial_bias=None, *, dilate=1,
                 groups=1, quantizer=None, gradient_quantizer=None,
                 pad_value=0):
        make_window(stride, pad, dilate, groups)
        _check_pad_value(pad_value)
        # In the mode 'cudnn_fast' Chainer keeps W in another order of axes.
        with chainer.using_config('compute_mode', None):
            super().__init__(
                in_channels, out_channels, ksize, stride, pad, nobias,
                initialW, initial_bias, dilate=dilate, groups=groups)
        self.quantizer = quantizer or Binary()
        self.gradient_quantizer = gradient_quantizer
        self.pad_value = pad_value

    def forward(self, x):
        """Applies the layer.

        Args:
            x (~chainer.Variable): Batch of images (N, C, height, width), a
                float array.

        Returns:
            ~chainer.Variable: Output (N, O, out_height, out_width).

        """
        if self.W.array is None:
            if x.ndim != 4:
                raise ValueError('x must have the axes (N, C, height, width), '
                                 f'got the shape {x.shape}')
            self._initialize_params(x.shape[1])
        return quantized_convolution_2d(
            x, self.W, self.b, self.stride, self.pad, dilate=self.dilate,
            groups=self.groups, quantizer=self.quantizer,
            gradient_quantizer=self.gradient_quantizer,
            pad_value=self.pad_value)
