"""The kernels on the GPU: one CuPy elementwise kernel each.

The C++ bodies follow the order of the operations in ``numpy_kernels``. CUDA's
compiler may fuse a multiplication and an addition, so Adam's last bit may
differ; ``binarize`` and its backward are exact.
"""
import functools

import cupy
import numpy

BINARIZE = (
    'T x', 'T y',
    # x itself where it is neither: NaN.
    'y = x >= T(0) ? T(1) : x < T(0) ? T(-1) : x',
    'quantized_net_binarize')

BINARIZE_BACKWARD = (
    'T x, T gy', 'T gx',
    'gx = gy * (x >= T(-1) && x <= T(1) ? T(1) : T(0))',
    'quantized_net_binarize_backward')

ADAM = (
    'T grad, T alpha_t, T beta1_c, T beta2_c, T eps, T eta, T lower, T upper',
    'T param, T m, T v',
    '''
    m += beta1_c * (grad - m);
    v += beta2_c * (grad * grad - v);
    T p = param - eta * (alpha_t / (sqrt(v) + eps) * m);
    param = p < lower ? lower : p > upper ? upper : p;
    ''',
    'quantized_net_adam')


@functools.cache
def _kernel(definition):
    return cupy.ElementwiseKernel(*definition)


def binarize(x):
    """See ``numpy_kernels.binarize``."""
    return _kernel(BINARIZE)(x)


def binarize_backward(x, gy):
    """See ``numpy_kernels.binarize_backward``."""
    return _kernel(BINARIZE_BACKWARD)(x, gy)


def adam(param, grad, m, v, alpha_t, beta1, beta2, eps, eta,
         lower=-numpy.inf, upper=numpy.inf):
    """See ``numpy_kernels.adam``."""
    scalars = [param.dtype.type(s) for s in (
        alpha_t, 1.0 - beta1, 1.0 - beta2, eps, eta, lower, upper)]
    _kernel(ADAM)(grad, *scalars, param, m, v)
