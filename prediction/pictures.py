"""What a net says of pictures: found, classified and printed, a few a time."""
import csv
import json
import os
import sys

import numpy

from data import picture_folder, preparation
from system.errors import InputError

FORMATS = 'text', 'json', 'csv'

# Pictures that are classified together: so many are waited for.
_BATCHSIZE = 64

# Letters of a name that others are aligned with, at most.
_MAX_WIDTH = 20


def find(paths, say):
    """Returns the pictures that files and folders are.

    Args:
        paths (sequence of str): Files, and folders whose pictures, and those
            in the folders in them, are meant.
        say (callable): Called with a line about each folder that is none.

    Returns:
        tuple: A list of the paths of files, and the number of the folders
        that were said.

    """
    found, n_bad = [], 0
    for path in paths:
        if not os.path.isdir(path):
            found.append(path)
            continue
        try:
            inside = picture_folder.find(path)
            if not inside:
                raise InputError(f'{path} holds no pictures')
            found += inside
        except InputError as e:
            say(e)
            n_bad += 1
    return found, n_bad


def classify(paths, images, probabilities, write, say, warn):
    """Classifies pictures and writes the results, going on past bad ones.

    Args:
        paths (sequence of str): Files.
        images (Description): What the net takes.
        probabilities (callable): Takes uint8 pixels of shape (N, inputs) and
            returns an array of shape (N, classes).
        write (callable): Takes a path and an array of shape (classes,).
        say (callable): Called with a line about each picture that is none.
        warn (callable): Called with lines about what is doubtful.

    Returns:
        int: Number of pictures that could not be read.

    """
    n_bad = 0
    for i in range(0, len(paths), _BATCHSIZE):
        names, pixels = [], []
        for path in paths[i:i + _BATCHSIZE]:
            try:
                pixels.append(preparation.read(path, images, warn))
                names.append(path)
            except InputError as e:
                say(e)
                n_bad += 1
        if names:
            for path, p in zip(names, probabilities(numpy.stack(pixels))):
                write(path, p)
            sys.stdout.flush()
    return n_bad


class _Text:
    """Lines for people: the most probable class, and the next one."""

    def __init__(self, paths, names):
        self._width = max(map(len, paths), default=0)
        self._name_width = min(_MAX_WIDTH, max(map(len, names)))
        self._names = names

    def __call__(self, path, p):
        first, *others = numpy.argsort(-p, kind='stable')[:2]
        line = (f'{path:{self._width}}  '
                f'{self._names[first]:{self._name_width}}  '
                f'{100 * p[first]:5.1f} %')
        for second in others:
            line += (f'   (then {self._names[second]}, '
                     f'{100 * p[second]:.1f} %)')
        print(line)

    def end(self):
        pass


class _Json:
    """An array of objects, each on a line of its own, in ASCII."""

    def __init__(self, paths, names):
        self._names = names
        self._before = '['

    def __call__(self, path, p):
        best = int(p.argmax())
        text = json.dumps({
            'file': _as_text(path), 'class': best, 'name': self._names[best],
            'probabilities': dict(zip(self._names, map(_shortest, p)))})
        print(f'{self._before}\n{text}', end='')
        self._before = ','

    def end(self):
        print('[]' if self._before == '[' else '\n]')


class _Csv:
    """A table with a column for the probability of each class."""

    def __init__(self, paths, names):
        self._names = names
        self._writer = csv.writer(sys.stdout, lineterminator='\n')
        self._writer.writerow(['file', 'class', 'name', *(
            f'probability of {name}' for name in names)])

    def __call__(self, path, p):
        best = int(p.argmax())
        self._writer.writerow([_as_text(path), best, self._names[best],
                               *map(_shortest, p)])

    def end(self):
        pass


def writer(kind, paths, names):
    """Returns what prints results in one of the formats.

    Args:
        kind (str): One of ``FORMATS``.
        paths (sequence of str): All pictures that there may be results of.
        names (sequence of str): Names of the classes.

    Returns:
        callable: Takes a path and an array of probabilities; its method
        ``end`` is called after the last one.

    """
    return {'text': _Text, 'json': _Json, 'csv': _Csv}[kind](paths, names)


def _as_text(path):
    r"""Returns a file's name as text; bytes that are none as ``\xff``."""
    return os.fspath(path).encode('utf-8', 'surrogateescape').decode(
        'utf-8', 'backslashreplace')


def _shortest(p):
    """Returns a float32 as the float with its shortest digits."""
    return float(str(p))
