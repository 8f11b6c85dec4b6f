"""Connected parts of a mask, and filters of grey pictures, in NumPy alone."""
import numpy


def label(mask):
    """Numbers the connected parts of a mask.

    Pixels that touch, at corners too, are of one part. Each row's runs of
    pixels are found first; runs of neighbouring rows that touch are joined.

    Args:
        mask (numpy.ndarray): Booleans of shape (height, width).

    Returns:
        tuple: int labels of the mask's shape, 0 where it is false, and the
        number of parts, which are labelled 1, 2, ...

    """
    height, width = mask.shape
    # One column more: no run goes on from a row into the next.
    stride = width + 1
    padded = numpy.zeros((height, stride), numpy.int8)
    padded[:, :width] = mask
    changes = numpy.diff(padded.reshape(-1), prepend=0)
    starts, ends = numpy.flatnonzero(changes == 1), numpy.flatnonzero(
        changes == -1)
    # Of each run: the runs in the next row that it touches.
    first = numpy.searchsorted(ends, starts + stride)
    last = numpy.searchsorted(starts, ends + stride, 'right')
    counts = last - first
    above = numpy.repeat(numpy.arange(len(starts)), counts)
    below = numpy.arange(len(above)) + numpy.repeat(
        first - (numpy.cumsum(counts) - counts), counts)
    root = _roots(len(starts), above, below)
    _, part = numpy.unique(root, return_inverse=True)
    lengths = ends - starts
    labels = numpy.zeros(height * stride, numpy.intp)
    labels[padded.reshape(-1) > 0] = numpy.repeat(part + 1, lengths)
    n = int(part.max()) + 1 if len(part) else 0
    return labels.reshape(height, stride)[:, :width], n


def _roots(n, a, b):
    """Returns the lowest number that each of n is joined with by pairs."""
    root = numpy.arange(n)
    while True:
        low = numpy.minimum(root[a], root[b])
        high = numpy.maximum(root[a], root[b])
        apart = low < high
        if not apart.any():
            return root
        numpy.minimum.at(root, high[apart], low[apart])
        while True:
            next_root = root[root]
            if (next_root == root).all():
                break
            root = next_root


def boxes(labels, n):
    """Returns first and last row, first and last column of each of n parts.

    The result has shape (n, 4), with part 1 in row 0.
    """
    rows, columns = numpy.nonzero(labels)
    part = labels[rows, columns] - 1
    result = numpy.empty((n, 4), numpy.intp)
    for i, at in (0, rows), (2, columns):
        result[:, i], result[:, i + 1] = max(labels.shape), -1
        numpy.minimum.at(result[:, i], part, at)
        numpy.maximum.at(result[:, i + 1], part, at)
    return result


def box_mean(picture, radius):
    """Returns the mean of the square around each pixel, less at the edges.

    Args:
        picture (numpy.ndarray): Shape (height, width) or (height, width,
            channels).
        radius (int): Pixels from the square's middle to its edge.

    """
    for axis in (0, 1):
        n = picture.shape[axis]
        at = numpy.arange(n)
        low, high = numpy.maximum(at - radius, 0), numpy.minimum(
            at + radius + 1, n)
        sums = numpy.cumsum(picture, axis=axis, dtype=numpy.float64)
        zero = numpy.zeros_like(sums.take([0], axis=axis))
        sums = numpy.concatenate([zero, sums], axis=axis)
        count = (high - low).reshape([-1 if i == axis else 1
                                      for i in range(picture.ndim)])
        picture = (sums.take(high, axis=axis)
                   - sums.take(low, axis=axis)) / count
    return picture


def grown(mask, radius):
    """Returns the mask of what is at most radius pixels away, either way."""
    # A pixel's share of the square's mean is far above what rounding leaves.
    return box_mean(mask, radius) > 1e-9


def otsu(values):
    """Returns Otsu's threshold between two classes of values.

    It is the one with the least variance within the classes.

    Reference: N. Otsu, A threshold selection method from gray-level
    histograms, IEEE Transactions on Systems, Man, and Cybernetics, 1979.

    Args:
        values (numpy.ndarray): Finite numbers, at least one.

    """
    counts, borders = numpy.histogram(values, 256)
    middles = (borders[:-1] + borders[1:]) / 2
    n_low = numpy.cumsum(counts)
    n_high = n_low[-1] - n_low
    sum_low = numpy.cumsum(counts * middles)
    sum_high = sum_low[-1] - sum_low
    between = (sum_low / numpy.maximum(n_low, 1)
               - sum_high / numpy.maximum(n_high, 1)) ** 2 * n_low * n_high
    # In the middle of a gap between the classes, not at its beginning.
    best = numpy.flatnonzero(between >= between.max() * (1 - 1e-9))
    return float(borders[1:][best].mean())
