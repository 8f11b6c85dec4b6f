"""A data set as the programs take it: MNIST, or the files in a folder."""
import functools
import hashlib
import typing

import numpy

from data import description, idx, mnist


class _Parts(typing.NamedTuple):
    train: tuple
    test: tuple
    description: description.Description


class ImageSet(_Parts):
    """Data set of images of one size.

    Attributes:
        train, test (tuple of numpy.ndarray): uint8 images of shape (N,
            pixels), and uint8 labels of shape (N,).
        description (Description): What the images are.

    """

    @property
    def sizes(self):
        """Size of an image and the number of classes."""
        return self.train[0].shape[1], len(self.description.classes)

    @functools.cached_property
    def checksum(self):
        """Letters that tell the training set from any other one."""
        sha256 = hashlib.sha256()
        for array in self.train:
            sha256.update(str(array.shape).encode())
            sha256.update(numpy.ascontiguousarray(array))
        return sha256.hexdigest()[:12]

    @property
    def settings(self):
        """What a snapshot says of the data that its net was trained on."""
        return {'training_set': self.checksum,
                'images': self.description.to_json()}


def read(folder=None):
    """Returns a data set.

    Args:
        folder (str or None): Folder of the four IDX files, see
            :func:`data.idx.read_both`; ``None``: MNIST, which lies in the
            project.

    Returns:
        ImageSet: Its images and labels.

    Raises:
        InputError: If a file is missing or damaged; the message names it.

    """
    if folder is None:
        return ImageSet(*map(mnist.read, mnist.NAMES), description.DIGITS)
    train, test = idx.read_both(folder)
    n_classes = 1 + int(train[1].max())
    return ImageSet(
        *((images.reshape(len(images), -1), labels)
          for images, labels in (train, test)),
        description.numbered(train[0].shape[1:], n_classes))
