"""Max pooling whose windows lie side by side."""
import math

import chainer_compat
from chainer import backend
from chainer import function_node
from chainer.utils import type_check

import kernels
from layers.convolution_2d import integers


class MaxPooling2D(function_node.FunctionNode):
    """Maxima of the windows of images; see :func:`max_pooling_2d`."""

    def __init__(self, ksize):
        self.ksize = ksize

    def check_type_forward(self, in_types):
        type_check._argname(in_types, ('x',))
        x_type, = in_types
        type_check.expect(
            x_type.dtype.kind == 'f',
            x_type.ndim == 4,
        )
        type_check.expect(
            x_type.shape[2] >= self.ksize[0],
            x_type.shape[3] >= self.ksize[1],
        )

    def forward(self, inputs):
        x, = inputs
        self.size = x.shape[2:]
        y, self.index = kernels.max_pooling_2d(x, self.ksize)
        return y,

    def backward(self, indexes, grad_outputs):
        return MaxPooling2DGrad(self.index, self.ksize, self.size).apply(
            grad_outputs)


class MaxPooling2DGrad(function_node.FunctionNode):
    """Gradient gx, which has gy at the maxima, as a function of gy."""

    def __init__(self, index, ksize, size):
        self.index = index
        self.ksize = ksize
        self.size = size

    def forward(self, inputs):
        gy, = inputs
        return kernels.max_pooling_2d_backward(
            gy, self.index, self.ksize, self.size),

    def backward(self, indexes, grad_outputs):
        return AtMaxima(self.index, self.ksize, self.size).apply(grad_outputs)


class AtMaxima(function_node.FunctionNode):
    """Values of images where others have their maxima.

    It and :class:`MaxPooling2DGrad` are each other's gradient.
    """

    def __init__(self, index, ksize, size):
        self.index = index
        self.ksize = ksize
        self.size = size

    def forward(self, inputs):
        x, = inputs
        xp = backend.get_array_module(x)
        (kh, kw), (height, width) = self.ksize, self.index.shape[2:]
        y = xp.zeros(self.index.shape, x.dtype)
        for place in range(kh * kw):
            row, column = divmod(place, kw)
            pixels = x[:, :, row:kh * height:kh, column:kw * width:kw]
            y = xp.where(self.index == place, pixels, y)
        return y,

    def backward(self, indexes, grad_outputs):
        return MaxPooling2DGrad(self.index, self.ksize, self.size).apply(
            grad_outputs)


def max_pooling_2d(x, ksize):
    """Maxima of windows of images, which lie side by side.

    :func:`chainer.functions.max_pooling_2d` with a stride of ``ksize``, no
    padding and ``cover_all=False``: rows and columns at the lower and the
    right edge that fill no window are left out.

    .. math:: y_{n,c,i,j} = \\max_{r < k_h, s < k_w} x_{n,c,k_h i+r,k_w j+s}

    Backward, the gradient passes to the maximum alone, to the first one row by
    row where there are several; all other pixels have 0:

    .. math:: g_x = g_y \\text{ at the maximum, else } 0.

    0 and -0.0 are equal; NaN counts as more than any number, so that a run
    that diverges shows it, and takes the gradient.

    Args:
        x (:class:`~chainer.Variable` or :ref:`ndarray`): Images of shape
            (N, C, height, width), float16, float32 or float64.
        ksize (int or pair of ints): Height and width of a window in pixels,
            of which it may have 256.

    Returns:
        ~chainer.Variable: Output of shape (N, C, height // k_h,
        width // k_w) and x's dtype.

    Raises:
        ~chainer.utils.type_check.InvalidType: If x is not of a float dtype,
            not of such a shape or smaller than a window.
        ValueError: If ``ksize`` is less than 1, or a window too large.

    .. admonition:: Example

        >>> import chainer_compat
        >>> import chainer
        >>> import numpy as np
        >>> from layers.max_pooling_2d import max_pooling_2d
        >>> x = chainer.Variable(np.array(
        ...     [[[[1, 5, 0], [2, 5, 0]]]], np.float32))
        >>> y = max_pooling_2d(x, 2)
        >>> y.array
        array([[[[5.]]]], dtype=float32)
        >>> y.grad = np.array([[[[3]]]], np.float32)
        >>> y.backward()
        >>> x.grad
        array([[[[0., 3., 0.],
                 [0., 0., 0.]]]], dtype=float32)

    """
    ksize = integers('ksize', ksize, 1)
    if math.prod(ksize) > 256:
        raise ValueError(
            f'ksize must be of 256 pixels at most, got {ksize}')
    return MaxPooling2D(ksize).apply((x,))[0]
