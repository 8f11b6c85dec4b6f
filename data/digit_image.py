import io
import warnings

import numpy

from system.errors import InputError
from system.files import open_regular

# A picture's pixels, at most: those of a good telephone's photograph.
_MAX_PIXELS = 50_000_000

# Difference from the background, of 255, below which nothing is drawn.
_MIN_CONTRAST = 24

# Size of MNIST's field, and of the box in it that holds the digit.
_FIELD, _BOX = 28, 20


def read(path):
    """Reads a picture of a digit the way MNIST's were made.

    The picture may be of any size, grey or in colour, dark on light or light
    on dark. What differs from the colour of its edge is the digit: it is cut
    out, scaled to a box of 20 x 20 pixels with its proportions kept, and set
    into 28 x 28 black pixels, its centre of mass in the middle. A picture of
    28 x 28 pixels that is like this already stays as it is.

    Args:
        path (str): A picture that Pillow reads: PNG, JPEG, BMP, GIF, ...

    Returns:
        numpy.ndarray: uint8 pixels of shape (784,), the digit light on black.

    Raises:
        InputError: If the file is no picture, too large, or shows nothing;
            the message names it.

    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as e:
        raise InputError(
            'pictures need Pillow, which comes with Matplotlib: '
            'pip install pillow') from e
    with open_regular(path) as f:
        # In memory, where a chunk cannot claim more than there is.
        data = io.BytesIO(f.read())
    try:
        with warnings.catch_warnings():
            # About sizes: checked here, before a pixel is read.
            warnings.simplefilter('ignore')
            with Image.open(data) as image:
                width, height = image.size
                if width * height > _MAX_PIXELS:
                    raise Image.DecompressionBombError(
                        f'{width} x {height} pixels, at most '
                        f'{_MAX_PIXELS // 1000000} million are read')
                # A JPEG is decoded at a smaller scale where that is enough.
                image.draft('RGB', (512, 512))
                colours = _colours(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as e:
        raise InputError(f'{path} is no picture that Pillow can read') from e
    except Image.DecompressionBombError as e:
        raise InputError(f'{path} is too large: {e}') from e
    except Exception as e:  # Of every kind, where a file is damaged.
        raise InputError(f'the picture {path} is damaged: {e}') from e
    ink = _ink(colours)
    if ink is None:
        raise InputError(f'{path} shows no digit: all of it has one colour')
    return _into_field(ink)


def _colours(image):
    """Returns a picture as float32 of shape (height, width, channels)."""
    if image.mode in ('I', 'F') or image.mode.startswith('I;16'):
        # More than 8 bits: its own range is what counts.
        grey = numpy.asarray(image, numpy.float32)
        low, high = grey.min(), grey.max()
        return (grey - low)[..., None] * (255 / max(high - low, 1e-30))
    # Small enough, so that a photograph takes little time and memory.
    image.thumbnail((1024, 1024))
    rgba = numpy.asarray(image.convert('RGBA'), numpy.float32)
    rgb, alpha = rgba[..., :3], rgba[..., 3:] / 255
    if alpha.min() == 1:
        return rgb
    # Behind what is transparent lies white, or black if the rest is light.
    mean = (rgb * alpha).sum() / max(3 * alpha.sum(), 1e-30)
    return rgb * alpha + (255 if mean < 128 else 0) * (1 - alpha)


def _ink(colours):
    """Returns how far each pixel differs from the edge, from 0 to 255."""
    edge = numpy.concatenate(
        [colours[0], colours[-1], colours[:, 0], colours[:, -1]])
    background = numpy.median(edge, axis=0)
    ink = numpy.abs(colours - background).max(axis=2)
    top = ink.max()
    if top < _MIN_CONTRAST:
        return None
    # Paper's texture and a JPEG's noise are a small part of the contrast;
    # the darkest pixels of a stroke shall be white as MNIST's.
    noise = .1 * top if min(ink.shape) > _FIELD else 0
    return numpy.clip((ink - noise) * (255 / (top - noise)), 0, 255)


def _into_field(ink):
    rows, columns = (numpy.flatnonzero((ink > 64).any(axis=axis))
                     for axis in (1, 0))
    height, width = numpy.ptp(rows) + 1, numpy.ptp(columns) + 1
    if (ink.shape == (_FIELD, _FIELD) and max(height, width) <= _BOX
            and max(abs(c) for c in _off_centre(ink)) <= 1):
        return numpy.rint(ink).astype(numpy.uint8).reshape(-1)
    digit = ink[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    scale = _BOX / max(height, width)
    digit = _resize(digit, max(1, round(height * scale)),
                    max(1, round(width * scale)))
    digit *= 255 / digit.max()
    top, left = ((_FIELD - n) // 2 for n in digit.shape)
    field = numpy.zeros((_FIELD, _FIELD), numpy.float32)
    field[top:top + digit.shape[0], left:left + digit.shape[1]] = digit
    dy, dx = (-round(c) for c in _off_centre(field))
    # Not beyond the edge of the field.
    dy = min(max(dy, -top), _FIELD - top - digit.shape[0])
    dx = min(max(dx, -left), _FIELD - left - digit.shape[1])
    field = numpy.roll(field, (dy, dx), axis=(0, 1))
    return numpy.rint(field).astype(numpy.uint8).reshape(-1)


def _off_centre(field):
    """Returns how far below and right of the middle the mass's centre is."""
    total = field.sum()
    return [float((field.sum(axis=1 - axis) * numpy.arange(n)).sum() / total
                  - (n - 1) / 2) for axis, n in enumerate(field.shape)]


def _resize(grey, height, width):
    from PIL import Image
    image = Image.fromarray(numpy.ascontiguousarray(grey, numpy.float32))
    # Each pixel of the result is the mean of what it covers.
    resized = image.resize((width, height), Image.Resampling.BOX
                           if grey.shape[0] >= height
                           else Image.Resampling.BICUBIC)
    return numpy.clip(numpy.asarray(resized), 0, 255)
