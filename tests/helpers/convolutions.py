"""Convolutions as plain sums over all places of the window."""
import itertools

import numpy

# Sizes of image and window, arguments; images have 4 channels.
CASES = [
    ((5, 6), (3, 3), {}),
    ((5, 6), (3, 3), {'pad': 1}),
    ((7, 4), (2, 3), {'stride': 2, 'pad': (0, 2)}),
    ((8, 5), (3, 2), {'stride': (3, 1), 'dilate': (2, 1)}),
    ((6, 6), (3, 3), {'pad': 2, 'dilate': 2, 'groups': 2}),
    ((4, 5), (1, 1), {'groups': 4}),
    ((4, 7), (2, 2), {'stride': 3}),  # the last pixels are left out
    ((3, 3), (3, 3), {}),
]
NAMES = [f'{ksize} {arguments}' for _, ksize, arguments in CASES]


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def places(size, ksize, stride=1, pad=0, dilate=1, groups=1):
    """Yields an output's place and the slices of the padded image there."""
    (sy, sx), (py, px), (dy, dx) = map(pair, (stride, pad, dilate))
    height, width = dy * (ksize[0] - 1) + 1, dx * (ksize[1] - 1) + 1
    rows = range(0, size[0] + 2 * py - height + 1, sy)
    columns = range(0, size[1] + 2 * px - width + 1, sx)
    for (i, top), (j, left) in itertools.product(
            enumerate(rows), enumerate(columns)):
        yield i, j, (slice(top, top + height, dy),
                     slice(left, left + width, dx))


def padded(x, pad, value):
    top, left = pair(pad)
    return numpy.pad(x, [(0, 0), (0, 0), (top, top), (left, left)],
                     constant_values=value)


def in_groups(W, groups):
    """Returns W of shape (O, C / groups, ...) as one of (O, C, ...)."""
    n_out, n_in = W.shape[:2]
    whole = numpy.zeros((n_out, n_in * groups, *W.shape[2:]), W.dtype)
    for o in range(n_out):
        first = o // (n_out // groups) * n_in
        whole[o, first:first + n_in] = W[o]
    return whole


def reference(x, W, pad_value=0, **arguments):
    """Returns the convolution in float64."""
    groups, pad = arguments.get('groups', 1), arguments.get('pad', 0)
    x = padded(x.astype('d'), pad, pad_value)
    W = in_groups(W.astype('d'), groups)
    size = [n - 2 * p for n, p in zip(x.shape[2:], pair(pad))]
    found = list(places(size, W.shape[2:], **arguments))
    y = numpy.zeros((len(x), len(W), found[-1][0] + 1, found[-1][1] + 1))
    for i, j, (rows, columns) in found:
        y[:, :, i, j] = numpy.einsum(
            'nckl,ockl->no', x[:, :, rows, columns], W)
    return y


def reference_gradients(x, W, gy, pad_value=0, **arguments):
    """Returns gx and gW in float64."""
    groups, pad = arguments.get('groups', 1), arguments.get('pad', 0)
    size, (top, left), n_in = x.shape[2:], pair(pad), W.shape[1]
    x = padded(x.astype('d'), pad, pad_value)
    W, gy = in_groups(W.astype('d'), groups), gy.astype('d')
    gx, gW = numpy.zeros_like(x), numpy.zeros_like(W)
    for i, j, (rows, columns) in places(size, W.shape[2:], **arguments):
        gx[:, :, rows, columns] += numpy.einsum(
            'no,ockl->nckl', gy[:, :, i, j], W)
        gW += numpy.einsum(
            'no,nckl->ockl', gy[:, :, i, j], x[:, :, rows, columns])
    per_group = len(W) // groups
    return (gx[:, :, top:top + size[0], left:left + size[1]],
            numpy.stack([gW[o, o // per_group * n_in:][:n_in]
                         for o in range(len(W))]))


def case_arrays(random, dtype, size, ksize, arguments, n=3, n_out=8):
    """Returns random x, W, b and gy of a case."""
    x, W, b = (random.standard_normal(shape).astype(dtype) for shape in (
        (n, 4, *size), (n_out, 4 // arguments.get('groups', 1), *ksize),
        (n_out,)))
    y = reference(x[:1], W, **arguments)
    return x, W, b, random.standard_normal(
        (n, *y.shape[1:])).astype(dtype)
