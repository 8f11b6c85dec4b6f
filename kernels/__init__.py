"""The arithmetic of the binary network.

Three modules hold the same functions under the same names: ``numpy_kernels``,
the readable reference, ``numba_kernels``, compiled for the CPU, and
``cupy_kernels`` for the GPU. The functions of this module hand each call to
one of them: to CuPy's for CuPy's arrays, else to Numba's where Numba can be
imported, else to NumPy's. They take and return arrays, but for the quantized
matrices of ``kernels.matrix``. Nothing here needs Chainer.
"""
import contextlib
import sys

import numpy

from kernels import numpy_kernels
from kernels.matrix import Matrix
from kernels.threads import own_cores  # noqa: F401  (for those who train)

try:
    import numba
except ImportError:
    # Every Python that NumPy runs on is good enough; Numba takes some months
    # to support a new one.
    numba = None

_cpu_kernels = numpy_kernels
if numba is not None and not numba.config.DISABLE_JIT:
    from kernels.compiled import numba_kernels
    _cpu_kernels = numba_kernels


def description(xp=numpy):
    """Returns the name and version of what computes on arrays of xp.

    Args:
        xp (module): ``numpy`` or ``cupy``.

    """
    if xp is not numpy:
        return f'CuPy {xp.__version__}'
    if _cpu_kernels is numpy_kernels:
        return f'NumPy {numpy.__version__}'
    return f'Numba {numba.__version__}'


@contextlib.contextmanager
def using_numpy():
    """Computes with the NumPy reference inside the ``with`` block."""
    global _cpu_kernels
    before, _cpu_kernels = _cpu_kernels, numpy_kernels
    try:
        yield
    finally:
        _cpu_kernels = before


def _kernels_for(array):
    # An array of CuPy's exists only where CuPy was imported already.
    cupy = sys.modules.get('cupy')
    if cupy is not None and isinstance(array, cupy.ndarray):
        from kernels import cupy_kernels
        return cupy_kernels
    return _cpu_kernels


def dot(a, b):
    """See ``numpy_kernels.dot``."""
    return _kernels_for(a).dot(a, b)


def binarize(x):
    """See ``numpy_kernels.binarize``."""
    return _kernels_for(x).binarize(x)


def binarize_backward(x, gy):
    """See ``numpy_kernels.binarize_backward``."""
    return _kernels_for(x).binarize_backward(x, gy)


def binarize_stochastic(x, random):
    """See ``numpy_kernels.binarize_stochastic``."""
    return _kernels_for(x).binarize_stochastic(x, random)


def dropout_mask(x, ratio, seed):
    """See ``numpy_kernels.dropout_mask``."""
    return _kernels_for(x).dropout_mask(x, ratio, seed)


def quantize_linear(x, bits):
    """See ``numpy_kernels.quantize_linear``."""
    return _kernels_for(x).quantize_linear(x, bits)


def quantize_log(x, n):
    """See ``numpy_kernels.quantize_log``."""
    return _kernels_for(x).quantize_log(x, n)


def ap2(x):
    """See ``numpy_kernels.ap2``."""
    return _kernels_for(x).ap2(x)


def count_outside(x):
    """See ``numpy_kernels.count_outside``."""
    return _kernels_for(x).count_outside(x)


def batch_normalization(x, gamma, beta, eps):
    """See ``numpy_kernels.batch_normalization``."""
    return _kernels_for(x).batch_normalization(x, gamma, beta, eps)


def batch_normalization_backward(x, gamma, gy, mean, inv_std):
    """See ``numpy_kernels.batch_normalization_backward``."""
    return _kernels_for(x).batch_normalization_backward(
        x, gamma, gy, mean, inv_std)


def as_matrix(array):
    """Returns weights that are quantized already as a ``Matrix``."""
    return Matrix(array, dot)


def sign_matrix(W):
    """See ``numpy_kernels.sign_matrix``."""
    return _kernels_for(W).sign_matrix(W)


def adam(param, *args, **kwargs):
    """See ``numpy_kernels.adam``."""
    _kernels_for(param).adam(param, *args, **kwargs)


def shift_adamax(param, *args, **kwargs):
    """See ``numpy_kernels.shift_adamax``."""
    _kernels_for(param).shift_adamax(param, *args, **kwargs)


def pack_signs(x):
    """See ``numpy_kernels.pack_signs``."""
    return _kernels_for(x).pack_signs(x)


def unpack_signs(words, n):
    """See ``numpy_kernels.unpack_signs``."""
    return _kernels_for(words).unpack_signs(words, n)


def tile_weights(words):
    """See ``numpy_kernels.tile_weights``."""
    return _kernels_for(words).tile_weights(words)


def tile_pixel_weights(words):
    """See ``numpy_kernels.tile_pixel_weights``."""
    return _kernels_for(words).tile_pixel_weights(words)


def xnor_dot(a, tiles, n_in, n_out):
    """See ``numpy_kernels.xnor_dot``."""
    return _kernels_for(a).xnor_dot(a, tiles, n_in, n_out)


def xnor_sign(a, tiles, n_in, thresholds, falling):
    """See ``numpy_kernels.xnor_sign``."""
    return _kernels_for(a).xnor_sign(a, tiles, n_in, thresholds, falling)


def bitplane_dot(x, order, tiles, n_out):
    """See ``numpy_kernels.bitplane_dot``."""
    return _kernels_for(x).bitplane_dot(x, order, tiles, n_out)


def bitplane_sign(x, order, tiles, thresholds, falling):
    """See ``numpy_kernels.bitplane_sign``."""
    return _kernels_for(x).bitplane_sign(x, order, tiles, thresholds, falling)
