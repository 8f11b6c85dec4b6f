import io
import warnings

import numpy

from data import digit_finder
from system.errors import InputError
from system.files import open_regular

# A picture's pixels, at most: those of a good telephone's photograph.
_MAX_PIXELS = 50_000_000

# Longer side of the picture that the digit is looked for in.
_SIDE = 512

# Size of MNIST's field, and of the box in it that holds the digit.
_FIELD, _BOX = 28, 20

# Ink, of 255, above which a pixel lies in the digit's box.
_IN_BOX = 64


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
                image.draft('RGB', (_SIDE, _SIDE))
                colours = _colours(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as e:
        raise InputError(f'{path} is no picture that Pillow can read') from e
    except Image.DecompressionBombError as e:
        raise InputError(f'{path} is too large: {e}') from e
    except Exception as e:  # Of every kind, where a file is damaged.
        raise InputError(f'the picture {path} is damaged: {e}') from e
    if colours is None:
        raise InputError(f'the picture {path} has pixels that are infinite '
                         'or no numbers')
    field = _as_mnists(colours)
    if field is None:
        digit = digit_finder.find(colours)
        if digit is None:
            raise InputError(f'{path} shows no digit: nothing in it differs '
                             'enough from the background')
        if warn and digit.doubts:
            warn(f'{path} is doubtful: {"; ".join(digit.doubts)}')
        field = _into_field(digit.ink)
    return numpy.rint(field).astype(numpy.uint8).reshape(-1)


def _colours(image):
    """Returns a picture as float32 of shape (height, width, channels).

    It is scaled down to what is needed. ``None`` says that there are pixels
    that are no finite numbers.
    """
    from PIL import Image
    if image.mode in ('I', 'F') or image.mode.startswith('I;16'):
        # More than 8 bits: its own range is what counts.
        grey = numpy.asarray(image, numpy.float64)
        if not numpy.isfinite(grey).all():
            return None
        low, high = grey.min(), grey.max()
        grey = (grey - low) * (255 / max(high - low, 1e-30))
        image = Image.fromarray(grey.astype(numpy.float32))
        image.thumbnail((_SIDE, _SIDE))
        return numpy.clip(numpy.asarray(image), 0, 255)[..., None]
    if image.mode not in ('L', 'RGB'):
        image = image.convert('L' if image.mode == '1' else 'RGBA')
    image.thumbnail((_SIDE, _SIDE))
    pixels = numpy.asarray(image, numpy.float32)
    if image.mode != 'RGBA':
        return pixels.reshape(*pixels.shape[:2], -1)
    rgb, alpha = pixels[..., :3], pixels[..., 3:] / 255
    # Behind what is transparent lies white, or black if the rest is light.
    mean = (rgb * alpha).sum() / max(3 * alpha.sum(), 1e-30)
    return rgb * alpha + (255 if mean < 128 else 0) * (1 - alpha)


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
    return numpy.roll(field, (dy, dx), axis=(0, 1))


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
