"""A trainer's snapshot as a file: its name, and the names of what is in it."""
import json
import math
import os
import re

import numpy

from system import files
from system.errors import InputError
from system.npz_reader import NpzReader

PREFIX = 'snapshot_iter_'
_PATTERN = re.compile(rf'{PREFIX}([0-9]+)')

# The trained net's arrays, and the settings of the run.
NET = 'updater/model:main/predictor/'
SETTINGS = 'extensions/Settings/json'

# Array that lists, as JSON, the names of those that are None: NumPy would
# write these as Python objects.
NONE = 'none'

# Array that holds, as JSON, the shapes of a row by the names of those weights
# that are +1 and -1 and kept as bits, eight to a byte; one number is the
# length of a matrix's row, in files from before convolutions were kept so.
SIGNS = 'signs'

# An integer of a training's state is not less than 0 and less than this.
END = 1 << 53

# Names of the parameters of a trained net, as Chainer has them.
PARAMETER = re.compile(
    r'l[1-9]\d*/(W|b)$|'
    r'bn[1-9]\d*/(gamma|beta|avg_mean|avg_var|avg_inv_std)$')


def find(folder):
    """Returns the paths of a folder's snapshots, the latest iteration first.

    Args:
        folder (str): Folder of the results, which need not exist.

    """
    names = files.list_folder(folder) if os.path.isdir(folder) else []
    paths = [os.path.join(folder, name) for name in names
             if _PATTERN.fullmatch(name)]
    return sorted(paths, key=iteration, reverse=True)


def iteration(path):
    """Returns the iteration that a snapshot's name tells."""
    # By its length and digits: int() refuses a number of 5000 digits.
    digits = _PATTERN.fullmatch(os.path.basename(path)).group(1).lstrip('0')
    return int(digits or '0') if len(digits) < 19 else END


def is_newest(path, folder):
    """Tells whether a file is a folder's newest snapshot.

    Args:
        path (str or None): The file.
        folder (str): Folder of the results, which need not exist.

    """
    newest = find(folder)[:1]
    # Either may be a link that leads to nothing.
    return bool(path and newest
                and all(map(os.path.exists, (path, *newest)))
                and os.path.samefile(path, *newest))


def read(path):
    """Returns a snapshot's arrays by name, all of them and whole.

    Args:
        path (str): The file, which may come from anywhere.

    Raises:
        InputError: If it cannot be read, is damaged or holds anything else
            than numbers and text; the message names the file.

    """
    with NpzReader(path) as npz:
        shapes = _read_shapes(npz)
        arrays = {name: _read_signs(npz, name, shapes[name])
                  if name in shapes else npz.read(name)
                  for name in npz.names - {SIGNS}}
    try:
        none = (json.loads(arrays.pop(NONE).tobytes())
                if NONE in arrays else [])
        arrays.update((name, numpy.array(None)) for name in none)
    except (RecursionError, TypeError, ValueError) as e:
        raise InputError(f'{NONE} in {path} cannot be read: {e}') from e
    return arrays


def with_signs_as_bits(arrays):
    """Returns arrays as a snapshot holds them: weights of +1 and -1 as bits.

    Args:
        arrays (dict): Arrays by name. Those of the net that are float32
            weights of nothing but +1 and -1 lose nothing.

    """
    result, shapes = {}, {}
    for name, array in arrays.items():
        if (name.startswith(NET) and array.dtype == numpy.float32
                and array.ndim > 1 and array.size
                # Of other weights a row says that they are others.
                and (numpy.abs(array[0]) == 1).all()
                and (numpy.abs(array) == 1).all()):
            shapes[name] = array.shape[1:]
            array = numpy.packbits(array.reshape(len(array), -1) > 0, axis=1)
        result[name] = array
    if shapes:
        text = json.dumps(shapes).encode()
        result[SIGNS] = numpy.frombuffer(text, numpy.uint8)
    return result


def _read_shapes(npz):
    if SIGNS not in npz.names:
        return {}
    try:
        shapes = json.loads(npz.read(SIGNS, numpy.uint8, 1).tobytes())
        if not isinstance(shapes, dict):
            raise ValueError('no object of JSON')
        shapes = {name: shape if isinstance(shape, list) else [shape]
                  for name, shape in shapes.items()}
        if not all(type(n) is int and n > 0
                   for shape in shapes.values() for n in shape):
            raise ValueError('no shapes of rows')
    except (RecursionError, ValueError) as e:
        raise InputError(f'{SIGNS} in {npz.path} cannot be read: {e}') from e
    return shapes


def _read_signs(npz, name, shape):
    bits = npz.read(name, numpy.uint8, 2)
    n = math.prod(shape)
    # More bytes than the file has would be 32 times as many of floats.
    if not n <= 8 * bits.shape[1] < n + 8 or bits.nbytes > npz.size:
        raise InputError(f'{name} in {npz.path} cannot be read: {n} columns '
                         f'of bits in shape {bits.shape}')
    signs = numpy.unpackbits(bits, axis=1, count=n).astype(numpy.float32)
    return (2 * signs - 1).reshape(-1, *shape)


def holds_net(npz):
    """Tells whether an NpzReader's file has the arrays of a trained net."""
    return {f'{NET}l1/W', SETTINGS} <= npz.names


def read_net(npz):
    """Returns the float32 arrays of a snapshot's net by name.

    Args:
        npz (NpzReader): A trainer's snapshot.

    Raises:
        InputError: If they cannot be read or are not float32.

    """
    names = sorted(name[len(NET):] for name in npz.names
                   if name.startswith(NET))
    shapes = _read_shapes(npz)
    arrays = {name: _read_signs(npz, NET + name, shapes[NET + name])
              if NET + name in shapes
              else npz.read(NET + name, numpy.float32,
                            None if name.endswith('/W') else 1)
              for name in names if PARAMETER.match(name)}
    for name, array in arrays.items():
        # Of a linear layer, and of a convolution.
        if name.endswith('/W') and array.ndim not in (2, 4):
            raise InputError(f'{name} in {npz.path} cannot be read: shape '
                             f'{array.shape}, expected 2 or 4 axes')
    return arrays


def read_settings(npz):
    """Returns the settings of the run that a snapshot is of.

    Args:
        npz (NpzReader): A trainer's snapshot.

    Returns:
        dict: Values by name; ``recipes.choices.check`` says whether they are
        settings.

    Raises:
        InputError: If they are not what such a file has.

    """
    try:
        return parse_settings(npz.read(SETTINGS, numpy.uint8, 1))
    except ValueError as e:
        raise InputError(f'the settings cannot be read: {e}') from e


def training_set(settings):
    """Returns the checksum of the training set in a snapshot's settings.

    Args:
        settings (dict): See :func:`read_settings`.

    Returns:
        str or None: ``None`` where an older version has written the file.

    Raises:
        InputError: If it is no checksum.

    """
    value = settings.get('training_set')
    if value is not None and not is_checksum(value):
        raise InputError(f'settings: training_set is {value!r}')
    return value


def is_checksum(value):
    """Tells whether a value is one that ImageSet.checksum may have."""
    return isinstance(value, str) and bool(
        re.fullmatch('[0-9a-f]{1,64}', value))


def parse_settings(array):
    """Returns the dictionary whose JSON is in an array of bytes.

    Raises:
        ValueError: If there is none in it.

    """
    try:
        settings = json.loads(array.tobytes())
    except RecursionError as e:
        raise ValueError(e) from e
    if not isinstance(settings, dict):
        raise ValueError('no object of JSON')
    return settings
