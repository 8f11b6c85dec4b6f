"""The arithmetic of a training, each kernel one pass over memory, by Numba.

The results equal those of ``numpy_kernels`` bit for bit: the same operations
in the same order, and no contraction to fused multiply-adds. The exceptions
are products of real numbers, whose sums a BLAS library orders as it likes, and
batch normalization of images, whose sums have an order of their own. What
the compiled code does not cover (float16, arrays that are not contiguous) goes
to NumPy.

What is large is divided among cores, see ``parallel``. The kernels of a packed
net are in ``numba_bits``, those of estimators and Bop in ``numba_study``,
those of layers in files of their own; they are imported here, so that one
module has all kernels of a backend.
"""
import math

import numpy

from kernels import numpy_kernels
from kernels.compiled import sparse_product, table_product
from kernels.compiled.batch_normalization import (  # noqa: F401
    batch_normalization, batch_normalization_backward, normalize)
from kernels.compiled.convolution import (  # noqa: F401
    convolution_2d, convolution_2d_gW, convolution_2d_gx)
from kernels.compiled.jit import is_covered, jit
from kernels.compiled.max_pooling import (  # noqa: F401
    max_pooling_2d, max_pooling_2d_backward)
from kernels.compiled.numba_bits import (  # noqa: F401
    bitplane_dot, bitplane_sign, pack_signs, tile_pixel_weights, tile_weights,
    unpack_signs, xnor_dot, xnor_sign)
from kernels.compiled.numba_packed_convolution import (  # noqa: F401
    convolve_pixels, convolve_signs, flatten_signs, pixel_window, sign_window)
from kernels.compiled.numba_study import (  # noqa: F401
    approx_backward, bop, heaviside, quantize_ternary, quantize_unit,
    swish_backward, unit_backward)
from kernels.compiled.parallel import divided, elementwise
from kernels.compiled.sign_matrix import SignMatrix, sign_bits
from kernels.compiled.vector_intrinsics import nearest_power
from kernels.matrix import Matrix


@divided
@jit
def _binarize(start, stop, x, y):
    x, y = x[start:stop], y[start:stop]
    one = x.dtype.type(1)
    for i in range(x.size):
        # x itself where it is neither: NaN.
        y[i] = one if x[i] >= 0 else -one if x[i] < 0 else x[i]


@divided
@jit
def _binarize_backward(start, stop, x, gy, gx):
    x, gy, gx = x[start:stop], gy[start:stop], gx[start:stop]
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        gx[i] = gy[i] * (one if abs(x[i]) <= 1 else zero)


@divided
@jit
def _binarize_stochastic(start, stop, x, random, y):
    x, random, y = x[start:stop], random[start:stop], y[start:stop]
    one, half = x.dtype.type(1), x.dtype.type(.5)
    for i in range(x.size):
        uniform = numpy.float32(random[i] >> numpy.uint32(8)) * numpy.float32(
            2. ** -24)
        sign = one if uniform < (x[i] + one) * half else -one
        y[i] = sign if x[i] == x[i] else x[i]


@divided
@jit
def _dropout_mask(start, stop, mask, seed, limit, scale):
    mask = mask[start:stop]
    first = numpy.uint64(start + 1)
    for i in range(mask.size):
        z = seed + (first + numpy.uint64(i)) * numpy.uint64(
            0x9E3779B97F4A7C15)
        z = (z ^ z >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
        z ^= z >> numpy.uint64(31)
        mask[i] = scale if z >= limit else 0


# Below, comparisons are false for NaN, which so stays what it is.

@divided
@jit
def _quantize_linear(start, stop, x, y, step):
    x, y = x[start:stop], y[start:stop]
    one = x.dtype.type(1)
    inverse, highest = one / step, one - step
    for i in range(x.size):
        q = numpy.rint(x[i] * inverse) * step
        y[i] = -one if q < -one else highest if q > highest else q


@divided
@jit
def _ap2(start, stop, x, y):
    x, y = x[start:stop], y[start:stop]
    for i in range(x.size):
        y[i] = nearest_power(x[i])


@divided
@jit
def _quantize_log(start, stop, x, y, least, zero_below):
    x, y = x[start:stop], y[start:stop]
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


@divided
@jit
def _adam(start, stop, param, grad, m, v, alpha_t, beta1_c, beta2_c, eps,
          eta, lower, upper):
    param, grad, m, v = (
        param[start:stop], grad[start:stop], m[start:stop], v[start:stop])
    for i in range(param.size):
        g = grad[i]
        m_i = m[i] + beta1_c * (g - m[i])
        v_i = v[i] + beta2_c * (g * g - v[i])
        p = param[i] - eta * (alpha_t / (numpy.sqrt(v_i) + eps) * m_i)
        m[i] = m_i
        v[i] = v_i
        # Comparisons are false for NaN, which so stays what it is.
        param[i] = lower if p < lower else upper if p > upper else p


@divided
@jit
def _shift_adamax(start, stop, param, grad, m, v, step, beta1_c, beta2,
                  lower, upper, tiny):
    param, grad, m, v = (
        param[start:stop], grad[start:stop], m[start:stop], v[start:stop])
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


def binarize(x):
    """See ``numpy_kernels.binarize``."""
    if not is_covered(x):
        return numpy_kernels.binarize(x)
    y = numpy.empty_like(x)
    elementwise(_binarize, x, y)
    return y


def binarize_backward(x, gy):
    """See ``numpy_kernels.binarize_backward``."""
    if not is_covered(x, gy):
        return numpy_kernels.binarize_backward(x, gy)
    gx = numpy.empty_like(gy)
    elementwise(_binarize_backward, x, gy, gx)
    return gx


def binarize_stochastic(x, random):
    """See ``numpy_kernels.binarize_stochastic``."""
    if not (is_covered(x) and random.flags.c_contiguous):
        return numpy_kernels.binarize_stochastic(x, random)
    y = numpy.empty_like(x)
    elementwise(_binarize_stochastic, x, random, y)
    return y


def dropout_mask(x, ratio, seed):
    """See ``numpy_kernels.dropout_mask``."""
    if x.dtype not in (numpy.float32, numpy.float64):
        return numpy_kernels.dropout_mask(x, ratio, seed)
    mask = numpy.empty(x.shape, x.dtype)
    elementwise(_dropout_mask, mask, numpy.uint64(seed),
                numpy_kernels.dropout_limit(ratio),
                mask.dtype.type(1 / (1 - ratio)))
    return mask


def quantize_linear(x, bits):
    """See ``numpy_kernels.quantize_linear``."""
    if not is_covered(x):
        return numpy_kernels.quantize_linear(x, bits)
    y = numpy.empty_like(x)
    elementwise(_quantize_linear, x, y, x.dtype.type(2. ** (1 - bits)))
    return y


def ap2(x):
    """See ``numpy_kernels.ap2``."""
    if not is_covered(x):
        return numpy_kernels.ap2(x)
    y = numpy.empty_like(x)
    elementwise(_ap2, x, y)
    return y


def quantize_log(x, n):
    """See ``numpy_kernels.quantize_log``."""
    if not is_covered(x):
        return numpy_kernels.quantize_log(x, n)
    y = numpy.empty_like(x)
    limits = (2. ** (1 - n), 2. ** -n) if n else (0, 0)
    elementwise(_quantize_log, x, y, *map(x.dtype.type, limits))
    return y


def count_outside(x):
    """See ``numpy_kernels.count_outside``."""
    if not is_covered(x):
        return numpy_kernels.count_outside(x)
    return _count_outside(x.reshape(-1))


def dot(a, b):
    """See ``numpy_kernels.dot``."""
    for product in table_product, sparse_product:
        y = product.dot(a, b)
        if y is not None:
            return y
    return numpy_kernels.dot(a, b)


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
    elementwise(_adam, param, grad, m, v, *scalars)


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
    elementwise(_shift_adamax, param, grad, m, v, *scalars)
