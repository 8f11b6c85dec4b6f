"""The paper's rules for rounding a value to few bits, one class each.

A quantizer is called with an array and returns one of the same shape and
dtype. Its gradient is straight-through whatever the rule: see
:func:`~qst.qst` for activations, where it has an estimator to choose,
:func:`~function_quantized_linear.quantized_linear` for weights. In all of them
NaN stays NaN, so that a run that diverges shows it.

Reference: Hubara et al., arXiv:1609.07061, on deterministic and stochastic
binarization and on linear and logarithmic quantization; else with the classes.
"""
import functools
import numbers
import re

import kernels

ESTIMATORS = 'clip', 'identity', 'approx', 'swish'


class Quantizer:
    """Base class of the rules.

    Args:
        estimator (str): What stands for the derivative where the rule is an
            activation: ``clip``, ``identity``, ``approx`` or ``swish``; see
            :func:`~layers.straight_through.straight_through`.

    Attributes:
        bits (int or None): Bits that a rounded value needs; ``None``: it is a
            float.
        is_binary (bool): Whether all rounded values are +1 or -1.

    Raises:
        ValueError: If there is no such estimator.

    ``str`` of a quantizer is its name on the command line.
    """

    estimator = 'clip'
    bits = None
    is_binary = False

    def __init__(self, estimator='clip'):
        if estimator not in ESTIMATORS:
            raise ValueError(f'estimator must be one of '
                             f'{", ".join(ESTIMATORS)}, got {estimator!r}')
        self.estimator = estimator

    def __call__(self, x):
        raise NotImplementedError

    def count_blocked(self, x):
        """Returns how many values the estimator blocks the gradient of.

        Those outside of [-1, 1] by ``clip`` and ``approx``, none by
        ``identity`` and ``swish``, whose factor is small there, not 0.
        """
        return (kernels.count_outside(x)
                if self.estimator in ('clip', 'approx') else 0)

    def matrix(self, W):
        """Returns the rounded weights for a linear layer's products.

        Args:
            W (:ref:`ndarray`): Latent weights of shape (M, N).

        Returns:
            ~kernels.matrix.Matrix: The rounded weights; for a binary
            quantizer its products are those of signs.

        """
        Wq = self(W)
        return (kernels.sign_matrix(Wq) if self.is_binary
                else kernels.as_matrix(Wq))


class Binary(Quantizer):
    """The sign: +1 where ``x >= 0``, else -1; 0 and -0.0 give +1.

    .. admonition:: Example

        >>> import numpy as np
        >>> from quantizers import Binary
        >>> Binary()(np.array([-.5, -0., .1], np.float32))
        array([-1.,  1.,  1.], dtype=float32)

    """

    bits = 1
    is_binary = True

    def __call__(self, x):
        return kernels.binarize(x)

    def matrix(self, W):
        if type(self).__call__ is not Binary.__call__:
            return super().matrix(W)  # A subclass has a rule of its own.
        return kernels.sign_matrix(W)  # without an array of +1 and -1

    def __str__(self):
        return 'binary'


class Stochastic(Quantizer):
    """+1 with probability ``clip((x + 1) / 2, 0, 1)``, else -1.

    That while training; in evaluation (``chainer.config.train`` is False) the
    sign. The numbers are those of ``numpy.random``, or ``cupy.random`` for
    arrays on a GPU.

    .. admonition:: Example

        >>> import numpy as np
        >>> from quantizers import Stochastic
        >>> Stochastic()(np.array([-1, 1], np.float32))
        array([-1.,  1.], dtype=float32)

    """

    bits = 1
    is_binary = True

    def __call__(self, x):
        # Here, so that the names of the rules can be read without Chainer.
        import chainer_compat
        import chainer

        if not chainer.config.train:
            return kernels.binarize(x)
        xp = chainer.backend.get_array_module(x)
        return kernels.binarize_stochastic(
            x, xp.random.randint(0, 1 << 32, x.shape, dtype='uint32'))

    def __str__(self):
        return 'stochastic'


class Linear(Quantizer):
    """``2^bits`` uniform steps, ties to the even one.

    ``y = clip(round(x / step) step, -1, 1 - step)``, ``step = 2^-(bits - 1)``;
    one bit is the sign. The paper leaves the step and the range open.

    Args:
        bits (int): Number of bits, 1 to 16.
        estimator (str): See :class:`Quantizer`.

    .. admonition:: Example

        >>> import numpy as np
        >>> from quantizers import Linear
        >>> Linear(2)(np.array([-3, -.3, .25, .8], np.float32))
        array([-1. , -0.5,  0. ,  0.5], dtype=float32)

    """

    def __init__(self, bits, estimator='clip'):
        super().__init__(estimator)
        self.bits = _check_bits(bits, 1, 16)
        self.is_binary = bits == 1

    def __call__(self, x):
        if self.is_binary:
            return kernels.binarize(x)
        return kernels.quantize_linear(x, self.bits)

    def __str__(self):
        return f'linear:{self.bits}'


class Log(Quantizer):
    """Powers of two with a sign, of at most 1.

    ``y = clip(AP2(x), -1, 1)``, ``AP2(x) = sign(x) 2^round(log2 |x|)``,
    ``AP2(0) = 0``. With ``bits`` the magnitudes are the ``2^(bits - 1) - 1``
    from 1 downwards, and 0 below half of the smallest. The paper gives no
    lower end. Two bits are the ternary rule: +1, -1, and 0 below a half.

    Args:
        bits (int or None): Number of bits, 2 to 7. ``None``: no lower end.
        estimator (str): See :class:`Quantizer`.

    .. admonition:: Example

        >>> import numpy as np
        >>> from quantizers import Log
        >>> Log()(np.array([-.1, 0, .7, .8, 3], np.float32))
        array([-0.125,  0.   ,  0.5  ,  1.   ,  1.   ], dtype=float32)
        >>> Log(3)(np.array([-.1, 0, .7, .8, 3], np.float32))
        array([-0. ,  0. ,  0.5,  1. ,  1. ], dtype=float32)

    """

    def __init__(self, bits=None, estimator='clip'):
        super().__init__(estimator)
        self.bits = None if bits is None else _check_bits(bits, 2, 7)
        self._n = 0 if bits is None else 2 ** (bits - 1) - 1

    def __call__(self, x):
        return kernels.quantize_log(x, self._n)

    def __str__(self):
        return 'log' if self.bits is None else f'log:{self.bits}'


class Identity(Quantizer):
    """No rounding but the others' range: ``y = clip(x, -1, 1)``.

    As an activation this is the hard tanh, whose gradient the
    straight-through estimator of the others is.

    .. admonition:: Example

        >>> import numpy as np
        >>> from quantizers import Identity
        >>> Identity()(np.array([-3, .3], np.float32))
        array([-1. ,  0.3], dtype=float32)

    """

    def __call__(self, x):
        return x.clip(x.dtype.type(-1), x.dtype.type(1))

    def __str__(self):
        return 'none'


class Ternary(Quantizer):
    """+1 where ``x > threshold``, -1 where ``x < -threshold``, else 0.

    Larq's ``SteTern``. ``ternary`` without a number is ``log:2``: its
    threshold is 1/2, which itself becomes 1.

    Args:
        threshold (float): 0 or more, and less than 1; Larq's default is 0.05.
        estimator (str): See :class:`Quantizer`.

    Reference: F. Li et al., "Ternary Weight Networks", arXiv:1605.04711.

    """

    bits = 2

    def __init__(self, threshold=.05, estimator='clip'):
        super().__init__(estimator)
        if not 0 <= threshold < 1:
            raise ValueError('threshold must be 0 or more, and less than 1, '
                             f'got {threshold}')
        self.threshold = float(threshold)

    def __call__(self, x):
        return kernels.quantize_ternary(x, self.threshold)

    def __str__(self):
        return f'ternary:{self.threshold!r}'


class Heaviside(Quantizer):
    """1 where ``x > 0``, else 0, so of -0.0; Larq's ``SteHeaviside``."""

    bits = 1

    def __call__(self, x):
        return kernels.heaviside(x)

    def __str__(self):
        return 'heaviside'


class DoReFa(Quantizer):
    """``2^bits - 1`` uniform steps from 0 to 1, of DoReFa-Net's activations.

    ``y = round(clip(x, 0, 1) n) / n``, ``n = 2^bits - 1``, ties to the even
    multiple. ``clip`` is the derivative of ``clip(x, 0, 1)`` here, and there
    is no other estimator: those are of a step at 0. :class:`Linear` has as
    many values, but on both sides of 0.

    Args:
        bits (int): Number of bits, 1 to 16.

    Reference: S. Zhou et al., "DoReFa-Net", arXiv:1606.06160, on activations;
    the rule for its weights is not here.

    """

    estimator = 'unit'

    def __init__(self, bits):
        self.bits = _check_bits(bits, 1, 16)

    def __call__(self, x):
        return kernels.quantize_unit(x, 2 ** self.bits - 1)

    def count_blocked(self, x):
        return x.size - ((x >= 0) & (x <= 1)).sum()

    def __str__(self):
        return f'dorefa:{self.bits}'


NAMES = 'binary, stochastic, heaviside, ternary, ternary:THRESHOLD, ' \
    'linear:BITS (1 to 16), dorefa:BITS (1 to 16), log, log:BITS (2 to 7), ' \
    'none'


def parse(name, estimator='clip'):
    """Returns the quantizer of a name.

    Args:
        name (str): One of ``NAMES``; ``ternary`` is ``log:2``.
        estimator (str): See :class:`Quantizer`.

    Raises:
        ValueError: If there is no such rule, or not with so many bits, or not
            with this estimator.

    .. admonition:: Example

        >>> from quantizers import parse
        >>> parse('log:4').bits
        4

    """
    rule, colon, bits = name.partition(':')
    if rule == 'dorefa' and estimator != 'clip':
        raise ValueError(f'{name} has no estimator but clip, got {estimator}')
    options = {} if rule == 'dorefa' else {'estimator': estimator}
    try:
        if not colon:
            return {'binary': Binary, 'stochastic': Stochastic, 'log': Log,
                    'heaviside': Heaviside,
                    'ternary': functools.partial(Log, 2),
                    'none': Identity}[rule](**options)
        if rule == 'ternary' and re.fullmatch(
                r'[0-9]*\.?[0-9]+(e-[0-9]+)?', bits):
            return Ternary(float(bits), **options)
        return {'linear': Linear, 'dorefa': DoReFa, 'log': Log}[rule](
            int(bits) if bits.isdecimal() else bits, **options)
    except (KeyError, TypeError):
        raise ValueError(f'must be one of {NAMES}, got {name!r}') from None


def _check_bits(bits, least, most):
    if isinstance(bits, bool) or not isinstance(bits, numbers.Integral):
        raise TypeError(f'bits must be a whole number, got {bits!r}')
    if not least <= bits <= most:
        raise ValueError(
            f'bits must be from {least} to {most}, got {bits}')
    return bits
