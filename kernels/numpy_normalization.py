"""Batch normalization in plain NumPy: the reference for the others."""
import math

import numpy


def axes(x):
    """Returns the axes of all but the channels, which are axis 1."""
    return (0, *range(2, x.ndim))


def spread(vector, x):
    """Returns a vector of the channels in a shape that meets x's."""
    return vector.reshape(-1, *(1,) * (x.ndim - 2))


def n_values(x):
    """Returns how many values each channel of a batch has."""
    return len(x) * math.prod(x.shape[2:])


def normalize(x, gamma, beta, mean, inv_std):
    """Normalizes each channel of a batch by a given mean and deviation.

    ``y = (x - mean) inv_std gamma + beta``, each operation rounded to the
    dtype of the arrays, in the order that Chainer's function has.

    Args:
        x (numpy.ndarray): Float batch of shape (N, M) or (N, M, ...).
        gamma, beta, mean, inv_std (numpy.ndarray): Vectors of shape (M,) and
            x's dtype.

    Returns:
        numpy.ndarray: y, of x's shape and dtype.

    """
    y = x - spread(mean, x)
    y *= spread(inv_std, x)
    y *= spread(gamma, x)
    y += spread(beta, x)
    return y


def batch_normalization(x, gamma, beta, eps):
    """Normalizes each channel of a batch by its own mean and variance.

    ``y = gamma (x - mean) / sqrt(var + eps) + beta``, each operation rounded
    to the dtype of the arrays, in the order that Chainer's function has.

    Args:
        x (numpy.ndarray): Float batch of shape (N, M), in which a column is a
            channel, or (N, M, ...); N and what follows M not 0.
        gamma, beta (numpy.ndarray): Scale and shift of shape (M,), x's dtype.
        eps (float): Small value for the numerical stability.

    Returns:
        tuple: y of x's shape, and mean, variance and ``1 / sqrt(var + eps)``,
        (M,), all of x's dtype.

    """
    mean = x.mean(axis=axes(x))
    var = x.var(axis=axes(x))
    inv_std = numpy.reciprocal(numpy.sqrt(var + x.dtype.type(eps)))
    return normalize(x, gamma, beta, mean, inv_std), mean, var, inv_std


def batch_normalization_backward(x, gamma, gy, mean, inv_std):
    """Returns the gradients of a batch normalization.

    Args:
        x, gamma, mean, inv_std (numpy.ndarray): Arguments and results of
            :func:`batch_normalization`.
        gy (numpy.ndarray): Upstream gradient, of x's shape and dtype.

    Returns:
        tuple: gx of x's shape, ggamma (M,), gbeta (M,), all of x's dtype.

    """
    x_hat = (x - spread(mean, x)) * spread(inv_std, x)
    ggamma = (gy * x_hat).sum(axis=axes(x))
    gbeta = gy.sum(axis=axes(x))
    inv_n = x.dtype.type(1. / n_values(x))
    gx = spread(gamma * inv_std, x) * (
        gy - (x_hat * spread(ggamma, x) + spread(gbeta, x)) * inv_n)
    return gx, ggamma, gbeta
