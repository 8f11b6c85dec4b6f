"""A data set as the programs take it: MNIST, or the files in a folder."""
import collections
import functools
import hashlib

import numpy

from data import idx, mnist


class ImageSet(collections.namedtuple('ImageSet', 'train test')):
    """Data set of images of one size.

    Attributes:
        train, test (tuple of numpy.ndarray): uint8 images of shape (N,
            pixels), and uint8 labels of shape (N,).

    """

    @property
    def sizes(self):
        """Size of an image and the number of classes."""
        labels = self.train[1], self.test[1]
        return self.train[0].shape[1], 1 + max(int(t.max()) for t in labels)

    @functools.cached_property
    def checksum(self):
        """Letters that tell the training set from any other one."""
        sha256 = hashlib.sha256()
        for array in self.train:
            sha256.update(str(array.shape).encode())
            sha256.update(numpy.ascontiguousarray(array))
        return sha256.hexdigest()[:12]


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
        return ImageSet(*map(mnist.read, mnist.NAMES))
    return ImageSet(*((images.reshape(len(images), -1), labels)
                      for images, labels in idx.read_both(folder)))
