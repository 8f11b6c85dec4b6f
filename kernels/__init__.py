"""The arithmetic of the binary network.

Three backends hold the same kernels under the same names: ``numpy_kernels``,
the readable reference, ``compiled.numba_kernels`` for the CPU and
``cupy_kernels`` for the GPU. The kernels of this module hand each call to one
of them, by the first argument: to CuPy's for CuPy's arrays, else to Numba's
where Numba can be imported, else to NumPy's. They take and return arrays, but
for the quantized matrices of ``kernels.matrix``. Nothing here needs Chainer.

To add a kernel, write it in the three backends and put its name in
``KERNELS``.
"""
import contextlib
import functools
import inspect
import sys
import typing

import numpy

from kernels import cores, numpy_kernels
from kernels.matrix import Matrix

if typing.TYPE_CHECKING:
    # For editors, which do not see what the loop at the end makes.
    from kernels.numpy_kernels import *  # noqa: F403

try:
    import numba
except ImportError:
    # Every Python that NumPy runs on is good enough; Numba takes some months
    # to support a new one.
    numba = None

KERNELS = (
    # Products
    'dot', 'sign_matrix',
    'convolution_2d', 'convolution_2d_gx', 'convolution_2d_gW',
    # Quantization
    'binarize', 'binarize_stochastic', 'quantize_linear', 'quantize_log',
    'heaviside', 'quantize_ternary', 'quantize_unit', 'ap2', 'count_outside',
    # Its gradients
    'binarize_backward', 'unit_backward', 'approx_backward', 'swish_backward',
    # Layers and optimizers
    'dropout_mask', 'batch_normalization', 'batch_normalization_backward',
    'normalize', 'max_pooling_2d', 'max_pooling_2d_backward',
    'adam', 'shift_adamax', 'bop',
    # A packed net
    'pack_signs', 'unpack_signs', 'tile_weights', 'tile_pixel_weights',
    'xnor_dot', 'xnor_sign', 'bitplane_dot', 'bitplane_sign',
    'sign_window', 'convolve_signs', 'pixel_window', 'convolve_pixels',
    'flatten_signs')

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
    # Whose threads there are is known when they are there.
    numba.get_num_threads()
    layer = {'omp': 'OpenMP', 'tbb': 'TBB', 'workqueue': 'its own threads'}[
        numba.threading_layer()]
    return f'Numba {numba.__version__} with {layer}'


@contextlib.contextmanager
def using_numpy():
    """Computes with the NumPy reference inside the ``with`` block."""
    global _cpu_kernels
    before, _cpu_kernels = _cpu_kernels, numpy_kernels
    try:
        yield
    finally:
        _cpu_kernels = before


@contextlib.contextmanager
def own_cores(say=None):
    """Divides kernels and matrix products among the cores; for a training.

    See :func:`kernels.cores.own_cores`.

    Args:
        say (callable): Is told in a line when kernels have to be compiled.

    Yields:
        ~kernels.cores.Cores: Whose ``adapt()`` is to be called after each
        iteration.

    """
    with contextlib.ExitStack() as stack:
        if say and _cpu_kernels is not numpy_kernels:
            from kernels.compiled import jit
            stack.enter_context(jit.announced(say))
        yield stack.enter_context(
            cores.own_cores(_cpu_kernels is not numpy_kernels))


def _kernels_for(array):
    # An array of CuPy's exists only where CuPy was imported already.
    cupy = sys.modules.get('cupy')
    if cupy is not None and isinstance(array, cupy.ndarray):
        from kernels import cupy_kernels
        return cupy_kernels
    return _cpu_kernels


def as_matrix(array):
    """Returns weights that are quantized already as a matrix for products.

    Args:
        array (array): Quantized weights of shape (M, K), of any float dtype.

    Returns:
        ~kernels.matrix.Matrix: The same weights.

    """
    return Matrix(array, dot)  # noqa: F405


def _dispatching(name):
    """Returns the function that hands each call of a kernel to a backend.

    It has the signature and the docstring of the NumPy reference.
    """
    reference = getattr(numpy_kernels, name)
    first, *_ = inspect.signature(reference).parameters

    @functools.wraps(reference)
    def kernel(*args, **kwargs):
        array = args[0] if args else kwargs.get(first)
        return getattr(_kernels_for(array), name)(*args, **kwargs)

    kernel.__module__ = __name__
    return kernel


for _name in KERNELS:
    globals()[_name] = _dispatching(_name)
