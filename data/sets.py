"""A data set as the programs take it: MNIST, or the files in a folder."""
import functools
import hashlib

import numpy

from data import (
    description, idx, idx_names, mnist, picture_folder)
from data.reading import DEFAULT, FLAGS, Reading
from system.errors import InputError


class ImageSet:
    """Data set of images of one size.

    Args:
        train, test (tuple of numpy.ndarray): uint8 images of shape (N,
            pixels), and uint8 labels of shape (N,).
        description (Description): What the images are.

    Attributes:
        train, test, description: The same.

    """

    def __init__(self, train, test, description):
        self.train = train
        self.test = test
        self.description = description

    @property
    def parts(self):
        """The set to train with, and that to test with."""
        return self.train, self.test

    @property
    def shape(self):
        """Height and width of an image."""
        return self.description.shape

    @property
    def sizes(self):
        """Size of an image and the number of classes."""
        height, width = self.description.shape
        return height * width, len(self.description.classes)

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


class _Mnist(ImageSet):
    """MNIST, each part of which is read when it is asked for."""

    checksum = mnist.CHECKSUM

    def __init__(self):
        self.description = description.DIGITS

    @functools.cached_property
    def train(self):
        return mnist.read('train.npz')

    @functools.cached_property
    def test(self):
        return mnist.read('test.npz')


def read(path=None, how=DEFAULT, known=None, say=None):
    """Returns a data set.

    Args:
        path (str or None): Folder of IDX files, see
            :func:`data.idx_names.locate`, or of pictures, see
            :func:`data.picture_folder.read`; ``None``: MNIST, which lies in
            the project.
        how, known, say: See :func:`data.picture_folder.read`.

    Returns:
        ImageSet: Its images and labels.

    Raises:
        InputError: If a file is missing or damaged; the message names it.

    """
    if path is None:
        how.refuse(FLAGS, 'says how --data is read, which is not there')
        return _Mnist()
    place = idx_names.locate(path)
    if place:
        how.refuse(['size', 'test_share', 'split_seed'],
                   f'is for folders of pictures, {path} holds IDX files')
        return _read_idx(*place, how, known, say or (lambda line: None))
    if picture_folder.holds_folders(path):
        return ImageSet(*picture_folder.read(path, how, known, say))
    raise InputError(f'{path} holds neither IDX files, {idx.PARTS[0]}-images-'
                     'idx3-ubyte and so on, nor a folder of pictures for each '
                     'class')


def _read_idx(folder, prefix, how, known, say):
    train, test = idx.read_both(folder, prefix)
    transposed = how.transposed
    if transposed is None and known and known.reading.transposed:
        say('images are transposed, as those that the net was trained on')
        transposed = True
    elif transposed is None and prefix.startswith('emnist'):
        say("EMNIST's images lie on their sides, --transposed turns them")
    parts = []
    for images, labels in train, test:
        if transposed:
            images = numpy.ascontiguousarray(images.transpose(0, 2, 1))
        parts.append([images.reshape(len(images), -1), labels])
    shape = images.shape[1:]
    names = _name_classes(folder, prefix, parts)
    plain = how.plain
    if plain is None:
        plain = shape != description.DIGITS.shape
        if known and known.shape == shape:
            plain = known.preparation == 'plain'
    if not plain and shape != description.DIGITS.shape:
        raise InputError(f'--no-plain is for images of 28 x 28 pixels, those '
                         f'in {folder} have {shape[0]} x {shape[1]}')
    return ImageSet(*map(tuple, parts), description.Description(
        shape, names, 'plain' if plain else 'digit',
        reading=Reading(transposed=transposed or None)))


def _name_classes(folder, prefix, parts):
    """Returns the names of the classes, whose numbers now begin with 0.

    With a prefix, labels without a name, or those below the first one where
    no names are given, get no class: EMNIST's letters begin with label 1.
    """
    names = idx_names.read_mapping(folder, prefix)
    if names is None:
        lowest, largest = (int(n) for n in (
            parts[0][1].min(), parts[0][1].max()))
        first = min(lowest, 1) if prefix else 0
        names = {n: str(n) for n in range(first, largest + 1)}
    order = sorted(names)
    for part in parts:
        unknown = sorted(set(numpy.unique(part[1]).tolist()) - names.keys())
        if unknown:
            raise InputError(f'the images in {folder} have the label '
                             f'{unknown[0]}, which is none of the classes '
                             f'{prefix} has names for or is trained with')
        part[1] = numpy.searchsorted(order, part[1]).astype(numpy.uint8)
    if len(order) < 2:
        raise InputError(f'{folder} has one class, two are the least')
    return tuple(names[label] for label in order)
