"""Whole sets of choices for a run, and what is built from them.

A recipe is a name for the defaults of the command line: each choice has a
flag of its own. The choices travel as a dictionary, the settings, which
``args.json`` and the snapshots hold.
"""
import argparse
import functools

import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer
import chainer.functions as F
import chainer.links as L

import quantizers
from layers import summary
from layers.batch_normalization import BatchNormalization
from layers.shift_batch_normalization import ShiftBatchNormalization
from net import MnistMLP
from optimizers.fused_adam import FusedAdam
from optimizers.shift_adamax import ShiftAdaMax
from system.command_line import integer, number
from weight_clip import WeightClip

# What the text of the original repository describes.
_BINARIZED = {
    'batchsize': 100,
    'epoch': 20,
    'unit': 1000,
    'layers': 2,
    'weight_quantizer': 'binary',
    'activation_quantizer': 'binary',
    'gradient_quantizer': 'none',
    'relu': False,
    'input_range': 'unit',
    'input_dropout': 0.,
    'dropout': 0.,
    'initial_weight': 'normal',
    'normalization': 'batch',
    'normalization_eps': 2e-5,
    'normalization_decay': .9,
    'evaluation': 'running',
    'loss': 'softmax',
    'optimizer': 'adam',
    'alpha': .001,
    'final_alpha': None,
    'halve_every': None,
    'step_scale': 'none',
    'clip': 'all',
    'validation': 0,
}

# What the original's table of results shows.
_ORIGINAL = {
    **_BINARIZED,
    'weight_quantizer': 'log',
    'activation_quantizer': 'log',
    'relu': True,
    'evaluation': 'batch',
}

# The paper's experiment in Theano.
_PAPER = {
    **_BINARIZED,
    'epoch': 1000,
    'unit': 4096,
    'layers': 3,
    'input_range': 'symmetric',
    'input_dropout': .2,
    'dropout': .5,
    'initial_weight': 'uniform',
    'normalization_eps': 1e-4,
    'loss': 'hinge',
    'alpha': .003,
    'final_alpha': 3e-7,
    'step_scale': 'glorot',
    'clip': 'weights',
    'validation': 10000,
}

# The paper's experiment in Torch7; the number of epochs is not given.
_PAPER_SHIFT = {
    **_PAPER,
    'epoch': 100,
    'unit': 2048,
    'activation_quantizer': 'stochastic',
    'input_range': 'unit',
    'input_dropout': 0.,
    'dropout': 0.,
    'normalization': 'shift',
    'normalization_eps': 1e-5,
    'normalization_decay': .875,
    'optimizer': 'shift-adamax',
    'alpha': 2. ** -6,
    'final_alpha': None,
    'halve_every': 20,
}

RECIPES = {
    'binarized': _BINARIZED,
    'original': _ORIGINAL,
    'paper': _PAPER,
    'paper-shift': _PAPER_SHIFT,
}


def add_arguments(group):
    """Adds a flag for each choice of a recipe to a group of arguments."""
    def add(*flags, **kwargs):
        group.add_argument(*flags, **kwargs)

    add('--batchsize', '-b', type=integer(1),
        help='number of images in each mini-batch')
    add('--epoch', '-e', type=integer(1),
        help='number of sweeps over the training set')
    add('--unit', '-u', type=integer(1),
        help='number of units of a hidden layer')
    add('--layers', type=integer(1, 100), help='number of hidden layers')
    for name in 'weight', 'activation', 'gradient':
        add(f'--{name}-quantizer', type=quantizer, metavar='NAME',
            help=f'rounding of the {name}s: {quantizers.NAMES}')
    add('--relu', action=argparse.BooleanOptionalAction,
        help='relu after the rounded activations')
    add('--input-range', choices=('unit', 'symmetric'),
        help='pixels in [0, 1] or in [-1, 1]')
    add('--input-dropout', type=number(0, .99), metavar='SHARE',
        help='share of the inputs dropped in training')
    add('--dropout', type=number(0, .99), metavar='SHARE',
        help='share of the hidden activations dropped in training')
    add('--initial-weight', choices=('normal', 'uniform'),
        help='N(0, 1/n_in), or uniform in [-1, 1]')
    add('--normalization', choices=('batch', 'shift'),
        help='batch normalization, or the shift-based one')
    add('--normalization-eps', type=number(1e-7, 1), metavar='EPS',
        help='eps of the batch normalization')
    add('--normalization-decay', type=number(0, 1), metavar='SHARE',
        help='weight of the old running averages: 1 less that of the batch')
    add('--evaluation', choices=('running', 'batch'),
        help='statistics to evaluate with: running averages, or the '
             "batch's own")
    add('--loss', choices=('softmax', 'hinge'),
        help='softmax cross entropy, or squared hinge')
    add('--optimizer', choices=('adam', 'shift-adamax'),
        help='rule of the updates')
    add('--alpha', type=number(1e-12, 1e3), help='step size')
    add('--final-alpha', type=number(1e-12, 1e3), metavar='ALPHA',
        help='step size after the last epoch, approached exponentially')
    add('--halve-every', type=integer(1), metavar='EPOCHS',
        help='epochs after which the step size is halved')
    add('--step-scale', choices=('none', 'glorot'),
        help='factor of the step of W: 1, or 1/sqrt(1.5/(n_in + n_out))')
    add('--clip', choices=('all', 'weights', 'none'),
        help='parameters that are clipped to [-1, 1]')
    add('--validation', type=integer(0), metavar='N',
        help='training images held out for validation; 0: validate on the '
             'test images')


def quantizer(name):
    """Returns the name of a quantizer, checked: an argument type."""
    try:
        return str(quantizers.parse(name))
    except ValueError as e:
        raise argparse.ArgumentTypeError(e) from e


def settings(args):
    """Returns the arguments that a recipe chooses, as a dictionary."""
    return {'recipe': args.recipe,
            **{name: getattr(args, name) for name in _BINARIZED}}


def check(others):
    """Returns settings of a file, as the command line would take them.

    Args:
        others (dict): What may be settings.

    Raises:
        ValueError: If a choice is missing or not one that a flag allows.

    """
    class Parser(argparse.ArgumentParser):
        def error(self, message):
            raise ValueError(f'settings: {message}')

    parser = Parser(add_help=False, allow_abbrev=False)
    add_arguments(parser)
    flags = []
    for name, default in _BINARIZED.items():
        flag = '--' + name.replace('_', '-')
        if name not in others:
            raise ValueError(f'settings: there is no {name}')
        value = others[name]
        if isinstance(default, bool):
            flags.append(flag if value is True else f'--no-{name}')
        elif value is not None or default is not None:
            flags.append(f'{flag}={value}')
    settings = vars(parser.parse_args(flags))
    for name, value in settings.items():
        if value != others[name]:
            raise ValueError(f'settings: {name} is {others[name]!r}')
    return settings


def make_net(settings, n_in, n_out):
    """Returns the network of these settings.

    Args:
        settings (dict): Choices as in ``RECIPES``.
        n_in (int): Size of an input vector.
        n_out (int): Number of classes.

    Raises:
        ValueError: If two choices do not go together.

    """
    if settings['normalization'] == 'batch':
        normalization = functools.partial(
            BatchNormalization,
            evaluate_with_batch=settings['evaluation'] == 'batch')
    elif settings['evaluation'] == 'batch':
        raise ValueError('--evaluation batch needs --normalization batch')
    else:
        normalization = ShiftBatchNormalization
    gradient = settings['gradient_quantizer']
    return MnistMLP(
        n_in, settings['unit'], n_out, settings['layers'],
        weight_quantizer=quantizers.parse(settings['weight_quantizer']),
        activation_quantizer=quantizers.parse(
            settings['activation_quantizer']),
        gradient_quantizer=(
            None if gradient == 'none' else quantizers.parse(gradient)),
        relu=settings['relu'],
        input_dropout=settings['input_dropout'],
        dropout=settings['dropout'],
        initialW=(chainer.initializers.Uniform(1)
                  if settings['initial_weight'] == 'uniform' else None),
        normalization=functools.partial(
            normalization, decay=settings['normalization_decay'],
            eps=settings['normalization_eps']))


def summarize(settings, n_in, n_out):
    """Returns a table of the network of these settings; see ``summary``."""
    bits = [quantizers.parse(settings[f'{name}_quantizer']).bits or 32
            for name in ('weight', 'activation')]
    return summary.table(
        [n_in, *[settings['unit']] * settings['layers'], n_out], *bits)


def make_classifier(settings, n_in, n_out):
    """Returns the network with its loss; see :func:`make_net`.

    Raises:
        ValueError: If all initial weights of a layer round to 0, so that
            nothing could be learned.

    """
    net = make_net(settings, n_in, n_out)
    for k in range(1, net.n_hidden + 2):
        layer = net[f'l{k}']
        if not (layer.quantizer.is_binary
                or layer.quantizer(layer.W.array).any()):
            raise ValueError(
                f'--weight-quantizer {layer.quantizer} rounds all initial '
                f'weights of layer {k} to 0: choose --initial-weight uniform '
                'or more bits')
    return L.Classifier(
        net,
        lossfun={'softmax': F.softmax_cross_entropy,
                 'hinge': squared_hinge}[settings['loss']])


def squared_hinge(y, t):
    """Mean of ``max(0, 1 - t y)^2`` over examples and classes.

    t is +1 for the class of the example and -1 for the others.

    Args:
        y (~chainer.Variable): Outputs of shape (N, classes).
        t (~chainer.Variable): Labels of shape (N,), of an integer dtype.

    Returns:
        ~chainer.Variable: Scalar.

    """
    return F.hinge(y, t, norm='L2') / y.shape[1]


def make_optimizer(settings, model):
    """Returns the optimizer of these settings, set up with the model.

    With the step scale ``glorot`` the step of a W of shape (n_out, n_in) is
    multiplied by ``1 / sqrt(1.5 / (n_in + n_out))``, as in the authors' code.
    """
    optimizer = {'adam': FusedAdam, 'shift-adamax': ShiftAdaMax}[
        settings['optimizer']](alpha=settings['alpha'])
    optimizer.setup(model)
    if settings['step_scale'] == 'glorot':
        for param in model.params():
            if param.name == 'W':
                scale = (sum(param.shape) / 1.5) ** .5
                param.update_rule.hyperparam.eta = scale
    if settings['clip'] == 'all':
        optimizer.add_hook(WeightClip())
    elif settings['clip'] == 'weights':
        optimizer.add_hook(WeightClip(names=('W',)))
    return optimizer


def step_size(settings, epoch):
    """Returns the optimizer's alpha in an epoch.

    ``alpha (final_alpha / alpha)^(epoch / n_epochs)``, halved after every
    ``halve_every`` epochs; each as far as it is set.

    Args:
        settings (dict): Choices as in ``RECIPES``.
        epoch (int): Number of the epoch, the first is 0.

    """
    alpha = settings['alpha']
    if settings['final_alpha'] is not None:
        alpha *= (settings['final_alpha'] / alpha) ** (
            epoch / settings['epoch'])
    if settings['halve_every'] is not None:
        alpha *= .5 ** (epoch // settings['halve_every'])
    return alpha
