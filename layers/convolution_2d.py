"""A convolution of images by the project's kernels, as Chainer's function.

Its weights are taken as they come; see ``quantized_convolution_2d``.
"""
import operator

import chainer_compat
import chainer.functions as F
import numpy
from chainer import function_node
from chainer.utils import type_check

import kernels
from kernels.window import Window


class Convolution2D(function_node.FunctionNode):
    """Convolution y of x and W, with a bias b; see :func:`convolution_2d`.

    It, its gradient gx and its gradient gW are linear in both of what they
    take, and the gradients of each are again two of the three.
    """

    def __init__(self, window):
        self.window = window

    def check_type_forward(self, in_types):
        n_in = in_types.size()
        type_check.expect(n_in >= 2, n_in <= 3)
        x_type, W_type = in_types[:2]
        type_check._argname((x_type, W_type), ('x', 'W'))
        type_check.expect(
            x_type.dtype.kind == 'f',
            W_type.dtype == x_type.dtype,
            x_type.ndim == 4,
            W_type.ndim == 4,
            x_type.shape[1] == W_type.shape[1] * self.window.groups,
            W_type.shape[0] % self.window.groups == 0,
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
        size, ksize = x.shape[2:], W.shape[2:]
        if min(self.window.out_size(size, ksize)) < 1:
            raise ValueError(
                f'the window must fit into the image, got ksize {ksize}, '
                f'dilate {self.window.dilate}, an image of {size} and pad '
                f'{self.window.pad}')
        y = kernels.convolution_2d(x, W, self.window)
        if b:
            y += b[0][:, None, None]
        return y,  # (N, C, height, width) -> (N, O, *out_size)

    def backward(self, indexes, grad_outputs):
        x, W = self.get_retained_inputs()
        gy, = grad_outputs
        gradients = {
            0: lambda: _gx(gy, W, self.window, x.shape[2:]),
            1: lambda: _gW(x, gy, self.window, W.shape[2:]),
            2: lambda: F.sum(gy, axis=(0, 2, 3)),
        }
        return tuple(gradients[i]() for i in indexes)


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


def integers(name, value, least, n=2):
    """Returns an argument of one number, or of n, as n numbers."""
    values = tuple(value) if numpy.ndim(value) else (value,) * n
    if len(values) != n:
        raise ValueError(f'{name} must be one number'
                         f'{" or two" if n == 2 else ""}, got {value!r}')
    values = tuple(map(operator.index, values))
    if min(values) < least:
        raise ValueError(f'{name} must be at least {least}, got {value!r}')
    return values


def make_window(stride=1, pad=0, dilate=1, groups=1):
    """Returns the window of the arguments that Chainer's convolutions take.

    Args:
        stride (int or pair of ints): Pixels between two places of the window,
            along height and width; one number stands for both.
        pad (int or pair of ints): Pixels added at each edge.
        dilate (int or pair of ints): Pixels between two values of the window.
        groups (int): Groups of channels.

    Returns:
        ~kernels.window.Window: The window.

    Raises:
        TypeError: If one of them is no integer.
        ValueError: If one of them is too small, or not one or two numbers.

    """
    groups, = integers('groups', groups, 1, 1)
    return Window(integers('stride', stride, 1), integers('pad', pad, 0),
                  integers('dilate', dilate, 1), groups)


def convolution_2d(x, W, b, window):
    """Convolution of images, with a window that is checked already.

    Args:
        x (~chainer.Variable or :ref:`ndarray`): Images of shape
            (N, C, height, width) and a float dtype.
        W (~chainer.Variable or :ref:`ndarray`): Weights of shape
            (O, C / groups, kh, kw) and x's dtype.
        b (~chainer.Variable or :ref:`ndarray`): Bias of shape (O,) and x's
            dtype, or ``None``.
        window (~kernels.window.Window): How the window moves.

    Returns:
        ~chainer.Variable: y of shape (N, O, out_height, out_width) and x's
        dtype.

    Raises:
        ~chainer.utils.type_check.InvalidType: If shapes or dtypes do not fit.
        ValueError: If the window is larger than the padded image.

    """
    y, = Convolution2D(window).apply((x, W) if b is None else (x, W, b))
    return y
