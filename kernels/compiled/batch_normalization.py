"""Batch normalization in few passes over memory, compiled by Numba.

A batch is walked over row by row: so do NumPy's sums along the first axis, and
each value of a row has a place in a vector register. A part of the work are
some columns.
"""
import numpy

from kernels import numpy_kernels
from kernels.compiled.jit import is_covered, jit
from kernels.compiled.parallel import ELEMENTS, divided
from kernels.cores import n_own

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


def batch_normalization(x, gamma, beta, eps):
    """See ``numpy_kernels.batch_normalization``."""
    if not (is_covered(x) and is_covered(x[0], gamma, beta)):
        return numpy_kernels.batch_normalization(x, gamma, beta, eps)
    y = numpy.empty_like(x)
    mean, var, inv_std = (numpy.empty_like(gamma) for _ in range(3))
    _batch_normalization(
        gamma.size, n_own(x.size, ELEMENTS), x, gamma, beta,
        x.dtype.type(eps), y, mean, var, inv_std)
    return y, mean, var, inv_std


def batch_normalization_backward(x, gamma, gy, mean, inv_std):
    """See ``numpy_kernels.batch_normalization_backward``."""
    if not (is_covered(x, gy) and is_covered(x[0], gamma, mean, inv_std)):
        return numpy_kernels.batch_normalization_backward(
            x, gamma, gy, mean, inv_std)
    gx = numpy.empty_like(x)
    ggamma, gbeta = numpy.empty_like(gamma), numpy.empty_like(gamma)
    inv_n = x.dtype.type(1. / len(x))
    _batch_normalization_backward(
        gamma.size, n_own(x.size, ELEMENTS), x, gamma, gy, mean, inv_std,
        inv_n, gx, ggamma, gbeta)
    return gx, ggamma, gbeta
