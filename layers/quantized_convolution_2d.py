"""A convolution with quantized weights: the function, then its link."""
import chainer_compat
import chainer.functions as F
import chainer.links as L
from chainer import function_node
from chainer.utils import type_check

import kernels
from kernels.window import Window
from layers.quantize_gradient import quantize_gradient
from quantizers import Binary

_BINARY = Binary()


class QuantizeWeights(function_node.FunctionNode):
    """Rounded weights whose gradient passes straight through."""

    def __init__(self, quantizer):
        self.quantizer = quantizer

    def forward(self, inputs):
        W, = inputs
        return self.quantizer(W),

    def backward(self, indexes, grad_outputs):
        return grad_outputs


class Convolution2D(function_node.FunctionNode):
    """Convolution y of x and W; see :func:`quantized_convolution_2d`.

    It, its gradient gx and its gradient gW are linear in both of what they
    take, and the gradients of each are again two of the three.
    """

    def __init__(self, window):
        self.window = window

    def check_type_forward(self, in_types):
        type_check.expect(in_types.size() == 2)
        x_type, W_type = in_types
        type_check._argname((x_type, W_type), ('x', 'W'))
        type_check.expect(
            x_type.dtype.kind == 'f',
            W_type.dtype == x_type.dtype,
            x_type.ndim == 4,
            W_type.ndim == 4,
            x_type.shape[1] == W_type.shape[1] * self.window.groups,
            W_type.shape[0] % self.window.groups == 0,
        )

    def forward(self, inputs):
        self.retain_inputs((0, 1))
        x, W = inputs
        return kernels.convolution_2d(x, W, self.window),

    def backward(self, indexes, grad_outputs):
        x, W = self.get_retained_inputs()
        gy, = grad_outputs
        return (
            _gx(gy, W, self.window, x.shape[2:]) if 0 in indexes else None,
            _gW(x, gy, self.window, W.shape[2:]) if 1 in indexes else None)


class Convolution2DGradX(function_node.FunctionNode):
    """Gradient gx of a convolution as a function of gy and W."""

    def __init__(self, window, size):
        self.window = window
        self.size = size

    def forward(self, inputs):
        self.retain_inputs((0, 1))
        gy, W = inputs
        return kernels.convolution_2d_gx(gy, W, self.window, self.size),

    def backward(self, indexes, grad_outputs):
        gy, W = self.get_retained_inputs()
        ggx, = grad_outputs
        return (_y(ggx, W, self.window) if 0 in indexes else None,
                _gW(ggx, gy, self.window, W.shape[2:])
                if 1 in indexes else None)


class Convolution2DGradW(function_node.FunctionNode):
    """Gradient gW of a convolution as a function of x and gy."""

    def __init__(self, window, ksize):
        self.window = window
        self.ksize = ksize

    def forward(self, inputs):
        self.retain_inputs((0, 1))
        x, gy = inputs
        return kernels.convolution_2d_gW(x, gy, self.window, self.ksize),

    def backward(self, indexes, grad_outputs):
        x, gy = self.get_retained_inputs()
        ggW, = grad_outputs
        return (_gx(gy, ggW, self.window, x.shape[2:])
                if 0 in indexes else None,
                _y(x, ggW, self.window) if 1 in indexes else None)


def _y(x, W, window):
    return Convolution2D(window).apply((x, W))[0]


def _gx(gy, W, window, size):
    return Convolution2DGradX(window, size).apply((gy, W))[0]


def _gW(x, gy, window, ksize):
    return Convolution2DGradW(window, ksize).apply((x, gy))[0]


def _pair(value):
    return tuple(value) if hasattr(value, '__getitem__') else (value, value)


def quantized_convolution_2d(x, W, b=None, stride=1, pad=0, *, dilate=1,
                             groups=1, quantizer=_BINARY,
                             gradient_quantizer=None, pad_value=0):
    """TODO"""
    window = Window(_pair(stride), _pair(pad), _pair(dilate), groups)
    if pad_value and any(window.pad):
        x = F.pad(x, [(0, 0), (0, 0), *((n, n) for n in window.pad)],
                  'constant', constant_values=pad_value)
        window = window._replace(pad=(0, 0))
    Wq, = QuantizeWeights(quantizer).apply((W,))
    if Wq.dtype != x.dtype:
        Wq = F.cast(Wq, x.dtype)
    y = _y(x, Wq, window)
    if b is not None:
        y += F.broadcast_to(F.reshape(b, (1, -1, 1, 1)), y.shape)
    if gradient_quantizer is not None:
        y = quantize_gradient(y, gradient_quantizer)
    return y


class QuantizedConvolution2D(L.Convolution2D):
    """TODO"""

    def __init__(self, in_channels, out_channels, ksize=None, stride=1, pad=0,
                 nobias=False, initialW=None, initial_bias=None, *, dilate=1,
                 groups=1, quantizer=None, gradient_quantizer=None,
                 pad_value=0):
        super().__init__(in_channels, out_channels, ksize, stride, pad,
                         nobias, initialW, initial_bias, dilate=dilate,
                         groups=groups)
        self.quantizer = quantizer or Binary()
        self.gradient_quantizer = gradient_quantizer
        self.pad_value = pad_value

    def forward(self, x):
        """Applies the layer."""
        if self.W.array is None:
            self._initialize_params(x.shape[1])
        return quantized_convolution_2d(
            x, self.W, self.b, self.stride, self.pad, dilate=self.dilate,
            groups=self.groups, quantizer=self.quantizer,
            gradient_quantizer=self.gradient_quantizer,
            pad_value=self.pad_value)
