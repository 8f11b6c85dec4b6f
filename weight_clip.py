import chainer_compat
import chainer


class WeightClip:
    """Optimizer hook that clips every parameter to an interval.

    After each update, or before it, ``param = min(max(param, lower), upper)``
    in place, for each parameter of the target: weights, biases, and gamma and
    beta of batch normalization; or for those of given names. A latent weight
    far outside of [-1, 1] would need many updates before its sign could
    change. NaN stays NaN, and a link that is frozen by ``disable_update()``
    stays as it is.

    A :class:`~optimizers.fused_adam.FusedAdam` clips in the same pass over
    memory as it updates, to the same result.

    Args:
        lower (float): Lower limit of the values, -1 by default.
        upper (float): Upper limit of the values, 1 by default.
        names (sequence of str): Names of the parameters to clip, such as
            ``('W',)``, as the links call them. ``None``: all.
        timing (str): ``post``: after the update. ``pre``: before it, which
            leaves what the update makes of the parameters, outside of the
            interval by a step at most, until the next one; so did the
            original.

    Raises:
        ValueError: If ``lower`` is not less than ``upper``, or ``timing`` is
            neither.
        TypeError: If ``names`` is a single string.

    Reference: Hubara et al., arXiv:1609.07061, Algorithm 1.

    .. admonition:: Example

        >>> import chainer_compat
        >>> import chainer
        >>> from net import MnistMLP
        >>> from weight_clip import WeightClip
        >>> model = chainer.links.Classifier(MnistMLP(784, 1000, 10))
        >>> optimizer = chainer.optimizers.Adam().setup(model)
        >>> optimizer.add_hook(WeightClip())

    """

    name = 'WeightClip'
    call_for_each_param = True

    def __init__(self, lower=-1.0, upper=1.0, names=None, timing='post'):
        if not lower < upper:
            raise ValueError('lower must be less than upper, '
                             f'got {lower} and {upper}')
        if isinstance(names, str):
            raise TypeError("names must be a sequence, such as ('W',), "
                            f'got {names!r}')
        if timing not in ('pre', 'post'):
            raise ValueError(f"timing must be 'pre' or 'post', got {timing!r}")
        self.timing = timing
        self.lower = lower
        self.upper = upper
        self.names = names

    def applies_to(self, param):
        """Tells whether the parameter is one of those to clip."""
        return self.names is None or param.name in self.names

    def __call__(self, rule, param):
        array = param.array
        # An array that is None is not initialized yet. A rule that is not
        # enabled is that of a layer after disable_update().
        if (array is None or not self.applies_to(param)
                or not getattr(rule, 'enabled', True)):
            return
        with chainer.using_device(param.device):
            param.device.xp.clip(array, self.lower, self.upper, out=array)
