"""The arithmetic of a training, each kernel one pass over memory, by Numba.

The results equal those of ``numpy_kernels`` bit for bit: the same operations
in the same order, and no contraction to fused multiply-adds. The exception are
products of real numbers, whose sums a BLAS library orders as it likes. What
the compiled code does not cover (float16, arrays that are not contiguous) goes
to NumPy.

Each kernel is compiled for one thread; large arrays are divided among those of
``kernels.threads``. The kernels of a packed net are in ``numba_bits``, those
of estimators and Bop in ``numba_study``; they are imported here, so that one
module has all kernels of a backend.
"""
import math

import numpy

from kernels import numpy_kernels
from kernels.compiled import table_product
from kernels.compiled.jit import is_covered, jit
from kernels.compiled.numba_bits import (  # noqa: F401
    bitplane_dot, bitplane_sign, pack_signs, tile_pixel_weights, tile_weights,
    unpack_signs, xnor_dot, xnor_sign)
from kernels.compiled.numba_study import (  # noqa: F401
    approx_backward, bop, heaviside, quantize_ternary, quantize_unit,
    swish_backward, unit_backward)
from kernels.compiled.sign_matrix import SignMatrix, sign_bits
from kernels.compiled.vector_intrinsics import nearest_power
from kernels.matrix import Matrix
from kernels.threads import n_own, run_in_threads


@jit
def _binarize(x, y):
    one = x.dtype.type(1)
    for i in range(x.size):
        # x itself where it is neither: NaN.
        y[i] = one if x[i] >= 0 else -one if x[i] < 0 else x[i]


@jit
def _binarize_backward(x, gy, gx):
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        gx[i] = gy[i] * (one if abs(x[i]) <= 1 else zero)


@jit
def _binarize_stochastic(x, random, y):
    one, half = x.dtype.type(1), x.dtype.type(.5)
    for i in range(x.size):
        uniform = numpy.float32(random[i] >> numpy.uint32(8)) * numpy.float32(
            2. ** -24)
        sign = one if uniform < (x[i] + one) * half else -one
        y[i] = sign if x[i] == x[i] else x[i]


@jit
def _dropout_mask(mask, first, seed, limit, scale):
    for i in range(mask.size):
        z = seed + (first + numpy.uint64(i) + numpy.uint64(1)) * numpy.uint64(
            0x9E3779B97F4A7C15)
        z = (z ^ z >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
        z ^= z >> numpy.uint64(31)
        mask[i] = scale if z >= limit else 0


# Below, comparisons are false for NaN, which so stays what it is.

@jit
def _quantize_linear(x, y, step):
    one = x.dtype.type(1)
    inverse, highest = one / step, one - step
    for i in range(x.size):
        q = numpy.rint(x[i] * inverse) * step
        y[i] = -one if q < -one else highest if q > highest else q


@jit
def _ap2(x, y):
    for i in range(x.size):
        y[i] = nearest_power(x[i])


@jit
def _quantize_log(x, y, least, zero_below):
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        magnitude = abs(x[i])
        q = nearest_power(magnitude)
        q = one if q > one else least if q < least else q
        q = zero if magnitude < zero_below else q
        y[i] = math.copysign(q, x[i])


@jit
def _count_outside(x):
    n = 0
    for i in range(x.size):
        n += not abs(x[i]) <= 1
    return n


# Batch normalization walks over a batch row by row: so do NumPy's sums along
# the first axis, and each value of a row has a place in a vector register.

@jit
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


@jit
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


@jit
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


@jit
def _shift_adamax(param, grad, m, v, step, beta1_c, beta2, lower, upper, tiny):
    one, zero = param.dtype.type(1), param.dtype.type(0)
    for i in range(param.size):
        g = grad[i]
        m_i = m[i] + (g - m[i]) * beta1_c
        v_i, magnitude = v[i] * beta2, abs(g)
        v_i = v_i if v_i >= magnitude or v_i != v_i else magnitude
        inverse = zero if v_i < tiny else nearest_power(one / v_i)
        p = param[i] - m_i * inverse * step
        m[i] = m_i
        v[i] = v_i
        param[i] = lower if p < lower else upper if p > upper else p


# Least number of values for which a thread is woken.
_ELEMENTS = 1 << 17


def _elementwise(kernel, *args):
    """Runs a kernel on flat arrays, then scalars, in threads."""
    n_arrays = sum(isinstance(arg, numpy.ndarray) for arg in args)
    arrays, scalars = args[:n_arrays], args[n_arrays:]
    arrays = [array.reshape(-1) for array in arrays]
    size = arrays[0].size
    run_in_threads(
        lambda part: kernel(*(array[part] for array in arrays), *scalars),
        size, n_own(size, _ELEMENTS))


def binarize(x):
    """See ``numpy_kernels.binarize``."""
    if not is_covered(x):
        return numpy_kernels.binarize(x)
    y = numpy.empty_like(x)
    _elementwise(_binarize, x, y)
    return y


def binarize_backward(x, gy):
    """See ``numpy_kernels.binarize_backward``."""
    if not is_covered(x, gy):
        return numpy_kernels.binarize_backward(x, gy)
    gx = numpy.empty_like(gy)
    _elementwise(_binarize_backward, x, gy, gx)
    return gx


def binarize_stochastic(x, random):
    """See ``numpy_kernels.binarize_stochastic``."""
    if not (is_covered(x) and random.flags.c_contiguous):
        return numpy_kernels.binarize_stochastic(x, random)
    y = numpy.empty_like(x)
    _elementwise(_binarize_stochastic, x, random, y)
    return y


def dropout_mask(x, ratio, seed):
    """See ``numpy_kernels.dropout_mask``."""
    if x.dtype not in (numpy.float32, numpy.float64):
        return numpy_kernels.dropout_mask(x, ratio, seed)
    mask = numpy.empty(x.shape, x.dtype)
    flat = mask.reshape(-1)
    limit = numpy_kernels.dropout_limit(ratio)
    run_in_threads(
        lambda part: _dropout_mask(
            flat[part], numpy.uint64(part.start), numpy.uint64(seed), limit,
            mask.dtype.type(1 / (1 - ratio))),
        flat.size, n_own(flat.size, _ELEMENTS))
    return mask


def quantize_linear(x, bits):
    """See ``numpy_kernels.quantize_linear``."""
    if not is_covered(x):
        return numpy_kernels.quantize_linear(x, bits)
    y = numpy.empty_like(x)
    _elementwise(_quantize_linear, x, y, x.dtype.type(2. ** (1 - bits)))
    return y


def ap2(x):
    """See ``numpy_kernels.ap2``."""
    if not is_covered(x):
        return numpy_kernels.ap2(x)
    y = numpy.empty_like(x)
    _elementwise(_ap2, x, y)
    return y


def quantize_log(x, n):
    """See ``numpy_kernels.quantize_log``."""
    if not is_covered(x):
        return numpy_kernels.quantize_log(x, n)
    y = numpy.empty_like(x)
    limits = (2. ** (1 - n), 2. ** -n) if n else (0, 0)
    _elementwise(_quantize_log, x, y, *map(x.dtype.type, limits))
    return y


def count_outside(x):
    """See ``numpy_kernels.count_outside``."""
    if not is_covered(x):
        return numpy_kernels.count_outside(x)
    return _count_outside(x.reshape(-1))


def batch_normalization(x, gamma, beta, eps):
    """See ``numpy_kernels.batch_normalization``."""
    if not (is_covered(x) and is_covered(x[0], gamma, beta)):
        return numpy_kernels.batch_normalization(x, gamma, beta, eps)
    y = numpy.empty_like(x)
    mean, var, inv_std = (numpy.empty_like(gamma) for _ in range(3))
    _batch_normalization(
        x, gamma, beta, x.dtype.type(eps), y, mean, var, inv_std)
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
        x, gamma, gy, mean, inv_std, inv_n, gx, ggamma, gbeta)
    return gx, ggamma, gbeta


def dot(a, b):
    """See ``numpy_kernels.dot``."""
    y = table_product.dot(a, b)
    return numpy_kernels.dot(a, b) if y is None else y


def sign_matrix(W):
    """See ``numpy_kernels.sign_matrix``."""
    if is_covered(W):
        words, are_numbers = sign_bits(W)
        if are_numbers:
            return SignMatrix(words, W.shape, W.dtype)
    return Matrix(binarize(W), dot)


def adam(param, grad, m, v, alpha_t, beta1, beta2, eps, eta,
         lower=-numpy.inf, upper=numpy.inf):
    """See ``numpy_kernels.adam``."""
    if not is_covered(param, grad, m, v):
        numpy_kernels.adam(param, grad, m, v, alpha_t, beta1, beta2, eps, eta,
                           lower, upper)
        return
    # In the arrays' dtype, so that no operation is done in a wider one.
    scalars = [param.dtype.type(s) for s in (
        alpha_t, 1.0 - beta1, 1.0 - beta2, eps, eta, lower, upper)]
    _elementwise(_adam, param, grad, m, v, *scalars)


def shift_adamax(param, grad, m, v, step, beta1, beta2,
                 lower=-numpy.inf, upper=numpy.inf):
    """See ``numpy_kernels.shift_adamax``."""
    if not is_covered(param, grad, m, v):
        numpy_kernels.shift_adamax(param, grad, m, v, step, beta1, beta2,
                                   lower, upper)
        return
    # In the arrays' dtype, so that no operation is done in a wider one.
    scalars = [param.dtype.type(s) for s in (
        step, 1.0 - beta1, beta2, lower, upper,
        numpy.finfo(param.dtype).tiny)]
    _elementwise(_shift_adamax, param, grad, m, v, *scalars)
