import chainer_compat
import chainer
from chainer import backend
from chainer.training import extension
import numpy

from training import priorities

# Iterations between two checks on a GPU, where each of them waits for it.
_GPU_INTERVAL = 100

# Iterations between two looks at arrays of more values than this. A look at
# those of 1000 x 1000 takes a hundredth of an iteration's time, at those of
# 4096 x 4096, which are not in a cache, a tenth.
_INTERVAL = 10
_LARGE = 1 << 20


class DivergenceError(FloatingPointError):
    """Error for a run whose loss or parameters are no longer finite."""


class Watch(extension.Extension):
    """Trainer extension that calls :func:`check`, in a hundredth of the time.

    On the CPU it is called in every iteration, but weights of more than 2^20
    values are looked at in every 10th, at the end of an epoch, and when
    anything else is not finite; on a GPU in every 100th iteration and each
    epoch's last.
    """

    name = 'divergence'
    priority = priorities.DIVERGENCE

    def trigger(self, trainer):
        target = next(iter(_models(trainer)))
        return (target.device.xp is numpy or trainer.updater.is_new_epoch
                or trainer.updater.iteration % _GPU_INTERVAL == 0)

    def __call__(self, trainer):
        updater = trainer.updater
        if updater.is_new_epoch or updater.iteration % _INTERVAL == 0 or not (
                _is_sound(trainer)):
            check(trainer)


def _is_sound(trainer):
    return (all(numpy.isfinite(value) for _, value in _losses(trainer))
            and not any(first_not_finite(model, _LARGE)
                        for model in _models(trainer)))


def check(trainer):
    """Stops a run whose loss or parameters are no longer finite.

    Args:
        trainer (~chainer.training.Trainer): Trainer of any models.

    Raises:
        DivergenceError: If a loss observed, a parameter or a persistent
            value is NaN or infinite; the message names the iteration and the
            first layer affected.

    """
    layers = (first_not_finite(model) for model in _models(trainer))
    layer = next(filter(None, layers), None)
    losses = [f'{name} is {value}' for name, value in _losses(trainer)
              if not numpy.isfinite(value)]
    if layer or losses:
        first = f'the first layer affected is {layer}' if layer else (
            'all parameters are finite')
        raise DivergenceError(
            f'the run diverged at iteration {trainer.updater.iteration}: '
            + '; '.join([*losses[:1], first]))


def first_not_finite(model, most=numpy.inf):
    """Returns the name of the first array that holds NaN or infinity.

    Args:
        model (~chainer.Link): Any link.
        most (int): Size of the largest array to look at.

    Returns:
        str or None: Path of the parameter or persistent value, in the order
        in which the links were added; ``None`` if all are finite.

    """
    for path, link in _namedlinks(model):
        for name in [*sorted(link._params), *sorted(link._persistent)]:
            value = getattr(link, name)
            array = getattr(value, 'array', value)
            if getattr(array, 'size', 1) <= most and not _is_finite(array):
                return f'{path}/{name}'.replace('/predictor/', '').strip('/')
    return None


def _namedlinks(link, path=''):
    """Yields path and link of all links, as they were added to their chains.

    Chainer's own ``namedlinks`` goes by the alphabet: bn1, bn2, l1, l2.
    """
    yield path, link
    children = []
    if isinstance(link, chainer.Chain):
        children = [(name, link[name]) for name in vars(link)
                    if name in link._children]
    elif isinstance(link, chainer.ChainList):
        children = enumerate(link)
    for name, child in children:
        yield from _namedlinks(child, f'{path}/{name}')


def _is_finite(array):
    if isinstance(array, float):
        return bool(numpy.isfinite(array))
    if getattr(array, 'dtype', numpy.dtype(bool)).kind != 'f':
        return True
    xp = backend.get_array_module(array)
    if xp is numpy:
        # A product with itself is the fastest look at every value. It may be
        # infinite for finite values, never the other way round.
        flat = array.ravel(order='K')
        with numpy.errstate(all='ignore'):
            if numpy.isfinite(numpy.dot(flat, flat)):
                return True
    return bool(xp.isfinite(array).all())


def _losses(trainer):
    for name, value in trainer.observation.items():
        if name.endswith('loss'):
            yield name, float(getattr(value, 'array', value))


def _models(trainer):
    for optimizer in trainer.updater.get_all_optimizers().values():
        yield optimizer.target
