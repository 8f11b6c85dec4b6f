"""What is made of a run's settings: network, loss and optimizer."""
import functools
import math

import chainer_compat
import chainer
import chainer.functions as F
import chainer.links as L

import quantizers
from layers import blocks, summary as table
from layers.batch_normalization import BatchNormalization
from layers.shift_batch_normalization import ShiftBatchNormalization
from net import MnistConvNet, MnistMLP
from optimizers.bop import Bop
from optimizers.fused_adam import FusedAdam
from optimizers.shift_adamax import ShiftAdaMax
from recipes import choices
from system.errors import InputError
from weight_clip import WeightClip


def make_net(settings, n_in, n_out, image_shape=None):
    """Returns the network of these settings.

    Args:
        settings (dict): Choices as in ``recipes.choices.RECIPES``.
        n_in (int): Size of an input vector.
        n_out (int): Number of classes.
        image_shape (tuple of int): Height and width of the images that the
            vectors are, for a net with convolutions.

    Raises:
        InputError: If the blocks of convolutions leave nothing of an image.

    """
    if settings['normalization'] == 'batch':
        normalization = functools.partial(
            BatchNormalization,
            evaluate_with_batch=settings['evaluation'] == 'batch')
    else:
        normalization = ShiftBatchNormalization
    gradient = settings['gradient_quantizer']
    net = functools.partial(MnistMLP, n_in)
    if settings['channels']:
        check_blocks(settings, image_shape)
        net = functools.partial(
            MnistConvNet, image_shape, settings['channels'],
            n_blocks=settings['blocks'])
    return net(
        n_units=settings['unit'], n_out=n_out, n_hidden=settings['layers'],
        weight_quantizer=quantizers.parse(settings['weight_quantizer']),
        activation_quantizer=quantizers.parse(
            settings['activation_quantizer'], settings['estimator']),
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


def check_blocks(settings, image_shape):
    """Raises an InputError if convolutions leave nothing of an image."""
    n = settings['blocks']
    most = min(image_shape).bit_length() - 1
    if settings['channels'] and n > most:
        raise InputError(
            '--blocks {} leaves nothing of images of {} x {} pixels, whose '
            'height and width each block halves: {}'.format(
                n, *image_shape, f'{most} at most' if most
                else 'they are too small for --channels'))


def evaluation_batch(settings, net):
    """Returns how many images are evaluated at a time, and at least.

    Where a batch's own statistics count, it is of the training's size, but no
    single image, which has none.

    Args:
        settings (dict): See :func:`make_net`.
        net (~chainer.Link): Network of these settings.

    Returns:
        tuple of int: Number of images of a batch, and the least number of a
        last one; fewer belong to the batch before it.

    """
    if settings['evaluation'] == 'batch':
        return max(settings['batchsize'], 2), 2
    return net.evaluation_batchsize, 1


def summary(settings, n_in, n_out, image_shape):
    """Returns a table of the layers of the network; see :func:`make_net`."""
    check_blocks(settings, image_shape)
    convolutions = settings['channels'], settings['blocks']
    sizes = [n_in, *blocks.widths(*convolutions),
             *[settings['unit']] * settings['layers'], n_out]
    return table.table(sizes, *choices.bits(settings), image_shape,
                       blocks.pool_sizes(*convolutions))


def make_classifier(settings, n_in, n_out, image_shape=None):
    """Returns the network with its loss; see :func:`make_net`.

    Raises:
        InputError: If all initial weights of a layer round to 0, so that
            nothing could be learned.

    """
    net = make_net(settings, n_in, n_out, image_shape)
    for k, (linear, _) in enumerate(net.layers(), 1):
        if not (linear.quantizer.is_binary
                or linear.quantizer(linear.W.array).any()):
            raise InputError(
                f'--weight-quantizer {linear.quantizer} rounds all initial '
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
    multiplied by ``1 / sqrt(1.5 / (n_in + n_out))``, as in the authors' code;
    of a convolution, n_in and n_out are channels times pixels of the window.
    """
    make = {'adam': FusedAdam, 'shift-adamax': ShiftAdaMax,
            'bop': functools.partial(Bop, settings['gamma'],
                                     settings['threshold'])}
    optimizer = make[settings['optimizer']](alpha=settings['alpha'])
    optimizer.setup(model)
    if settings['step_scale'] == 'glorot':
        for param in model.params():
            if param.name == 'W':
                n_out, n_in, *ksize = param.shape
                scale = ((n_in + n_out) * math.prod(ksize) / 1.5) ** .5
                param.update_rule.hyperparam.eta = scale
    if settings['clip'] != 'none':
        optimizer.add_hook(WeightClip(
            names=None if settings['clip'] == 'all' else ('W',),
            timing={'after': 'post', 'before': 'pre'}[
                settings['clip_timing']]))
    return optimizer
