"""The colour of the paper behind a drawing, where light falls unevenly too."""
import numpy

# Pixels of the longer side of the grid that the paper is estimated on.
_GRID = 64

# Sides of pictures, in pixels, below which the light is taken to be even.
_SMALL = 16

# Levels around the most frequent one that are taken to be the paper as well.
_NEAR = 16

# Share of a picture that comes near to the paper by a fit, and not by one
# colour, where the light is uneven; and steps of the fit.
_MORE, _STEPS = .15, 20


def estimate(colours):
    """Returns the colour of the paper behind each pixel.

    It is the most frequent colour, or a quadratic function of the place where
    that comes near to much more of the picture. The fit minimizes absolute
    differences, not their squares: ink that covers less than half of the
    picture hardly changes it.

    Args:
        colours (numpy.ndarray): Shape (height, width, channels).

    Returns:
        numpy.ndarray: Broadcasts with ``colours``.

    """
    height, width, _ = colours.shape
    step = -(-max(height, width) // _GRID)
    if min(height, width) < 2 * step:  # Lines of pixels
        step = 1
    y, x = _coordinates(height, width)
    place = slice(step // 2, None, step)
    terms = _terms(y[place, place], x[place, place])
    sample = colours[place, place]
    colour = numpy.array([_mode(channel) for channel in
                          sample.reshape(-1, sample.shape[2]).T])
    if min(height, width) < _SMALL:
        return colour
    terms, sample = (a.reshape(-1, a.shape[2]) for a in (terms, sample))
    deviation = even = abs(sample - colour).max(axis=1)
    for _ in range(_STEPS):
        weighted = terms / numpy.maximum(deviation, 1)[:, None]
        # The normal equations: of thousands of rows a BLAS library would make
        # work for several threads, which takes longer.
        factors = numpy.linalg.lstsq(
            numpy.einsum('ni,nj->ij', weighted, terms),
            numpy.einsum('ni,nj->ij', weighted, sample), rcond=None)[0]
        deviation = abs(sample - terms @ factors).max(axis=1)
    if (deviation <= _NEAR).mean() < (even <= _NEAR).mean() + _MORE:
        return colour
    return numpy.clip(_terms(y, x) @ factors, 0, 255)


def at_edge(colours):
    """Returns the colour of most of the picture's outermost pixels."""
    edge = numpy.concatenate(
        [colours[0], colours[-1], colours[:, 0], colours[:, -1]])
    return numpy.median(edge, axis=0)


def _coordinates(height, width):
    return numpy.meshgrid(numpy.linspace(-1, 1, height),
                          numpy.linspace(-1, 1, width), indexing='ij')


def _terms(y, x):
    return numpy.stack([numpy.ones_like(x), x, y, x * x, x * y, y * y], -1)


def _mode(values):
    """Returns the middle of the levels near the most frequent one."""
    counts = numpy.bincount(numpy.rint(values).astype(int), minlength=256)
    sums = numpy.concatenate([[0], numpy.cumsum(counts)])
    level = numpy.arange(256)
    near = (sums[numpy.minimum(level + _NEAR, 255) + 1]
            - sums[numpy.maximum(level - _NEAR, 0)])
    # The first of those that are as frequent: between them may be nothing.
    best = near.argmax()
    return float(numpy.median(values[abs(values - best) <= _NEAR + .5]))
