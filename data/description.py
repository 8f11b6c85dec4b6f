"""What the images of a data set are, as a net that was trained on them knows.

It lies as JSON in snapshots (``images`` of the settings) and in the packed
file.
"""
import typing

from data.reading import Reading, parse as parse_reading
from system.errors import InputError

# How a picture becomes an image: see data.digit_image and data.plain_image.
PREPARATIONS = 'digit', 'plain'

_MAX_SIDE, _MAX_CLASSES, _MAX_NAME = 1 << 15, 1 << 16, 200


class Description(typing.NamedTuple):
    """Size of images, names of classes, and how pictures become such images.

    Attributes:
        shape (tuple of int): Height and width.
        classes (tuple of str): Name of each class.
        preparation (str): ``digit``: a digit is looked for in a picture, see
            :func:`data.digit_image.read`; ``plain``: all of it counts, see
            :func:`data.plain_image.read`.
        background (int): Grey level behind what plain pictures show, of them
            all; where it is light, more than 127, an image is the picture
            with its levels turned round.
        reading (Reading): How the files of the data set were read, where
            that is not the default.

    """

    shape: tuple
    classes: tuple
    preparation: str
    background: int = 0
    reading: Reading = Reading()

    def to_json(self):
        """Returns a dictionary of lists, strings and numbers."""
        value = {'shape': list(self.shape), 'classes': list(self.classes),
                 'preparation': self.preparation}
        # As older versions have it, where they could have had it.
        if self.background:
            value['background'] = self.background
        if self.reading != Reading():
            value['reading'] = self.reading.to_json()
        return value


# Of MNIST.
DIGITS = Description((28, 28), tuple('0123456789'), 'digit')


def numbered(shape, n_classes):
    """Returns the description of a data set whose classes have no names.

    Args:
        shape (tuple of int): Height and width.
        n_classes (int): Number of classes.

    """
    return Description(
        tuple(shape), tuple(map(str, range(n_classes))),
        'digit' if tuple(shape) == DIGITS.shape else 'plain')


def unknown(n_in, n_out):
    """Returns the description for a net whose file has none.

    Images are square where they can be, and one row where they can't.
    """
    side = round(n_in ** .5)
    shape = (side, side) if side * side == n_in else (1, n_in)
    return numbered(shape, n_out)


def parse(value, n_in, n_out):
    """Returns a description that a file holds, checked.

    Args:
        value: What :meth:`Description.to_json` has returned, or ``None``
            where the file is older than descriptions.
        n_in (int or None): Size of an input vector; ``None``: that of any
            image.
        n_out (int): Number of classes.

    Raises:
        InputError: If it is none, or one of another net.

    """
    if value is None and n_in is not None:
        return unknown(n_in, n_out)
    if not isinstance(value, dict):
        raise InputError('images: no dictionary')
    shape, classes = value.get('shape'), value.get('classes')
    if not (isinstance(shape, list) and len(shape) == 2
            and all(type(n) is int and 1 <= n <= _MAX_SIDE for n in shape)
            and n_in in (None, shape[0] * shape[1])):
        raise InputError(f'images: shape is {_short(shape)}, the net takes '
                         + ('an image' if n_in is None else f'{n_in} pixels'))
    if not (isinstance(classes, list) and len(classes) == n_out
            and all(map(is_name, classes))
            and len(set(classes)) == n_out):
        raise InputError(f'images: classes are {_short(classes)}, not '
                         f'{n_out} names')
    preparation = value.get('preparation')
    if preparation not in PREPARATIONS:
        raise InputError(f'images: preparation is {_short(preparation)}')
    if preparation == 'digit' and tuple(shape) != DIGITS.shape:
        raise InputError('images: preparation is that of digits of 28 x 28 '
                         f'pixels, shape is {_short(shape)}')
    background = value.get('background', 0)
    if type(background) is not int or not 0 <= background <= 255:
        raise InputError(f'images: background is {_short(background)}')
    how = parse_reading(value.get('reading', {}))
    if how is None:
        raise InputError(f'images: reading is {_short(value["reading"])}')
    return Description(
        tuple(shape), tuple(classes), preparation, background, how)


def is_name(value):
    """Tells whether a value may be the name of a class."""
    return (isinstance(value, str) and 0 < len(value) <= _MAX_NAME
            and value.isprintable())


def _short(value):
    text = repr(value)
    return text if len(text) < 60 else text[:60] + '...'
