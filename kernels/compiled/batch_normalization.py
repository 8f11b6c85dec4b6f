"""Batch normalization in few passes over memory, compiled by Numba.

A batch of vectors is walked over row by row: so do NumPy's sums along the
first axis, and each value of a row has a place in a vector register. A part of
the work are some columns. A batch of images is walked over channel by channel,
of which a part of the work are some: the values of a channel in an image, its
plane, lie side by side.
"""
import numpy

from kernels import numpy_kernels
from kernels.compiled.jit import is_covered, jit
from kernels.compiled.parallel import ELEMENTS, divided
from kernels.cores import n_own
from kernels.numpy_normalization import n_values

# Sums of a plane that run side by side: as the order of a sum is kept, vectors
# can be made of such alone. However long they are, the sums are the same.
LANES = 64


@divided
@jit
def _batch_normalization(start, stop, x, gamma, beta, eps, y, mean, var,
                         inv_std):
    gamma, beta, mean, var, inv_std = (
        gamma[start:stop], beta[start:stop], mean[start:stop], var[start:stop],
        inv_std[start:stop])
    count = x.dtype.type(len(x))
    one = x.dtype.type(1)
    mean[:] = 0
    var[:] = 0
    for i in range(len(x)):
        row = x[i, start:stop]
        for j in range(row.size):
            mean[j] += row[j]
    for j in range(mean.size):
        mean[j] /= count
    for i in range(len(x)):
        row = x[i, start:stop]
        for j in range(row.size):
            deviation = row[j] - mean[j]
            var[j] += deviation * deviation
    for j in range(mean.size):
        var[j] /= count
        inv_std[j] = one / numpy.sqrt(var[j] + eps)
    for i in range(len(x)):
        row, out = x[i, start:stop], y[i, start:stop]
        for j in range(row.size):
            out[j] = (row[j] - mean[j]) * inv_std[j] * gamma[j] + beta[j]


@divided
@jit
def _batch_normalization_backward(start, stop, x, gamma, gy, mean, inv_std,
                                  inv_n, gx, ggamma, gbeta):
    gamma, mean, inv_std, ggamma, gbeta = (
        gamma[start:stop], mean[start:stop], inv_std[start:stop],
        ggamma[start:stop], gbeta[start:stop])
    ggamma[:] = 0
    gbeta[:] = 0
    for i in range(len(x)):
        row, g = x[i, start:stop], gy[i, start:stop]
        for j in range(row.size):
            ggamma[j] += g[j] * ((row[j] - mean[j]) * inv_std[j])
            gbeta[j] += g[j]
    for i in range(len(x)):
        row, g, out = x[i, start:stop], gy[i, start:stop], gx[i, start:stop]
        for j in range(row.size):
            x_hat = (row[j] - mean[j]) * inv_std[j]
            out[j] = gamma[j] * inv_std[j] * (
                g[j] - (x_hat * ggamma[j] + gbeta[j]) * inv_n)


@jit
def _add_values(plane, lanes):
    for first in range(0, plane.size, LANES):
        part = plane[first:first + LANES]
        for k in range(part.size):
            lanes[k] += part[k]


@jit
def _add_squares(plane, mean, lanes):
    for first in range(0, plane.size, LANES):
        part = plane[first:first + LANES]
        for k in range(part.size):
            deviation = part[k] - mean
            lanes[k] += deviation * deviation


@jit
def _add_products(plane, g, mean, inv_std, lanes):
    for first in range(0, plane.size, LANES):
        part, g_part = plane[first:first + LANES], g[first:first + LANES]
        for k in range(part.size):
            lanes[k] += g_part[k] * ((part[k] - mean) * inv_std)


@jit
def _take(lanes, totals):
    """Adds the sums of a plane to those of its channel."""
    for k in range(LANES):
        totals[k] += lanes[k]
        lanes[k] = 0


@divided
@jit
def _image_normalization(start, stop, x, gamma, beta, eps, y, mean, var,
                         inv_std):
    n, _, size = x.shape
    one = x.dtype.type(1)
    lanes = numpy.zeros(LANES, x.dtype)
    # In double precision, as there may be many images.
    sums = numpy.empty((2, LANES))
    for c in range(start, stop):
        sums[:] = 0
        for i in range(n):
            _add_values(x[i, c], lanes)
            _take(lanes, sums[0])
        mean[c] = sums[0].sum() / (n * size)
        for i in range(n):
            _add_squares(x[i, c], mean[c], lanes)
            _take(lanes, sums[1])
        var[c] = sums[1].sum() / (n * size)
        inv_std[c] = one / numpy.sqrt(var[c] + eps)
        for i in range(n):
            _normalize_plane(x[i, c], gamma[c], beta[c], mean[c], inv_std[c],
                             y[i, c])


@divided
@jit
def _image_normalization_backward(start, stop, x, gamma, gy, mean, inv_std,
                                  inv_n, gx, ggamma, gbeta):
    n, _, size = x.shape
    lanes = numpy.zeros(LANES, x.dtype)
    sums = numpy.empty((2, LANES))
    for c in range(start, stop):
        sums[:] = 0
        for i in range(n):
            _add_products(x[i, c], gy[i, c], mean[c], inv_std[c], lanes)
            _take(lanes, sums[0])
            _add_values(gy[i, c], lanes)
            _take(lanes, sums[1])
        ggamma[c] = sums[0].sum()
        gbeta[c] = sums[1].sum()
        mean_c, inv_std_c, ggamma_c, gbeta_c = (
            mean[c], inv_std[c], ggamma[c], gbeta[c])
        scale = gamma[c] * inv_std_c
        for i in range(n):
            plane, g, out = x[i, c], gy[i, c], gx[i, c]
            for j in range(size):
                x_hat = (plane[j] - mean_c) * inv_std_c
                out[j] = scale * (g[j] - (x_hat * ggamma_c + gbeta_c) * inv_n)


@jit
def _normalize_plane(plane, gamma, beta, mean, inv_std, out):
    for j in range(plane.size):
        out[j] = (plane[j] - mean) * inv_std * gamma + beta


@divided
@jit
def _normalize(start, stop, x, gamma, beta, mean, inv_std, y):
    n_channels = x.shape[1]
    for i in range(start, stop):
        image, c = divmod(i, n_channels)
        _normalize_plane(x[image, c], gamma[c], beta[c], mean[c], inv_std[c],
                         y[image, c])


def _are_covered(batches, vectors):
    """Returns whether the compiled kernels take batches and vectors."""
    x = batches[0]
    return (is_covered(*batches) and is_covered(*vectors)
            and vectors[0].dtype == x.dtype
            and vectors[0].shape == x.shape[1:2])


def _planes(x):
    """Returns a batch of images in the shape (N, M, n) of its planes."""
    return x.reshape(*x.shape[:2], n_values(x[:1]))


def batch_normalization(x, gamma, beta, eps):
    """See ``numpy_kernels.batch_normalization``."""
    if not _are_covered([x], [gamma, beta]):
        return numpy_kernels.batch_normalization(x, gamma, beta, eps)
    y = numpy.empty_like(x)
    mean, var, inv_std = (numpy.empty_like(gamma) for _ in range(3))
    n_parts, eps = n_own(x.size, ELEMENTS), x.dtype.type(eps)
    if x.ndim == 2:
        _batch_normalization(gamma.size, n_parts, x, gamma, beta, eps, y,
                             mean, var, inv_std)
    else:
        _image_normalization(gamma.size, n_parts, _planes(x), gamma, beta, eps,
                             _planes(y), mean, var, inv_std)
    return y, mean, var, inv_std


def batch_normalization_backward(x, gamma, gy, mean, inv_std):
    """See ``numpy_kernels.batch_normalization_backward``."""
    if not _are_covered([x, gy], [gamma, mean, inv_std]):
        return numpy_kernels.batch_normalization_backward(
            x, gamma, gy, mean, inv_std)
    gx = numpy.empty_like(x)
    ggamma, gbeta = numpy.empty_like(gamma), numpy.empty_like(gamma)
    n_parts, inv_n = n_own(x.size, ELEMENTS), x.dtype.type(1. / n_values(x))
    if x.ndim == 2:
        _batch_normalization_backward(
            gamma.size, n_parts, x, gamma, gy, mean, inv_std, inv_n, gx,
            ggamma, gbeta)
    else:
        _image_normalization_backward(
            gamma.size, n_parts, _planes(x), gamma, _planes(gy), mean, inv_std,
            inv_n, _planes(gx), ggamma, gbeta)
    return gx, ggamma, gbeta


def normalize(x, gamma, beta, mean, inv_std):
    """See ``numpy_kernels.normalize``."""
    if x.ndim == 2 or not _are_covered([x], [gamma, beta, mean, inv_std]):
        return numpy_kernels.normalize(x, gamma, beta, mean, inv_std)
    y = numpy.empty_like(x)
    _normalize(len(x) * gamma.size, n_own(x.size, ELEMENTS), _planes(x), gamma,
               beta, mean, inv_std, _planes(y))
    return y
