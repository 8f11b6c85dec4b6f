"""The kernels as one pass over memory each, compiled by Numba.

Their results equal those of ``numpy_kernels`` bit for bit: the same operations
in the same order, and no contraction to fused multiply-adds. What the compiled
code does not cover (float16, arrays that are not contiguous) goes to NumPy.

One thread runs them. Between two matrix products the second thread of the BLAS
library is still awake, and a parallel kernel on the same cores only gets into
its way (measured in benchmarks/train_speed.py).
"""
import numba
import numpy

from kernels import numpy_kernels


def _jit(function):
    """Compiles without Python objects, and keeps the code on disk if it can.

    Numba stores it beside this file or, where that folder is read-only, in
    the user's cache; where neither can be written it compiles anew.
    """
    options = {'nogil': True, 'error_model': 'numpy'}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available for file ..."
        return numba.njit(**options)(function)


def _is_covered(*arrays):
    dtype, shape = arrays[0].dtype, arrays[0].shape
    return (dtype in (numpy.float32, numpy.float64)
            and dtype.isnative
            and all(a.dtype == dtype and a.shape == shape
                    and a.flags.c_contiguous for a in arrays))


@_jit
def _binarize(x, y):
    one = x.dtype.type(1)
    for i in range(x.size):
        # x itself where it is neither: NaN.
        y[i] = one if x[i] >= 0 else -one if x[i] < 0 else x[i]


@_jit
def _binarize_backward(x, gy, gx):
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        gx[i] = gy[i] * (one if abs(x[i]) <= 1 else zero)


# Batch normalization walks over a batch row by row: so do NumPy's sums along
# the first axis, and each value of a row has a place in a vector register.

@_jit
def _batch_normalization(x, gamma, beta, eps, y, mean, var, inv_std):
    n, n_columns = x.shape
    count = x.dtype.type(n)
    one = x.dtype.type(1)
    mean[:] = 0
    var[:] = 0
    for i in range(n):
        for j in range(n_columns):
            mean[j] += x[i, j]
    for j in range(n_columns):
        mean[j] /= count
    for i in range(n):
        for j in range(n_columns):
            deviation = x[i, j] - mean[j]
            var[j] += deviation * deviation
    for j in range(n_columns):
        var[j] /= count
        inv_std[j] = one / numpy.sqrt(var[j] + eps)
    for i in range(n):
        for j in range(n_columns):
            y[i, j] = (x[i, j] - mean[j]) * inv_std[j] * gamma[j] + beta[j]


@_jit
def _batch_normalization_backward(x, gamma, gy, mean, inv_std, inv_n,
                                  gx, ggamma, gbeta):
    n, n_columns = x.shape
    ggamma[:] = 0
    gbeta[:] = 0
    for i in range(n):
        for j in range(n_columns):
            ggamma[j] += gy[i, j] * ((x[i, j] - mean[j]) * inv_std[j])
            gbeta[j] += gy[i, j]
    for i in range(n):
        for j in range(n_columns):
            x_hat = (x[i, j] - mean[j]) * inv_std[j]
            gx[i, j] = gamma[j] * inv_std[j] * (
                gy[i, j] - (x_hat * ggamma[j] + gbeta[j]) * inv_n)


@_jit
def _adam(param, grad, m, v, alpha_t, beta1_c, beta2_c, eps, eta, lower,
          upper):
    for i in range(param.size):
        g = grad[i]
        m_i = m[i] + beta1_c * (g - m[i])
        v_i = v[i] + beta2_c * (g * g - v[i])
        p = param[i] - eta * (alpha_t / (numpy.sqrt(v_i) + eps) * m_i)
        m[i] = m_i
        v[i] = v_i
        # Comparisons are false for NaN, which so stays what it is.
        param[i] = lower if p < lower else upper if p > upper else p


def binarize(x):
    """See ``numpy_kernels.binarize``."""
    if not _is_covered(x):
        return numpy_kernels.binarize(x)
    y = numpy.empty_like(x)
    _binarize(x.reshape(-1), y.reshape(-1))
    return y


def binarize_backward(x, gy):
    """See ``numpy_kernels.binarize_backward``."""
    if not _is_covered(x, gy):
        return numpy_kernels.binarize_backward(x, gy)
    gx = numpy.empty_like(gy)
    _binarize_backward(x.reshape(-1), gy.reshape(-1), gx.reshape(-1))
    return gx


def batch_normalization(x, gamma, beta, eps):
    """See ``numpy_kernels.batch_normalization``."""
    if not (_is_covered(x) and _is_covered(x[0], gamma, beta)):
        return numpy_kernels.batch_normalization(x, gamma, beta, eps)
    y = numpy.empty_like(x)
    mean, var, inv_std = (numpy.empty_like(gamma) for _ in range(3))
    _batch_normalization(
        x, gamma, beta, x.dtype.type(eps), y, mean, var, inv_std)
    return y, mean, var, inv_std


def batch_normalization_backward(x, gamma, gy, mean, inv_std):
    """See ``numpy_kernels.batch_normalization_backward``."""
    if not (_is_covered(x, gy) and _is_covered(x[0], gamma, mean, inv_std)):
        return numpy_kernels.batch_normalization_backward(
            x, gamma, gy, mean, inv_std)
    gx = numpy.empty_like(x)
    ggamma, gbeta = numpy.empty_like(gamma), numpy.empty_like(gamma)
    inv_n = x.dtype.type(1. / len(x))
    _batch_normalization_backward(
        x, gamma, gy, mean, inv_std, inv_n, gx, ggamma, gbeta)
    return gx, ggamma, gbeta


def adam(param, grad, m, v, alpha_t, beta1, beta2, eps, eta,
         lower=-numpy.inf, upper=numpy.inf):
    """See ``numpy_kernels.adam``."""
    if not _is_covered(param, grad, m, v):
        numpy_kernels.adam(param, grad, m, v, alpha_t, beta1, beta2, eps, eta,
                           lower, upper)
        return
    # In the arrays' dtype, so that no operation is done in a wider one.
    scalars = [param.dtype.type(s) for s in (
        alpha_t, 1.0 - beta1, 1.0 - beta2, eps, eta, lower, upper)]
    _adam(param.reshape(-1), grad.reshape(-1), m.reshape(-1), v.reshape(-1),
          *scalars)
