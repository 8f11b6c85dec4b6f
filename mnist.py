import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer
from chainer import datasets

import mnist_files


def get_mnist(root=mnist_files.ROOT):
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
    for name in mnist_files.NAMES:
        mnist_files.check(name, root)
    before = chainer.dataset.get_dataset_root()
    chainer.dataset.set_dataset_root(root)
    try:
        return chainer.datasets.get_mnist()
    finally:
        chainer.dataset.set_dataset_root(before)


def symmetric(dataset):
    """Returns a data set of images in [0, 1] with its images in [-1, 1]."""
    x, t = dataset._datasets
    return datasets.TupleDataset(2 * x - 1, t)


def split(dataset, n):
    """Returns the first n examples of a data set of arrays, and the others."""
    parts = slice(n), slice(n, None)
    return [datasets.TupleDataset(*(array[part] for array in
                                    dataset._datasets)) for part in parts]
