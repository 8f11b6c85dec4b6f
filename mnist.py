import hashlib
import os

import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer

_DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'data')

# SHA-256 of the files; see data/README.md.
_SHA256 = {
    'train.npz':
        '8fc81063138a11220894c843c239812df0682a6530b3160055a11914eb693493',
    'test.npz':
        '36415f49eff12da1fff91e2a8ca1262242e30b42b07238d4114d7b46365ec6f1',
}


def get_mnist(root=_DATA):
    """Returns the MNIST data that lies in the project.

    :func:`chainer.datasets.get_mnist` with ``root`` for Chainer's dataset
    cache, after a check that the files are there and whole: it would try to
    download a missing one, from a site that no longer has it.

    Args:
        root (str): Folder that holds ``pfnet/chainer/mnist/train.npz`` and
            ``test.npz``.

    Returns:
        tuple: Training set and test set, each a
        :class:`~chainer.datasets.TupleDataset` of two arrays: the images,
        float32 of shape (N, 784) in [0, 1], and the labels, int32 of shape
        (N,), from 0 to 9.

    Raises:
        ValueError: If a file is missing or damaged; the message names it.

    """
    folder = os.path.join(root, 'pfnet', 'chainer', 'mnist')
    for name, expected in _SHA256.items():
        path = os.path.join(folder, name)
        try:
            with open(path, 'rb') as f:
                actual = hashlib.sha256(f.read()).hexdigest()
        except OSError as e:
            raise ValueError(
                f'cannot read the data file {path}: {e.strerror}; '
                'restore it from the repository') from e
        if actual != expected:
            raise ValueError(
                f'the data file {path} is damaged: its SHA-256 is {actual}, '
                f'not {expected}; restore it from the repository')
    before = chainer.dataset.get_dataset_root()
    chainer.dataset.set_dataset_root(root)
    try:
        return chainer.datasets.get_mnist()
    finally:
        chainer.dataset.set_dataset_root(before)
