"""A trained net as predict_mnist.py takes it: a snapshot or an export."""
import typing

from data import description
from layers import blocks
from prediction import packed_file
from prediction.packed_net import PackedNet
from recipes import choices
from system import snapshot_file
from system.errors import InputError
from system.npz_reader import NpzReader


class Model(typing.NamedTuple):
    """What a file of a trained net holds."""

    packed: object  # PackedNet, or None where the net is not binary
    chainer: object  # ChainerNet, or None of an export or without Chainer
    is_export: bool
    images: object  # Description
    training_set: object  # checksum, or None where it is not known


def read(path, say=print):
    """Returns the model in a file.

    Args:
        path (str): A snapshot of train_mnist.py, or a packed net.
        say (callable): Takes a line about what cannot be done with it.

    Raises:
        InputError: If it is neither, or damaged; the message names the file.

    """
    with NpzReader(path) as npz:
        if packed_file.is_export(npz):
            packed = PackedNet(*packed_file.read(npz))
            return Model(
                packed, None, True, packed.images, packed.training_set)
        if not snapshot_file.holds_net(npz):
            raise InputError(f'{path} is neither a snapshot of train_mnist.py '
                             'nor a packed net of --export')
        arrays = snapshot_file.read_net(npz)
        settings = snapshot_file.read_settings(npz)
    try:
        training_set = snapshot_file.training_set(settings)
        images = settings.get('images')
        settings = choices.check(settings)
        reason = choices.why_not_binary(settings)
        packed = None if reason else _pack(arrays, settings, images)
        if packed:
            packed.training_set, images = training_set, packed.images
    except InputError as e:
        raise InputError(f'{path} cannot be packed: {e}') from e
    try:
        from prediction.chainer_net import ChainerNet
    except ImportError as e:
        if reason:
            raise InputError(f'{path} cannot be packed: {reason}; and '
                             f'Chainer cannot be imported: {e}') from e
        say(f'Chainer net: not compared, {e}')
        return Model(packed, None, False, images, training_set)
    if reason:
        say(f'not packed: {reason}')
    try:
        net = ChainerNet(arrays, settings, images)
        return Model(packed, net, False, net.images, training_set)
    except InputError as e:
        raise InputError(f'{path} is no snapshot of a run: {e}') from e


def _pack(arrays, settings, images):
    eps, input_range = settings['normalization_eps'], settings['input_range']
    if not settings['channels']:
        packed = PackedNet.from_arrays(arrays, eps, input_range)
        packed.images = description.parse(
            images, packed.sizes[0], packed.sizes[-1])
        return packed
    pools = blocks.pool_sizes(settings['channels'], settings['blocks'])
    n_layers = len(pools) + settings['layers'] + 1
    if f'l{n_layers}/W' not in arrays:
        raise InputError(f'there are not the weights of {n_layers} layers')
    # Height and width are what the arrays do not tell.
    images = description.parse(images, None, len(arrays[f'l{n_layers}/W']))
    return PackedNet.from_arrays(
        arrays, eps, input_range, images, pool_sizes=pools)
