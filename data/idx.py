import gzip
import os
import struct
import zlib

import numpy

from system.errors import InputError
from system.files import list_folder, open_regular

PARTS = ('train', 't10k')

# Magic numbers: two zero bytes, 8 for unsigned bytes and 12 for integers of
# four, the number of axes.
_IMAGES, _LABELS, _TABLE = 0x803, 0x801, 0xc02
_TYPES = {8: ('bytes', '>u1'), 12: ('integers', '>i4')}


def read(folder, part, prefix=''):
    """Returns the images and labels of a data set in MNIST's format.

    The IDX files ``PART-images-idx3-ubyte`` and ``PART-labels-idx1-ubyte``,
    gzipped, with ``.gz`` at the end of their names, or not. ``-idx`` may be
    ``.idx``, as some archives have it. The labels may be a table of integers,
    ``PART-labels-idx2-int``, whose first column they are, as QMNIST has it.

    Args:
        folder (str): Folder of the files.
        part (str): ``'train'`` or ``'t10k'``, the test set, for which the
            names may have ``test``.
        prefix (str): What their names begin with, such as
            ``emnist-letters``; a hyphen follows.

    Returns:
        tuple of numpy.ndarray: uint8 pixels of shape (N, height, width), and
        uint8 labels of shape (N,), N not 0.

    Raises:
        InputError: If a file is missing or is not what its header says, or
            the two do not belong together; the message names the file.

    """
    parts = ['test', part] if prefix else [part, 'test']
    stems = [f'{prefix}-{name}' if prefix else name
             for name in (parts if part == 't10k' else [part])]
    images_path, _ = _find(folder, stems, 'images', ['idx3-ubyte'])
    labels_path, kind = _find(
        folder, stems, 'labels', ['idx1-ubyte', 'idx2-int'])
    images = _read_array(images_path, _IMAGES)
    if kind == 'idx2-int':
        labels = _first_column(labels_path)
    else:
        labels = _read_array(labels_path, _LABELS)
    if images.size == 0:
        raise InputError(f'{images_path} holds no pixels: its sizes are '
                         f'{_sizes(images.shape)}')
    if len(images) != len(labels):
        raise InputError(f'{images_path} holds {len(images)} images, but '
                         f'{labels_path} {len(labels)} labels')
    return images, labels


def read_both(folder, prefix=''):
    """Returns the training set and the test set of a data set.

    Args:
        folder, prefix (str): See :func:`read`.

    Returns:
        tuple: ``(images, labels)`` of each, see :func:`read`. The images are
        of one size, and each label of the test set is at most the largest of
        the training set.

    Raises:
        InputError: See :func:`read`.

    """
    train, test = (read(folder, part, prefix) for part in PARTS)
    if train[0].shape[1:] != test[0].shape[1:]:
        raise InputError(
            f'the images in {folder} are of two sizes: '
            f'{_sizes(train[0].shape[1:])} to train with, '
            f'{_sizes(test[0].shape[1:])} to test with')
    if not train[1].any():
        raise InputError(f'the labels in {folder} to train with are all 0: '
                         'that is one class, two are the least')
    if test[1].max() > train[1].max():
        raise InputError(
            f'the test set in {folder} has the label {test[1].max()}, but '
            f'the largest one to train with is {train[1].max()}')
    return train, test


def _sizes(shape):
    return ' x '.join(map(str, shape))


def _find(folder, stems, what, kinds):
    """Returns the path of the first file that is there, and its kind."""
    if not os.path.lexists(folder):
        raise InputError(f'there is no folder {folder}')
    there = list_folder(folder)
    for stem in stems:
        for kind in kinds:
            for name in f'{stem}-{what}-{kind}', f'{stem}-{what}.{kind}':
                for found in name, name + '.gz':
                    if found in there:
                        return os.path.join(folder, found), kind
    name = f'{stems[0]}-{what}-{kinds[0]}'
    raise InputError(f'{folder} holds neither {name} nor {name}.gz')


def _first_column(path):
    """Returns the labels in a table of integers."""
    table = _read_array(path, _TABLE)
    if not table.shape[1]:
        raise InputError(f'{path} has no columns')
    labels = table[:, 0]
    if len(labels) and (labels.min() < 0 or labels.max() > 255):
        raise InputError(f'{path} has labels from {labels.min()} to '
                         f'{labels.max()}, 0 to 255 are allowed')
    return labels.astype(numpy.uint8)


def _read_array(path, magic):
    """Returns the array of an IDX file, after a look at all that it says."""
    n_axes = magic & 0xff
    kind, dtype = _TYPES[magic >> 8]
    try:
        with open_regular(path) as file, (
                gzip.open(file) if path.endswith('.gz') else file) as f:
            header = f.read(4 + 4 * n_axes)
            if len(header) < 4 + 4 * n_axes:
                raise InputError(f'{path} ends within its header')
            found, *shape = struct.unpack(f'>{1 + n_axes}I', header)
            if found != magic:
                raise InputError(f'{path} is no IDX file of {n_axes} axes of '
                                 f'{kind}: its magic number is {found:#010x}, '
                                 f'not {magic:#010x}')
            size = numpy.dtype(dtype).itemsize
            for n in shape:
                size *= n
            content = _read_at_most(f, size + 1)
    except OSError as e:  # gzip.BadGzipFile is one, without an errno
        raise InputError(f'cannot read {path}: {e.strerror or e}') from e
    except (EOFError, zlib.error) as e:
        raise InputError(f'{path} is damaged or cut off: {e}') from e
    if len(content) != size:
        raise InputError(
            f'{path} says {_sizes(shape)} {kind}, {size} bytes, but holds '
            f'{"more" if len(content) > size else len(content)}')
    try:
        return numpy.frombuffer(content, dtype).reshape(shape)
    except ValueError as e:  # Sizes beyond any array's, and a 0 among them
        raise InputError(f'{path} says {_sizes(shape)} {kind}: {e}') from e


def _read_at_most(f, size):
    """Reads in pieces: a header may promise more than there is memory."""
    pieces = []
    while size > 0:
        piece = f.read(min(size, 1 << 24))
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b''.join(pieces)
