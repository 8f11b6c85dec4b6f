"""The file of a net in bits: NumPy's .npz, with numbers only.

It holds ``format`` (letters as bytes), ``version``, ``sizes``, for each layer
i ``l<i>/W``, one row of 64-bit words per unit, 1 meaning +1; for a hidden
layer ``l<i>/threshold`` and ``l<i>/falling``, for the last one ``l<i>/norm``:
b, mean, 1 / standard deviation, gamma and beta. ``training_set``, letters as
bytes, may be missing: a checksum of what the net was trained on; and so may
``images``, JSON as bytes: see :mod:`data.description`. A net that begins with
convolutions has version 2, ``images``, and ``convolutions``, a row for each:
height and width of its window and of its pooling's.
"""
import json

import numpy

from data import description
from prediction.packed_convolution import ConvolutionLayer, is_window
from prediction.packed_layers import (
    MAX_IN, PIXEL_MAX, BatchNorm, HiddenLayer, OutputLayer)
from system import files
from system.errors import InputError
from system.snapshot_file import is_checksum, parse_settings

_FORMAT = 'quantized_net packed MLP'
# Without convolutions, as older programs read it, and with them.
_LINEAR, _CONVOLUTIONAL = 1, 2


def save(path, sizes, hidden, output, images=None, training_set=None):
    """Writes the layers of a packed net.

    Args:
        path (str): The file; replaced when the new one is complete.
        sizes (list of int): Size of an input vector, then the number of units
            or channels of each layer.
        hidden (list): All layers but the last, on the CPU.
        output (OutputLayer): The last layer, on the CPU.
        images (Description or None): What the images are, if known.
        training_set (str or None): Checksum of the training set, if known.

    Raises:
        OutputError: If the file cannot be written.

    """
    convolutions = [(*layer.ksize, layer.pool) for layer in hidden
                    if layer.is_convolution]
    version = _CONVOLUTIONAL if convolutions else _LINEAR
    arrays = {
        'format': numpy.frombuffer(_FORMAT.encode(), numpy.uint8),
        'version': numpy.array([version], '<i8'),
        'sizes': numpy.array(sizes, '<i8'),
    }
    if convolutions:
        arrays['convolutions'] = numpy.array(convolutions, '<i8')
    if training_set is not None:
        arrays['training_set'] = numpy.frombuffer(
            training_set.encode(), numpy.uint8)
    if images is not None:
        arrays['images'] = numpy.frombuffer(
            json.dumps(images.to_json()).encode(), numpy.uint8)
    for i, layer in enumerate(hidden, 1):
        arrays[f'l{i}/W'] = layer.words.astype('<u8')
        arrays[f'l{i}/threshold'] = layer.thresholds.astype('<i4')
        arrays[f'l{i}/falling'] = layer.falling.astype('<u8')
    i = len(sizes) - 1
    arrays[f'l{i}/W'] = output.words.astype('<u8')
    arrays[f'l{i}/norm'] = numpy.stack(output.norm.vectors).astype('<f4')
    files.write_npz(path, arrays)


def is_export(npz):
    """Tells whether an NpzReader's file says that it is a packed net."""
    return {'format', 'version', 'sizes'} <= npz.names


def read(npz):
    """Returns the layers of a packed net.

    Args:
        npz (NpzReader): File that :func:`save` has written. It may come from
            anywhere: it is read as numbers, and needs no more memory than its
            size justifies.

    Returns:
        tuple: A list of the hidden layers, the output layer, the description
        of the images, and the checksum of the training set, ``None`` if it is
        not known.

    Raises:
        InputError: If the file holds anything else than a packed net; the
            message names the file and what is wrong.

    """
    path = npz.path

    def check(condition, name):
        if not condition:
            raise InputError(f'{name} in {path} is not that of a packed net')

    if not is_export(npz):
        raise InputError(f'{path} holds no packed net')

    letters = npz.read('format', numpy.uint8, 1).tobytes()
    check(letters == _FORMAT.encode(), 'format')
    version = npz.read('version', numpy.int64, 1).tolist()
    if version not in ([_LINEAR], [_CONVOLUTIONAL]):
        raise InputError(f'{path} is of version {version}, this program reads '
                         f'versions {_LINEAR} and {_CONVOLUTIONAL}')
    sizes = npz.read('sizes', numpy.int64, 1).tolist()
    check(len(sizes) >= 2 and all(1 <= n < MAX_IN for n in sizes)
          and sizes[0] * PIXEL_MAX < 1 << 31, 'sizes')
    convolutions, image = [], None
    if version == [_CONVOLUTIONAL]:
        images = _read_images(npz, sizes)
        check(images is not None, 'images')
        image = 1, *images.shape  # channels, height, width
        convolutions = npz.read('convolutions', numpy.int64, 2)
        check(convolutions.shape[1] == 3
              and 1 <= len(convolutions) <= len(sizes) - 2, 'convolutions')
        convolutions = convolutions.tolist()
    n_in, hidden = sizes[0], []
    for i, n_out in enumerate(sizes[1:], 1):
        shapes = [(n_out,)]  # that thresholds may have
        if i <= len(convolutions):
            n_channels, *size = image
            *ksize, pool = convolutions[i - 1]
            check(is_window(ksize, n_out) and 1 <= pool <= min(size),
                  'convolutions')
            n_in = n_channels * ksize[0] * ksize[1]
            if i == 1:
                shapes.append((*ksize, n_out))
        check(n_in < MAX_IN, 'sizes')
        words = npz.read(f'l{i}/W', numpy.uint64, 2)
        check(words.shape == (n_out, -(-n_in // 64))
              and _padding_is_zero(words, n_in), f'l{i}/W')
        if i == len(sizes) - 1:
            norm = npz.read(f'l{i}/norm', numpy.float32, 2)
            check(norm.shape == (5, n_out) and numpy.isfinite(norm).all()
                  and (norm[2] > 0).all(), f'l{i}/norm')
            output = OutputLayer(n_in, words, BatchNorm(*norm))
            continue
        thresholds = npz.read(f'l{i}/threshold', numpy.int32)
        bound = n_in * PIXEL_MAX if i == 1 else n_in
        check(thresholds.shape in shapes and (thresholds >= -bound).all()
              and (thresholds <= bound + 1).all(), f'l{i}/threshold')
        falling = npz.read(f'l{i}/falling', numpy.uint64, 1)
        check(falling.shape == (-(-n_out // 64),)
              and _padding_is_zero(falling[None], n_out), f'l{i}/falling')
        if i <= len(convolutions):
            layer = ConvolutionLayer(size, ksize, n_channels, words,
                                     thresholds, falling, pool)
            image = n_out, *layer.out_size
            n_in = n_out * layer.out_size[0] * layer.out_size[1]
        else:
            layer = HiddenLayer(n_in, words, thresholds, falling)
            n_in = n_out
        hidden.append(layer)
    if version == [_LINEAR]:
        images = _read_images(npz, sizes)
    training_set = None
    if 'training_set' in npz.names:
        letters = npz.read('training_set', numpy.uint8, 1).tobytes()
        training_set = letters.decode(errors='replace')
        check(is_checksum(training_set), 'training_set')
    return hidden, output, images, training_set


def _read_images(npz, sizes):
    if 'images' not in npz.names:
        return None
    letters = npz.read('images', numpy.uint8, 1)
    try:
        return description.parse(
            parse_settings(letters), sizes[0], sizes[-1])
    except ValueError as e:
        raise InputError(f'images in {npz.path} cannot be read: {e}') from e


def _padding_is_zero(words, n):
    used = n % 64
    return not used or not (words[:, -1] >> numpy.uint64(used)).any()
