"""The step sizes of a run, from its settings and the epoch; no Chainer."""


def sizes(settings, epoch):
    """Returns the optimizer's hyperparameters in an epoch, by name.

    ``alpha``, see :func:`alpha`; with Bop also ``gamma``, which becomes
    ``final_gamma`` as alpha becomes ``final_alpha``.

    Args:
        settings (dict): Choices as in ``RECIPES``.
        epoch (int): Number of the epoch, the first is 0.

    """
    sizes = {'alpha': alpha(settings, epoch)}
    if settings['optimizer'] == 'bop':
        sizes['gamma'] = _decayed(settings, 'gamma', epoch)
    return sizes


def _decayed(settings, name, epoch):
    """Returns a choice that decays to another one, if that is set."""
    value, final = settings[name], settings[f'final_{name}']
    if final is None:
        return value
    return value * (final / value) ** (epoch / settings['epoch'])


def alpha(settings, epoch):
    """Returns the optimizer's alpha in an epoch.

    ``alpha (final_alpha / alpha)^(epoch / n_epochs)``, halved after every
    ``halve_every`` epochs; each as far as it is set.

    Args:
        settings (dict): Choices as in ``RECIPES``.
        epoch (int): Number of the epoch, the first is 0.

    """
    size = _decayed(settings, 'alpha', epoch)
    if settings['halve_every'] is not None:
        size *= .5 ** (epoch // settings['halve_every'])
    return size


def difference(settings, before):
    """Says how a run that goes on departs from the step sizes begun.

    Args:
        settings (dict): Choices of the run.
        before (dict): Choices of the run that it goes on from.

    Returns:
        str or None: A line, if another number of epochs changes them.

    """
    names = [name for name in ('alpha', 'gamma')
             if settings[f'final_{name}'] not in (None, settings[name])]
    if settings['epoch'] == before['epoch'] or not names:
        return None
    return (f'--epoch {settings["epoch"]} in the place of {before["epoch"]} '
            f'stretches the decay of the step size to --final-{names[0]}: '
            'every epoch from here on has another one than the run begun')
