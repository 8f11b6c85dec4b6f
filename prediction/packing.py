"""From the arrays of a trained net, or from its chain, to layers in bits."""
import numpy

import kernels
from kernels.packed_convolution import MAX_CHANNELS, MAX_KSIZE
from prediction.packed_convolution import ConvolutionLayer, is_window
from prediction.packed_layers import (
    BatchNorm, HiddenLayer, OutputLayer, get_float32)
from system.errors import InputError
from system.snapshot_file import PARAMETER


def layers(arrays, eps, input_range, size=None, pool_sizes=()):
    """Returns the layers of a trained net.

    Args:
        arrays, eps, input_range, pool_sizes: See
            :meth:`prediction.packed_net.PackedNet.from_arrays`.
        size (tuple of int or None): Height and width of an image, if known.

    Returns:
        tuple: A list of the hidden layers, and the output layer.

    Raises:
        InputError: If the arrays are none of such a net.

    """
    n_layers = _count(arrays)
    epsilons = [eps] * n_layers if numpy.isscalar(eps) else list(eps)
    if len(epsilons) != n_layers:
        raise InputError(f'eps must be 1 or {n_layers} numbers, got '
                         f'{len(epsilons)}')
    if input_range == 'symmetric' and n_layers == 1:
        raise InputError('pixels in [-1, 1] need a hidden layer')
    if len(pool_sizes) > n_layers:
        raise InputError(f'there are {len(pool_sizes)} sizes of pooling for '
                         f'{n_layers} layers')
    pools = [*pool_sizes, *[1] * (n_layers - len(pool_sizes))]
    hidden = []
    for i, (eps_i, pool) in enumerate(zip(epsilons, pools), 1):
        W = get_float32(arrays, f'l{i}/W', None, None)
        norm = BatchNorm.from_arrays(arrays, i, len(W), eps_i)
        pixels = input_range if i == 1 else None
        if W.ndim == 4:
            if hidden and not hidden[-1].is_convolution:
                raise InputError(f'l{i}/W is a convolution behind a layer '
                                 'without images')
            n_before = hidden[-1].n_out if hidden else 1
            if W.shape[1] != n_before:
                raise InputError(f'l{i}/W is for images of {W.shape[1]} '
                                 f'channels, there are {n_before}')
            layer = _convolution(i, W, norm, size, pool, pixels)
            hidden.append(layer)
            size = layer.out_size
        elif pool != 1:
            raise InputError(f'layer {i} has pooling, but no images')
        elif i < n_layers:
            hidden.append(HiddenLayer.from_arrays(W, norm, pixels))
    if W.ndim == 4:
        raise InputError(f'l{n_layers}/W, the last one, is a convolution')
    return hidden, OutputLayer(W.shape[1], kernels.pack_signs(W), norm)


def _count(arrays):
    n_layers = 0
    while f'l{n_layers + 1}/W' in arrays:
        n_layers += 1
    if not n_layers:
        raise InputError('there are no weights l1/W')
    known = {f'{kind}{i + 1}' for i in range(n_layers) for kind in ('l', 'bn')}
    for name in arrays:
        if PARAMETER.match(name) and name.split('/')[0] not in known:
            raise InputError(f'{name} belongs to no layer: there are '
                             f'weights up to l{n_layers}/W')
    return n_layers


def _convolution(i, W, norm, size, pool, pixels):
    if size is None:
        raise InputError('a net with convolutions needs the height and the '
                         'width of its images')
    if not is_window(W.shape[2:], len(W)):
        raise InputError(
            f'l{i}/W has {len(W)} windows of {W.shape[2]} x {W.shape[3]}: '
            f'they must be odd, {MAX_KSIZE} x {MAX_KSIZE} at most, and '
            f'{MAX_CHANNELS} at most')
    return ConvolutionLayer.from_arrays(W, norm, size, pool, pixels)


def why_not_binary(chain):
    """Returns why bits cannot compute what a chain does; None: they can."""
    if not hasattr(chain, 'layers'):
        return (f'{type(chain).__name__} has no layers(), so that neither '
                'their order nor their rounding is known')
    for i, (link, norm) in enumerate(chain.layers(), 1):
        quantizer = getattr(link, 'quantizer', 'real numbers')
        if not getattr(quantizer, 'is_binary', False):
            return f'the weights of layer {i} are {quantizer}, not binary'
        if hasattr(link, 'stride') and not _keeps_size(link):
            return (f'the convolution of layer {i} does not put the middle of '
                    'its window on each pixel, with zeros around the image')
        if getattr(norm, 'evaluate_with_batch', False):
            return f'layer {i} is evaluated with the statistics of a batch'
        if not (hasattr(norm, 'avg_var') or hasattr(norm, 'avg_inv_std')):
            return f'the normalization of layer {i} has no running averages'
    quantizer = getattr(chain, 'activation_quantizer', 'of an unknown kind')
    if not getattr(quantizer, 'is_binary', False):
        return f'its activations are {quantizer}, not binary'
    if getattr(chain, 'relu', False):
        return 'a relu follows its activations'
    return None


def _keeps_size(link):
    ksize = link.W.shape[2:]
    return (link.stride == link.dilate == (1, 1) and link.groups == 1
            and not getattr(link, 'pad_value', 0)
            and tuple(link.pad) == tuple(n // 2 for n in ksize))


class Collector:
    """Chainer serializer that keeps the arrays; needs no Chainer."""

    def __init__(self, arrays=None, path=''):
        self.arrays = {} if arrays is None else arrays
        self._path = path

    def __getitem__(self, name):
        return Collector(self.arrays, f'{self._path}{name}/')

    def __call__(self, name, value):
        if value is not None:
            self.arrays[self._path + name] = numpy.asarray(value)
        return value
