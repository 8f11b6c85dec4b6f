"""The choices of a run: recipes, flags and the check of settings; no Chainer.

A recipe is a name for the defaults of the command line: each choice has a
flag of its own. The choices travel as a dictionary, the settings, which
``args.json`` and the snapshots hold.
"""
import argparse

import quantizers
from system.command_line import integer, number
from system.errors import InputError

# What the text of the original repository describes.
_BINARIZED = {
    'batchsize': 100,
    'epoch': 20,
    'unit': 1000,
    'layers': 2,
    'channels': 0,
    'blocks': 2,
    'weight_quantizer': 'binary',
    'activation_quantizer': 'binary',
    'estimator': 'clip',
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
    'gamma': None,
    'final_gamma': None,
    'threshold': None,
    'step_scale': 'none',
    'clip': 'all',
    'clip_timing': 'after',
    'validation': 0,
}

# The original's ancestor, binary_net: its table of results.
_BINARY_NET = {
    **_BINARIZED,
    'evaluation': 'batch',
    'clip_timing': 'before',
}

# What the original computed on the GPU that made its table of results.
_ORIGINAL = {
    **_BINARY_NET,
    'weight_quantizer': 'log',
    'activation_quantizer': 'log',
    'gradient_quantizer': 'log',
    'relu': True,
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

# The default without latent weights; gamma and threshold are those of Bop's
# paper for CIFAR-10, which has gamma decay as well.
_BOP = {
    **_BINARIZED,
    'optimizer': 'bop',
    'gamma': 1e-4,
    'final_gamma': 1e-5,
    'threshold': 1e-8,
    'clip': 'none',
}

# The default as a convolutional net; chosen by docs/convolutions.md's runs.
_CONV = {
    **_BINARIZED,
    'unit': 256,
    'layers': 1,
    'channels': 32,
    'initial_weight': 'uniform',
    'evaluation': 'population',
    'alpha': .01,
    'final_alpha': 3e-5,
    'step_scale': 'glorot',
}

RECIPES = {
    'binarized': _BINARIZED,
    'original': _ORIGINAL,
    'binary-net': _BINARY_NET,
    'paper': _PAPER,
    'paper-shift': _PAPER_SHIFT,
    'bop': _BOP,
    'conv': _CONV,
}


def add_recipe(group):
    """Adds the flag ``--recipe`` to a group of arguments."""
    group.add_argument('--recipe', choices=RECIPES, default='binarized',
                       help='set of defaults for what follows')


def add_arguments(group):
    """Adds a flag for each choice of a recipe to a group of arguments."""
    def add(*flags, **kwargs):
        group.add_argument(*flags, **kwargs)

    add('--batchsize', '-b', type=integer(1),
        help='number of images in each mini-batch')
    add('--epoch', '-e', type=integer(1),
        help='number of sweeps over the training set')
    # The bytes of a matrix of more rows and columns are no number of 63 bits.
    add('--unit', '-u', type=integer(1, 1 << 30),
        help='number of units of a hidden layer')
    add('--layers', type=integer(1, 100),
        help='number of hidden layers, without the convolutions')
    add('--channels', type=integer(0, 4096),
        help='channels of the first block of two convolutions; each further '
             'block has twice as many; 0: no convolutions')
    add('--blocks', type=integer(1, 15),
        help='number of blocks of convolutions, each of which halves height '
             'and width')
    for name, what in (('weight', 'weights'), ('activation', 'activations'),
                       ('gradient', 'gradients that the products of a '
                                    'backward pass take')):
        add(f'--{name}-quantizer', type=quantizer, metavar='NAME',
            help=f'rounding of the {what}: {quantizers.NAMES}')
    add('--estimator', choices=quantizers.ESTIMATORS,
        help='what stands for the derivative of the rounded activations')
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
    add('--evaluation', choices=('running', 'batch', 'population'),
        help="statistics to evaluate with: running averages, the batch's "
             'own, or those of 100 training batches, taken anew after each '
             'epoch')
    add('--loss', choices=('softmax', 'hinge'),
        help='softmax cross entropy, or squared hinge')
    add('--optimizer', choices=('adam', 'shift-adamax', 'bop'),
        help='rule of the updates')
    add('--alpha', type=number(1e-12, 1e3), help='step size')
    add('--final-alpha', type=number(1e-12, 1e3), metavar='ALPHA',
        help='step size after the last epoch, approached exponentially')
    add('--halve-every', type=integer(1), metavar='EPOCHS',
        help='epochs after which the step size is halved')
    add('--gamma', type=number(1e-12, 1),
        help='share of the new gradient in the average that Bop flips by')
    add('--final-gamma', type=number(1e-12, 1), metavar='GAMMA',
        help='gamma after the last epoch, approached exponentially')
    add('--threshold', type=number(0, 1e3),
        help='average of the gradients beyond which Bop flips a weight')
    add('--step-scale', choices=('none', 'glorot'),
        help='factor of the step of W: 1, or 1/sqrt(1.5/(n_in + n_out))')
    add('--clip', choices=('all', 'weights', 'none'),
        help='parameters that are clipped to [-1, 1]')
    add('--clip-timing', choices=('after', 'before'),
        help='clip after each update, or before it: then what the update '
             'makes of the parameters is not clipped until the next one')
    add('--validation', type=integer(0), metavar='N',
        help='training images held out for validation; 0: validate on the '
             'test images')


def quantizer(name):
    """Returns a quantizer's name, checked: an argument type."""
    try:
        return str(quantizers.parse(name))
    except ValueError as e:
        raise argparse.ArgumentTypeError(e) from e


def settings(args):
    """Returns the arguments that a recipe chooses, as a dictionary.

    Raises:
        InputError: If two of them do not go together.

    """
    settings = {name: getattr(args, name) for name in _BINARIZED}
    _check_together(settings)
    return {'recipe': args.recipe, **settings}


def _check_together(settings):
    if (settings['evaluation'] != 'running'
            and settings['normalization'] != 'batch'):
        raise InputError(f'--evaluation {settings["evaluation"]} needs '
                         '--normalization batch')
    if (not settings['channels']
            and settings['blocks'] != _BINARIZED['blocks']):
        raise InputError('--blocks is of convolutions: it needs --channels')
    try:
        quantizers.parse(
            settings['activation_quantizer'], settings['estimator'])
    except ValueError as e:
        raise InputError(f'--activation-quantizer {e}') from e
    if settings['optimizer'] == 'bop':
        _check_bop(settings)
    else:
        for name in 'gamma', 'final_gamma', 'threshold':
            if settings[name] is not None:
                raise InputError(f'--{name.replace("_", "-")} needs '
                                 '--optimizer bop')


def _check_bop(settings):
    for name in 'gamma', 'threshold':
        if settings[name] is None:
            raise InputError(f'--optimizer bop needs --{name}, or take '
                             '--recipe bop')
    weights = settings['weight_quantizer']
    if not quantizers.parse(weights).is_binary:
        raise InputError('--optimizer bop needs binary weights, got '
                         f'--weight-quantizer {weights}')
    if settings['step_scale'] != 'none':
        raise InputError('--optimizer bop makes no steps of W that '
                         '--step-scale could scale')


def check(others):
    """Returns settings of a file, as the command line would take them.

    Args:
        others (dict): What may be settings. A choice that is missing, for the
            file is older than its flag, has the default of ``binarized``.

    Raises:
        InputError: If there are no settings, or a value is not one that a
            flag allows.

    """
    class Parser(argparse.ArgumentParser):
        def error(self, message):
            raise InputError(f'settings: {message}')

    parser = Parser(add_help=False, allow_abbrev=False)
    add_arguments(parser)
    flags = []
    if not others.keys() & _BINARIZED.keys():
        raise InputError('settings: there are none')
    others = {**_BINARIZED, **others}
    for name, default in _BINARIZED.items():
        flag = name.replace('_', '-')
        value = others[name]
        if isinstance(default, bool):
            flags.append(f'--{flag}' if value is True else f'--no-{flag}')
        elif value is not None or default is not None:
            flags.append(f'--{flag}={value}')
    settings = vars(parser.parse_args(flags))
    for name, value in settings.items():
        if value != others[name]:
            raise InputError(f'settings: {name} is {others[name]!r}')
    _check_together(settings)
    return settings


def why_not_binary(settings):
    """Returns why a net of these settings cannot be packed into bits.

    Args:
        settings (dict): Settings that :func:`check` has returned.

    Returns:
        str or None: The reason, ``None`` if it can.

    """
    for name in 'weight', 'activation':
        quantizer = quantizers.parse(settings[f'{name}_quantizer'])
        if not quantizer.is_binary:
            return f'its {name}s are {quantizer}, not binary'
    if settings['relu']:
        return 'a relu follows its activations'
    if settings['evaluation'] == 'batch':
        return 'it is evaluated with the statistics of a batch'
    return None


def bits(settings):
    """Returns the bits of a weight and of an activation; 32 is a float."""
    return tuple(quantizers.parse(settings[f'{name}_quantizer']).bits or 32
                 for name in ('weight', 'activation'))
