"""A picture of anything, as an image of a data set: all of it, in grey."""
import numpy

from data import picture

# Shares of red, green and blue in grey.
_LUMA = numpy.float32([.299, .587, .114])

# A picture is decoded at so many times the pixels of an image's side, of a
# small image and of a large one: more of them take time alone.
_FINER, _FINER_OF_LARGE, _LARGE = 8, 2, 512

# Levels by which a picture's edge differs from the background of the data
# set, and lies on the other side of grey, before it is doubtful.
_OTHER_SIDE = 100


def shrink(path, shape):
    """Returns the whole of a picture, scaled to fit into an image.

    Args:
        path (str): A picture that Pillow reads.
        shape (tuple of int): Height and width of the image.

    Returns:
        tuple: The picture's grey levels, uint8 of shape (height, width), its
        proportions kept, so that one of them is the image's; and the median
        of the levels along the edges of the picture, a float.

    Raises:
        InputError: See :func:`data.picture.read`.

    """
    side = max(shape)
    colours = picture.read(path, min(
        _FINER * side, max(_FINER_OF_LARGE * side, _LARGE)))
    grey = colours[..., 0] if colours.shape[2] == 1 else colours @ _LUMA
    edge = numpy.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    scale = min(shape[0] / grey.shape[0], shape[1] / grey.shape[1])
    height, width = (min(max(1, round(n * scale)), limit)
                     for n, limit in zip(grey.shape, shape))
    if (height, width) != grey.shape:
        grey = picture.resize(grey, height, width)
    return numpy.rint(grey).astype(numpy.uint8), float(numpy.median(edge))


def place(grey, shape, background):
    """Returns an image: a picture in the middle of the background.

    Args:
        grey (numpy.ndarray): Picture that :func:`shrink` has returned.
        shape (tuple of int): Height and width of the image.
        background (int): Grey level of the data set's background. Where it
            is light, more than 127, the levels are turned round: nets are
            trained with light on dark.

    Returns:
        numpy.ndarray: uint8 pixels of shape (height * width,).

    """
    image = numpy.full(shape, background, numpy.uint8)
    top, left = ((n - m) // 2 for n, m in zip(shape, grey.shape))
    image[top:top + grey.shape[0], left:left + grey.shape[1]] = grey
    if background > 127:
        image = 255 - image
    return image.reshape(-1)


def read(path, shape, background, warn=None):
    """Returns a picture as an image of a data set.

    Args:
        path (str): A picture that Pillow reads.
        shape, background: See :func:`place`.
        warn (callable): Called with one line, which names the file, if its
            background is not that of the data set; by default nothing is.

    Returns:
        numpy.ndarray: uint8 pixels of shape (height * width,).

    Raises:
        InputError: See :func:`data.picture.read`.

    """
    grey, edge = shrink(path, shape)
    if (warn and abs(edge - background) > _OTHER_SIDE
            and (edge > 127) != (background > 127)):
        light, dark = 'light', 'dark'
        if background > 127:
            light, dark = dark, light
        warn(f'{path} is doubtful: it is {light} along its edges, the '
             f'pictures that the net was trained on were {dark} there')
    return place(grey, shape, background)
