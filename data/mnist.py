import hashlib
import os

import numpy

from system.errors import InputError
from system.files import read_regular

ROOT = os.path.dirname(os.path.abspath(__file__))

# SHA-256 of the files; see data/README.md.
_SHA256 = {
    'train.npz':
        '8fc81063138a11220894c843c239812df0682a6530b3160055a11914eb693493',
    'test.npz':
        '36415f49eff12da1fff91e2a8ca1262242e30b42b07238d4114d7b46365ec6f1',
}
NAMES = tuple(_SHA256)

# The training set's; see data.sets.ImageSet.checksum.
CHECKSUM = '2eeecb80f3b5'


def check(name, root=ROOT):
    """Returns the path of a file of MNIST after a look at its contents.

    Args:
        name (str): ``train.npz`` or ``test.npz``.
        root (str): Folder that holds ``pfnet/chainer/mnist/``.

    Raises:
        InputError: If the file is missing or damaged; the message names it.

    """
    path = os.path.join(root, 'pfnet', 'chainer', 'mnist', name)
    try:
        actual = hashlib.sha256(read_regular(path)).hexdigest()
    except InputError as e:
        raise InputError(f'{e}; restore it from the repository') from e
    expected = _SHA256[name]
    if actual != expected:
        raise InputError(
            f'the data file {path} is damaged: its SHA-256 is {actual}, '
            f'not {expected}; restore it from the repository')
    return path


def read(name, root=ROOT):
    """Returns the images and labels of a file, as they are stored.

    Args:
        name, root: See :func:`check`.

    Returns:
        tuple of numpy.ndarray: uint8 pixels of shape (N, 784), and uint8
        labels of shape (N,).

    Raises:
        InputError: See :func:`check`.

    """
    with numpy.load(check(name, root), allow_pickle=False) as npz:
        return npz['x'], npz['y']
