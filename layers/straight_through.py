"""The straight-through gradients that :func:`~qst.qst` chooses from."""
import chainer_compat
from chainer import backend
from chainer import function_node

import kernels

_BACKWARD = {
    'clip': kernels.binarize_backward,
    'unit': kernels.unit_backward,
    'approx': kernels.approx_backward,
    'swish': kernels.swish_backward,
}


class StraightThrough(function_node.FunctionNode):
    """Product of gy and an estimator's factor; see :func:`straight_through`.

    It is linear in gy; what depends on x is the factor alone.
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def forward(self, inputs):
        self.retain_inputs((0, 1))
        x, gy = inputs
        return _BACKWARD[self.estimator](x, gy),

    def backward(self, indexes, grad_outputs):
        x, gy = self.get_retained_inputs()
        ggx, = grad_outputs
        gx = None
        if self.estimator in _SLOPES and 0 in indexes:
            gx = ggx * gy * _SLOPES[self.estimator](x.array)
        return gx, StraightThrough(self.estimator).apply((x, ggx))[0]


def _approx_slope(x):
    xp = backend.get_array_module(x)
    return xp.where(xp.abs(x) <= 1, -2 * xp.sign(x), 0).astype(x.dtype)


def _swish_slope(x):
    xp = backend.get_array_module(x)
    a = 5 * xp.minimum(xp.abs(x).astype('d'), 200)
    t = xp.tanh(a / 2)
    slope = (1 - t * t) / 2 * (a * (1.5 * t * t - .5) - 3 * t)
    slope = 25 * xp.sign(x) * slope
    return xp.where(xp.isnan(x), 0, slope).astype(x.dtype)


# Derivatives of the factors that are not constant nearly everywhere.
_SLOPES = {'approx': _approx_slope, 'swish': _swish_slope}


def straight_through(x, gy, estimator):
    """Gradient of a rounded value by an estimator.

    .. math:: g_x = g_y f(x).

    ========  ============================================  =================
    name      f(x)                                          the derivative of
    ========  ============================================  =================
    clip      1 where \\|x\\| <= 1, else 0                    clip(x, -1, 1)
    identity  1                                             x
    approx    2 - 2 \\|x\\| where \\|x\\| <= 1, else 0          2 x - x \\|x\\|
    swish     5 (2 - 5x tanh(5x / 2)) / (1 + cosh(5x))      the sign-swish
    unit      1 where 0 <= x <= 1, else 0                   clip(x, 0, 1)
    ========  ============================================  =================

    The sign-swish is ``2 s (1 + 5x (1 - s)) - 1``, ``s = sigmoid(5x)``. +1 and
    -1 pass the gradient of ``clip``, 0 and -0.0 that of all; where x is NaN,
    all but ``identity`` block it. The gradient's own gradient is that of
    ``g_y f(x)`` by both; a third one takes f'(x) for constant.

    Args:
        x (~chainer.Variable): What was rounded, of any float dtype.
        gy (~chainer.Variable): Upstream gradient, of x's shape and dtype.
        estimator (str): One of the names above.

    Returns:
        ~chainer.Variable: gx, of x's shape and dtype.

    Reference: ``clip`` and ``identity``: Hubara et al., arXiv:1609.07061.
    ``approx``: Z. Liu et al., "Bi-Real Net", arXiv:1808.00278.
    ``swish``: S. Darabi et al., "Regularized Binary Network Training",
    arXiv:1812.11800, with the beta of Larq. ``unit``: S. Zhou et al.,
    "DoReFa-Net", arXiv:1606.06160.

    """
    if estimator == 'identity':
        return gy
    return StraightThrough(estimator).apply((x, gy))[0]
