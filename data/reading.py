"""How the files of a data set are read: the flags, and what is recorded."""
import argparse
import re
import typing

from system.command_line import integer, number
from system.errors import InputError

# Pixels of an image's side, at most: a picture is scaled down to no more.
_MAX_SIDE = 512

# Share of the test images, and seed of their choice, where none is given.
TEST_SHARE, SPLIT_SEED = .2, 0


class Reading(typing.NamedTuple):
    """How the files of a data set are read; ``None`` is not said.

    Attributes:
        transposed (bool or None): Rows and columns of images in IDX files
            change places.
        test_share (float or None): Share of each class's pictures that are
            held out to test with.
        split_seed (int or None): Seed of the choice of these.
        plain (bool or None): A picture is taken whole, not for a digit's;
            not recorded, for it is the preparation of a description.
        size (tuple of int or None): Height and width of images of plain
            pictures; not recorded, for it is the shape of a description.

    """

    transposed: typing.Optional[bool] = None
    test_share: typing.Optional[float] = None
    split_seed: typing.Optional[int] = None
    plain: typing.Optional[bool] = None
    size: typing.Optional[tuple] = None

    def to_json(self):
        """Returns a dictionary of what is recorded."""
        return {name: getattr(self, name) for name in _RECORDED
                if getattr(self, name) is not None}

    def refuse(self, names, why):
        """Raises an InputError for a flag that would do nothing.

        Args:
            names (sequence of str): Attributes that must be None.
            why (str): What is said after the flag.

        """
        for name in names:
            if getattr(self, name) is not None:
                raise InputError(f'--{name.replace("_", "-")} {why}')


# Nothing is said.
DEFAULT = Reading()

# The attributes, each a flag.
FLAGS = 'transposed', 'test_share', 'split_seed', 'plain', 'size'

# In a help text: says nothing, and keeps argparse from adding that the default
# is None.
_NO_DEFAULT = '%(default).0s'

# Flag's attribute: whether a value that a file holds may be one of it.
_RECORDED = {
    'transposed': lambda value: value is True,
    'test_share': lambda value: type(value) is float and 0 < value < 1,
    'split_seed': lambda value: type(value) is int and 0 <= value < 1 << 32,
}


def parse(value):
    """Returns what a file holds as a Reading, or None if it is none."""
    if not isinstance(value, dict) or not all(
            name in _RECORDED and _RECORDED[name](one)
            for name, one in value.items()):
        return None
    return Reading(**value)


def add_flags(parser):
    """Adds the flags that say which data set is read, and how."""
    add = parser.add_argument_group('the data').add_argument
    add('--data', '-d', metavar='PATH',
        help='data set in the place of the MNIST that comes with this '
             'project: a folder of IDX files, with a prefix such as '
             'FOLDER/emnist-letters where it holds several sets, or a folder '
             'of pictures, one subfolder for each class' + _NO_DEFAULT)
    add('--plain', action=argparse.BooleanOptionalAction,
        help='pictures of anything, each taken whole; by default they are '
             "prepared as those of digits, like MNIST's" + _NO_DEFAULT)
    add('--size', type=size, metavar='N',
        help='N or HEIGHTxWIDTH: pixels of an image made of a plain picture, '
             '28 by default' + _NO_DEFAULT)
    add('--transposed', action=argparse.BooleanOptionalAction,
        help='rows and columns of the images in IDX files change places, as '
             'those of EMNIST must' + _NO_DEFAULT)
    add('--test-share', type=number(.01, .99), metavar='SHARE',
        help=f"share of each class's pictures to test with, {TEST_SHARE} by "
             'default, where the folder has no folder test' + _NO_DEFAULT)
    add('--split-seed', type=integer(0, (1 << 32) - 1), metavar='N',
        help=f'seed of the choice of these, {SPLIT_SEED} by default'
             + _NO_DEFAULT)


def from_args(args):
    """Returns what the flags say, of arguments that have been parsed."""
    return Reading(*(getattr(args, name) for name in FLAGS))


def size(text):
    """Returns a size as (height, width), of one number or two: a type."""
    match = re.fullmatch(r'([0-9]{1,4})(?:[xX]([0-9]{1,4}))?', text)
    shape = match and tuple(int(n) for n in match.groups(match.group(1)))
    if not match or not all(1 <= n <= _MAX_SIDE for n in shape):
        raise argparse.ArgumentTypeError(
            f'must be N or HEIGHTxWIDTH, each from 1 to {_MAX_SIDE}, got '
            f'{text!r}')
    return shape
