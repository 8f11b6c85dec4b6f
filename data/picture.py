import io
import warnings

import numpy

from system.command_line import needed
from system.errors import InputError
from system.files import read_regular

# Pixels at most: those of a good telephone's photograph.
_MAX_PIXELS = 50_000_000

# Longer side of what is made of a picture, in pixels.
_SIDE = 512

# Endings of names of pictures, some that Pillow cannot read among them: such
# a file is named rather than passed over.
_ENDINGS = (
    '.avif', '.bmp', '.dib', '.gif', '.heic', '.heif', '.jfif', '.jp2', '.jpe',
    '.jpeg', '.jpg', '.pbm', '.pcx', '.pgm', '.png', '.pnm', '.ppm', '.tga',
    '.tif', '.tiff', '.webp')


def has_its_ending(path):
    """Tells whether a file's name ends as that of a picture does."""
    return path.lower().endswith(_ENDINGS)


def check_pillow():
    """Raises an InputError where there is no Pillow that works."""
    with needed('PIL.Image', 'pictures need Pillow, which comes with '
                'Matplotlib', 'pillow'):
        import PIL.Image  # noqa: F401


def read(path, side=_SIDE):
    """Returns the colours of a picture, turned as its EXIF data say.

    Behind what is transparent lies white, or black if the rest is light.

    Args:
        path (str): A picture that Pillow reads: PNG, JPEG, BMP, GIF, ...
        side (int): Pixels of the longer side, to which a larger picture is
            scaled down.

    Returns:
        numpy.ndarray: float32 array of shape (height, width, channels), 1
        channel or 3, in [0, 255]. Where a channel has more than 8 bits, the
        range of the picture is scaled to [0, 255].

    Raises:
        InputError: If the file is no picture, damaged or too large; the
            message names it.

    """
    check_pillow()
    from PIL import Image, ImageOps, UnidentifiedImageError
    # In memory, where a chunk cannot claim more than there is.
    data = io.BytesIO(read_regular(path))
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
                image.draft('RGB', (side, side))
                colours = _colours(
                    ImageOps.exif_transpose(image), side)
    except UnidentifiedImageError as e:
        raise InputError(f'{path} is no picture that Pillow can read') from e
    except Image.DecompressionBombError as e:
        raise InputError(f'{path} is too large: {e}') from e
    except MemoryError:
        raise
    except Exception as e:  # Of every kind, where a file is damaged.
        raise InputError(f'the picture {path} is damaged: {e}') from e
    if colours is None:
        raise InputError(f'the picture {path} has pixels that are infinite '
                         'or no numbers')
    return colours


def _colours(image, side):
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
        image.thumbnail((side, side))
        return numpy.clip(numpy.asarray(image), 0, 255)[..., None]
    if image.mode not in ('L', 'RGB'):
        image = image.convert('L' if image.mode == '1' else 'RGBA')
    image.thumbnail((side, side))
    pixels = numpy.asarray(image, numpy.float32)
    if image.mode != 'RGBA':
        return pixels.reshape(*pixels.shape[:2], -1)
    rgb, alpha = pixels[..., :3], pixels[..., 3:] / 255
    # Behind what is transparent lies white, or black if the rest is light.
    mean = (rgb * alpha).sum() / max(3 * alpha.sum(), 1e-30)
    return rgb * alpha + (255 if mean < 128 else 0) * (1 - alpha)


def resize(grey, height, width):
    """Returns grey levels, float32 in [0, 255], scaled to another size."""
    from PIL import Image
    image = Image.fromarray(numpy.ascontiguousarray(grey, numpy.float32))
    # Each pixel of the result is the mean of what it covers.
    resized = image.resize((width, height), Image.Resampling.BOX
                           if grey.shape[0] >= height
                           else Image.Resampling.BICUBIC)
    return numpy.clip(numpy.asarray(resized), 0, 255)
