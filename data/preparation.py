"""How a picture becomes an image that a net takes."""
from data import digit_image, plain_image


def read(path, images, warn=None):
    """Returns a picture as an image like those that a net was trained on.

    Args:
        path (str): A picture that Pillow reads.
        images (Description): What the net was trained on.
        warn (callable): Called with one line about what is doubtful; by
            default nothing is.

    Returns:
        numpy.ndarray: uint8 pixels of shape (height * width,).

    Raises:
        InputError: If the file cannot be used; the message names it.

    """
    if images.preparation == 'digit':
        return digit_image.read(path, warn)
    return plain_image.read(path, images.shape, images.background, warn)
