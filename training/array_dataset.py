import chainer_compat
from chainer import datasets
import numpy

from data import sets
from system.errors import InputError


class ArrayDataset(datasets.TupleDataset):
    """Dataset whose examples are the rows of arrays, e.g. (image, label).

    A :class:`chainer.datasets.TupleDataset` made of arrays alone, where
    Chainer's takes any sequences, so that all rows can be taken, sent and
    computed with at once.

    Args:
        arrays (:ref:`ndarray`): Arrays of one length.

    Raises:
        TypeError: If one of them is no array.
        ValueError: If there are none, or their lengths differ.

    Attributes:
        arrays (tuple of :ref:`ndarray`): The same.

    .. admonition:: Example

        >>> import numpy as np
        >>> from training.array_dataset import ArrayDataset
        >>> dataset = ArrayDataset(np.arange(3) / 2, np.arange(3))
        >>> [float(x) for x, t in dataset]
        [0.0, 0.5, 1.0]
        >>> dataset.take(slice(2)).arrays[1]
        array([0, 1])

    """

    def __init__(self, *arrays):
        for array in arrays:
            if not hasattr(array, 'dtype'):
                raise TypeError('an ArrayDataset is made of arrays, '
                                f'got {type(array).__name__}')
        super().__init__(*arrays)
        self.arrays = arrays

    def take(self, rows):
        """Returns the dataset of some rows, a slice or an array of indices."""
        return ArrayDataset(*(array[rows] for array in self.arrays))

    def send(self, device):
        """Returns the same dataset with its arrays on a Chainer device."""
        return ArrayDataset(*device.send(self.arrays))


def get_mnist():
    """Returns the MNIST data that lies in the project.

    The examples of :func:`chainer.datasets.get_mnist` with its default
    arguments, of which it takes none, bit for bit and without the download.

    Returns:
        tuple of ArrayDataset: Training set and test set; see
        :func:`from_images`.

    Raises:
        InputError: If a file is missing or damaged; the message names it.

    """
    return tuple(from_images(*part) for part in sets.read().parts)


def from_images(images, labels):
    """Returns a dataset of images as a network is trained on them.

    Args:
        images (numpy.ndarray): uint8 pixels of shape (N, pixels).
        labels (numpy.ndarray): uint8 labels of shape (N,).

    Returns:
        ArrayDataset: The images, float32 of the same shape in [0, 1], and the
        labels, int32.

    """
    # As chainer.datasets.get_mnist does it, to the last bit.
    x = images.astype(numpy.float32)
    x *= 1 / 255
    return ArrayDataset(x, labels.astype(numpy.int32))


def symmetric(dataset):
    """Returns a data set of images in [0, 1] with its images in [-1, 1]."""
    x, t = dataset.arrays
    return ArrayDataset(2 * x - 1, t)


def split(dataset, n):
    """Returns the first n examples of a data set, and the others."""
    return dataset.take(slice(n)), dataset.take(slice(n, None))


def for_run(args, image_set):
    """Returns a data set as a run takes it: to train, and to evaluate on.

    Args:
        args (argparse.Namespace): The arguments of train_mnist.py.
        image_set (~data.sets.ImageSet): The data set.

    Returns:
        tuple: The training set, and a dictionary of the sets to evaluate on:
        ``validation`` is the last part of the training images or, where none
        are held out, the test images; else these are ``test``.

    Raises:
        InputError: If the training images are too few for the arguments.

    """
    train, test = (from_images(*p) for p in image_set.parts)
    n = len(train) - args.validation
    if n < 1:
        raise InputError(f'--validation must be less than {len(train)}, the '
                         f'number of images, got {args.validation}')
    if args.batchsize > n:
        raise InputError(f'--batchsize must be at most {n}, the number of '
                         f'images, got {args.batchsize}')
    if args.input_range == 'symmetric':
        train, test = map(symmetric, (train, test))
    if not args.validation:
        return train, {'validation': test}
    train, held_out = split(train, n)
    return train, {'validation': held_out, 'test': test}
