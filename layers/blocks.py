"""The blocks of convolutions that a net begins with; needs no Chainer."""
import math

# The window of a convolution: images keep their size.
KSIZE, PAD = 3, 1


def widths(channels, n_blocks):
    """Returns the output channels of each convolution, two to a block.

    Args:
        channels (int): Those of the first block; of 0 there is no convolution.
            Each further block has twice as many as the one before.
        n_blocks (int): Number of blocks.

    """
    return [channels << block for block in range(n_blocks)
            for _ in range(2) if channels]


def pool_sizes(channels, n_blocks):
    """Returns the height and width of the pooling behind each convolution.

    1 stands for none; see :func:`widths`.
    """
    return [1, 2] * n_blocks if channels else []


def size_behind(n_blocks, image_shape):
    """Returns height and width of an image behind so many blocks."""
    return tuple(n >> n_blocks for n in image_shape)


def weight_shapes(channels, n_blocks, image_shape, units):
    """Returns the shapes of the weights of a net's layers.

    Args:
        channels, n_blocks (int): See :func:`widths`.
        image_shape (tuple of int): Height and width of an image.
        units (list of int): Units of each linear layer, classes last.

    Returns:
        list of tuple: (O, C, kh, kw) of each convolution, then (n_out, n_in)
        of each linear layer.

    """
    shapes, n_in = [], 1
    for n_out in widths(channels, n_blocks):
        shapes.append((n_out, n_in, KSIZE, KSIZE))
        n_in = n_out
    n_in *= math.prod(size_behind(n_blocks if channels else 0, image_shape))
    for n_out in units:
        shapes.append((n_out, n_in))
        n_in = n_out
    return shapes
