import numpy

from data import digit_finder, picture
from system.errors import InputError

# Size of MNIST's field, and of the box in it that holds the digit.
_FIELD, _BOX = 28, 20

# Ink, of 255, above which a pixel lies in the digit's box.
_IN_BOX = 64


class NoDigitError(InputError):
    """Error for a picture that shows nothing."""


def read(path, warn=None):
    """Reads a picture of a digit the way MNIST's were made.

    The picture may be of any size, grey or in colour, dark on light or light
    on dark. :mod:`data.digit_finder` says which of it is the digit: that is
    cut out, scaled to a box of 20 x 20 pixels with its proportions kept, and
    set into 28 x 28 black pixels, its centre of mass in the middle. A picture
    of 28 x 28 pixels that is like this already stays as it is.

    Args:
        path (str): A picture that Pillow reads: PNG, JPEG, BMP, GIF, ...
        warn (callable): Called with one line, which names the file, if it is
            doubtful that this is the digit; by default nothing is.

    Returns:
        numpy.ndarray: uint8 pixels of shape (784,), the digit light on black.

    Raises:
        InputError: If the file is no picture or too large; the message names
            it.
        NoDigitError: If it shows nothing.

    """
    colours = picture.read(path)
    field = _as_mnists(colours)
    if field is None:
        digit = digit_finder.find(colours)
        if digit is None:
            raise NoDigitError(f'{path} shows no digit: nothing in it '
                               'differs enough from the background')
        if warn and digit.doubts:
            warn(f'{path} is doubtful: {"; ".join(digit.doubts)}')
        field = _into_field(digit.ink)
    return numpy.rint(field).astype(numpy.uint8).reshape(-1)


def _as_mnists(colours):
    """Returns the field of a picture that is made as MNIST's are, or None."""
    if colours.shape[:2] != (_FIELD, _FIELD):
        return None
    edge = numpy.concatenate(
        [colours[0], colours[-1], colours[:, 0], colours[:, -1]])
    ink = abs(colours - numpy.median(edge, axis=0)).max(axis=2)
    if ink.max() < digit_finder.MIN_CONTRAST:
        return None
    ink *= 255 / ink.max()
    _, height, _, width = _box(ink)
    if max(height, width) <= _BOX and max(map(abs, _off_centre(ink))) <= 1:
        return ink
    return None


def _box(ink):
    """Returns the digit's first row, height, first column and width."""
    rows, columns = (numpy.flatnonzero((ink > _IN_BOX).any(axis=axis))
                     for axis in (1, 0))
    return (rows[0], rows[-1] - rows[0] + 1,
            columns[0], columns[-1] - columns[0] + 1)


def _into_field(ink):
    """Returns ink as MNIST's field: of its size, in its place."""
    top, height, left, width = _box(ink)
    digit = ink[top:top + height, left:left + width]
    scale = _BOX / max(height, width)
    digit = picture.resize(digit, max(1, round(height * scale)),
                           max(1, round(width * scale)))
    digit *= 255 / digit.max()
    top, left = ((_FIELD - n) // 2 for n in digit.shape)
    field = numpy.zeros((_FIELD, _FIELD), numpy.float32)
    field[top:top + digit.shape[0], left:left + digit.shape[1]] = digit
    dy, dx = (-round(c) for c in _off_centre(field))
    # Not beyond the edge of the field.
    dy = min(max(dy, -top), _FIELD - top - digit.shape[0])
    dx = min(max(dx, -left), _FIELD - left - digit.shape[1])
    return numpy.roll(field, (dy, dx), axis=(0, 1))


def _off_centre(field):
    """Returns how far below and right of the middle the mass's centre is."""
    total = field.sum()
    return [float((field.sum(axis=1 - axis) * numpy.arange(n)).sum() / total
                  - (n - 1) / 2) for axis, n in enumerate(field.shape)]
