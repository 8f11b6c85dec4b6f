import chainer_compat
import chainer.functions as F


def max_pooling_2d(x, ksize):
    """Maximum of the values in each window of images; windows do not overlap.

    What does not fill a window at the right and at the lower edge is left
    out.

    Args:
        x (:class:`~chainer.Variable` or :ref:`ndarray`): Images of shape
            (N, C, height, width), of a float dtype.
        ksize (int): Height and width of a window.

    Returns:
        ~chainer.Variable: Output of shape (N, C, height // ksize,
        width // ksize) and x's dtype.

    """
    return F.max_pooling_2d(x, ksize, cover_all=False)
