"""Convolutions in two dimensions as one matrix product per value of a window.

For NumPy and CuPy alike, and all dtypes, strides and dilations; nothing of the
size of all patches is written. Products of float16 are summed in float32.
"""


def _pad(xp, x, pad):
    if not any(pad):
        return x
    return xp.pad(x, [(0, 0), (0, 0), *((n, n) for n in pad)])


def _wide(x):
    return x.astype('f', copy=False) if x.dtype.char == 'e' else x


def _by_groups(x, groups):
    """Returns the channels of (N, C, ...) as (N, groups, C / groups, P)."""
    n, n_channels = x.shape[:2]
    size = 1
    for n_pixels in x.shape[2:]:
        size *= n_pixels
    return x.reshape(n, groups, n_channels // groups, size)


def _tap(W, groups, row, column):
    """Returns one value of the window's matrices (groups, O, C)."""
    tap = W[:, :, row, column]
    return tap.reshape(groups, len(W) // groups, W.shape[1])


def convolution_2d(xp, x, W, window):
    """See ``numpy_kernels.convolution_2d``; ``xp`` is NumPy or CuPy."""
    ksize, groups = W.shape[2:], window.groups
    out_size = window.out_size(x.shape[2:], ksize)
    padded, weights = _pad(xp, _wide(x), window.pad), _wide(W)
    y = xp.zeros((len(x), groups, len(W) // groups,
                  out_size[0] * out_size[1]), padded.dtype)
    for row, column, places in window.taps(ksize, out_size):
        pixels = _by_groups(padded[(slice(None), slice(None), *places)],
                            groups)
        y += xp.matmul(_tap(weights, groups, row, column), pixels)
    return y.reshape(len(x), len(W), *out_size).astype(x.dtype, copy=False)


def convolution_2d_gx(xp, gy, W, window, size):
    """See ``numpy_kernels.convolution_2d_gx``."""
    ksize, groups = W.shape[2:], window.groups
    (height, width), (top, left) = size, window.pad
    n_channels = W.shape[1] * groups
    weights = _wide(W)
    upstream = _by_groups(_wide(gy), groups)
    gx = xp.zeros((len(gy), n_channels, height + 2 * top, width + 2 * left),
                  upstream.dtype)
    for row, column, places in window.taps(ksize, gy.shape[2:]):
        tap = _tap(weights, groups, row, column).transpose(0, 2, 1)
        gx[(slice(None), slice(None), *places)] += xp.matmul(
            tap, upstream).reshape(len(gy), n_channels, *gy.shape[2:])
    gx = gx[:, :, top:top + height, left:left + width]
    return xp.ascontiguousarray(gx.astype(gy.dtype, copy=False))


def convolution_2d_gW(xp, x, gy, window, ksize):
    """See ``numpy_kernels.convolution_2d_gW``."""
    groups = window.groups
    padded = _pad(xp, _wide(x), window.pad)
    upstream = _by_groups(_wide(gy), groups)
    n_out, n_in = gy.shape[1], x.shape[1] // groups
    gW = xp.empty((n_out, n_in, *ksize), upstream.dtype)
    for row, column, places in window.taps(ksize, gy.shape[2:]):
        pixels = _by_groups(padded[(slice(None), slice(None), *places)],
                            groups)
        tap = xp.matmul(upstream, pixels.transpose(0, 1, 3, 2)).sum(axis=0)
        gW[:, :, row, column] = tap.reshape(n_out, n_in)
    return gW.astype(gy.dtype, copy=False)
