"""A data set that is a folder of pictures, one subfolder for each class."""
import hashlib
import os
import typing
import unicodedata

import numpy

from data import description, digit_image, picture, plain_image, reading
from system.errors import InputError
from system.files import list_folder, read_regular

# Names, in lower case, of folders of the pictures to train and to test with,
# those to test with in the order of choice.
_TRAIN = 'train', 'training'
_TEST = 'test', 'testing', 'val', 'valid', 'validation'

# What systems leave in folders; names that begin with a dot are hidden.
_LEFT_BY_SYSTEMS = 'thumbs.db', 'desktop.ini', '__macosx'

_MAX_CLASSES = 256  # A label is a byte.


class _Picture(typing.NamedTuple):
    key: bytes  # See _key
    label: int
    path: str


def holds_folders(folder):
    """Tells whether a folder may be a data set: it holds others."""
    return any(os.path.isdir(path) for _, path in _visible(folder))


def find(folder, others=None):
    """Returns the paths of all pictures in a folder and the folders in it.

    Args:
        folder (str): The folder. What is hidden, and what systems leave, is
            passed over.
        others (list): Gets the paths of the other files.

    Returns:
        list of str: The paths, in the order of their names, those in a folder
        after those beside it. Pictures are told by the ends of their names.

    Raises:
        InputError: If a folder cannot be read.

    """
    paths, left = [], [folder]
    while left:
        folders = []
        for _, path in _visible(left.pop()):
            if os.path.isdir(path):
                # A link to a folder may lead round in a circle.
                if not os.path.islink(path):
                    folders.append(path)
            elif picture.has_its_ending(path):
                paths.append(path)
            elif others is not None:
                others.append(path)
        left += reversed(folders)
    return paths


def read(folder, how, known=None, say=None):
    """Returns a data set of pictures.

    The folder has a subfolder for each class in folders ``train`` and
    ``test``, or in itself; then a share of the pictures of each class is held
    out to test with. Which ones depends on the contents of the files and on
    the seed alone, not on their names or order, and copies of a picture stay
    together. The images of all classes are mixed, by the contents as well.

    Args:
        folder (str): The folder.
        how (Reading): How it is read.
        known (Description or None): What a trained net knows of its images;
            what ``how`` does not say is as it was then.
        say (callable): Called with lines about what is done; by default
            nothing is.

    Returns:
        tuple: ``(images, labels)`` of the training set and of the test set,
        uint8 of shapes (N, pixels) and (N,), and the description.

    Raises:
        InputError: If there are no pictures, or a file cannot be used; the
            message names it.

    """
    picture.check_pillow()
    how.refuse(['transposed'], f'is for IDX files, {folder} holds none')
    say = say or (lambda line: None)
    others = []
    parts = _parts(folder, others)
    split = reading.Reading()
    if 'test' in parts:
        how.refuse(['test_share', 'split_seed'],
                   f'would do nothing: {folder} has pictures to test with')
    else:
        split = _split_of(how, known)
    names = _names(parts['train'])
    pictures = {part: _pictures(part, folders, names, split.split_seed or 0,
                                others)
                for part, folders in parts.items()}
    if others:
        more = f' and {len(others) - 1:,} more' if others[1:] else ''
        say(f'passed over {others[0]}{more}: not named as pictures are')
    say(f'reading {sum(map(len, pictures.values())):,} pictures in {folder}')
    if 'test' not in parts:
        pictures = _split(pictures['train'], names, split.test_share)
        say('{:,} of them to train with, {:,} to test with: --test-share {}, '
            '--split-seed {}'.format(
                *(len(pictures[part]) for part in ('train', 'test')),
                split.test_share, split.split_seed))
    before = known if known and known.preparation == 'plain' else None
    plain = bool(before) if how.plain is None else how.plain
    if not plain:
        how.refuse(['size'], 'is for --plain: a digit has 28 x 28 pixels')
    shape, background = description.DIGITS.shape, 0
    if plain:
        if how.size or before:
            shape = how.size or before.shape
        read_parts, background = _read_plain(pictures, shape, before)
    else:
        read_parts = {part: [_read_digit(one.path) for one in members]
                      for part, members in pictures.items()}
    train, test = ((numpy.stack(read_parts[part]),
                    numpy.array([one.label for one in pictures[part]],
                                numpy.uint8)) for part in ('train', 'test'))
    return train, test, description.Description(
        shape, tuple(names), 'plain' if plain else 'digit', background, split)


def _visible(folder):
    """Returns names and paths in a folder, sorted, without what is hidden."""
    return [(name, os.path.join(folder, name))
            for name in sorted(list_folder(folder))
            if not name.startswith('.')
            and name.lower() not in _LEFT_BY_SYSTEMS]


def _parts(folder, others):
    """Returns the folders of classes, a dictionary for each of the parts."""
    inside = dict(_subfolders(folder, others))
    train, test = ([name for known in allowed for name in inside
                    if name.lower() == known]
                   for allowed in (_TRAIN, _TEST))
    if not (train and test):
        if train and list(inside) == train:
            raise InputError(f'{folder} holds {train[0]}, but no folder test '
                             'or val beside it')
        return {'train': _by_class(folder, inside)}
    for names in train, [name for name in test
                         if name.lower() == test[0].lower()]:
        if names[1:]:
            raise InputError(f'{folder} holds {" and ".join(names)}: one of '
                             'them is enough')
    return {part: _by_class(inside[name],
                            dict(_subfolders(inside[name], others)))
            for part, name in (('train', train[0]), ('test', test[0]))}


def _subfolders(folder, others):
    """Yields names and paths of the folders in a folder."""
    for name, path in _visible(folder):
        if os.path.isdir(path):
            yield name, path
        else:
            others.append(path)


def _by_class(folder, inside):
    """Returns the paths of folders by the names of their classes."""
    if not inside:
        raise InputError(f'{folder} holds no folders of classes')
    by_class = {}
    for name, path in inside.items():
        # Another system may write the same letter in another way.
        name = unicodedata.normalize('NFC', name)
        if not description.is_name(name):
            raise InputError(f'the name of {path} is none for a class: it is '
                             'not text, or longer than 200 letters')
        if name in by_class:
            raise InputError(f'{path} and {by_class[name]} have the same name')
        by_class[name] = path
    return by_class


def _names(folders):
    """Returns the names of classes in their order: numbers by their value."""
    folder = os.path.dirname(next(iter(folders.values())))
    if len(folders) < 2:
        raise InputError(f'{folder} holds one class, {next(iter(folders))}: '
                         'two are the least')
    if len(folders) > _MAX_CLASSES:
        raise InputError(f'{folder} holds {len(folders)} classes, '
                         f'{_MAX_CLASSES} are the most')
    if all(name.isascii() and name.isdigit() for name in folders):
        return sorted(folders, key=lambda name: (
            len(name.lstrip('0')), name.lstrip('0'), name))
    return sorted(folders)


def _pictures(part, folders, names, seed, others):
    """Returns the pictures of a part, in the order of their keys."""
    pictures = []
    for name, folder in folders.items():
        if name not in names:
            raise InputError(f'{folder} is a class to test with, but not to '
                             'train with')
        label = names.index(name)
        paths = find(folder, others)
        if not paths and part == 'train':
            raise InputError(f'{folder} holds no pictures')
        pictures += (_Picture(_key(path, seed), label, path)
                     for path in paths)
    if not pictures:
        raise InputError(f'{os.path.dirname(folder)} holds no pictures')
    return sorted(pictures)


def _key(path, seed):
    """Returns bytes that depend on the contents of a file, and a seed."""
    sha256 = hashlib.sha256(b'%d\n' % seed)
    sha256.update(read_regular(path))
    return sha256.digest()


def _split_of(how, known):
    """Returns share and seed of a split: of the flags, or as it was then."""
    before = known.reading if known else reading.Reading()
    values = []
    for name, default in (('test_share', reading.TEST_SHARE),
                          ('split_seed', reading.SPLIT_SEED)):
        given = (getattr(how, name), getattr(before, name), default)
        values.append(next(one for one in given if one is not None))
    return reading.Reading(test_share=values[0], split_seed=values[1])


def _split(pictures, names, share):
    """Returns pictures to train and to test with, a share of each class."""
    train, test = [], []
    for label, name in enumerate(names):
        own = [one for one in pictures if one.label == label]
        keys = sorted({one.key for one in own})
        if len(keys) < 2:
            folder = os.path.dirname(own[0].path)
            raise InputError(f'{folder} holds one picture, of which there may '
                             f'be copies, of the class {name}: two are the '
                             'least, one to train and one to test with')
        n = min(max(1, round(share * len(keys))), len(keys) - 1)
        for one in own:
            (test if one.key <= keys[n - 1] else train).append(one)
    return {'train': sorted(train), 'test': sorted(test)}


def _read_digit(path):
    try:
        return digit_image.read(path)
    except digit_image.NoDigitError as e:
        raise InputError(f'{e}; pictures of other things than digits and '
                         'letters need --plain') from e


def _read_plain(pictures, shape, before):
    """Returns images by part, and the background that is one for them all."""
    contents = {part: [plain_image.shrink(one.path, shape)
                       for one in members]
                for part, members in pictures.items()}
    background = before.background if before else round(float(
        numpy.median([edge for _, edge in contents['train']])))
    return {part: [plain_image.place(grey, shape, background)
                   for grey, _ in members]
            for part, members in contents.items()}, background
