import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer
from chainer import datasets
import numpy

from data import idx
from data import mnist


def get_mnist(root=mnist.ROOT):
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
    for name in mnist.NAMES:
        mnist.check(name, root)
    before = chainer.dataset.get_dataset_root()
    chainer.dataset.set_dataset_root(root)
    try:
        return chainer.datasets.get_mnist()
    finally:
        chainer.dataset.set_dataset_root(before)


def get_idx(folder):
    """Returns a data set in MNIST's format, in the form of :func:`get_mnist`.

    Args:
        folder (str): Folder of the four IDX files, see :func:`data.idx.read`.

    Returns:
        tuple: Training set and test set, see :func:`get_mnist`; an image has
        as many pixels as the files say.

    Raises:
        ValueError: See :func:`data.idx.read_both`.

    """
    return tuple(_preprocess(*part) for part in idx.read_both(folder))


def _preprocess(images, labels):
    # As chainer.datasets.get_mnist does it, to the last bit.
    x = images.reshape(len(images), -1).astype(numpy.float32)
    x *= 1 / 255
    return datasets.TupleDataset(x, labels.astype(numpy.int32))


def sizes(*parts):
    """Returns the size of an image and the number of classes of a data set.

    Args:
        parts (~chainer.datasets.TupleDataset): Its parts, of
            :func:`get_mnist` or :func:`get_idx`.

    Returns:
        tuple of int: Pixels of an image, and the largest label plus 1.

    """
    arrays = [part._datasets for part in parts]
    return arrays[0][0].shape[1], 1 + max(int(t.max()) for _, t in arrays)


def symmetric(dataset):
    """Returns a data set of images in [0, 1] with its images in [-1, 1]."""
    x, t = dataset._datasets
    return datasets.TupleDataset(2 * x - 1, t)


def split(dataset, n):
    """Returns the first n examples of a data set of arrays, and the others."""
    parts = slice(n), slice(n, None)
    return [datasets.TupleDataset(*(array[part] for array in
                                    dataset._datasets)) for part in parts]
