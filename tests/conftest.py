"""What several test modules share."""
import contextlib

import numpy
import pytest

import kernels
from kernels import numpy_kernels

try:
    from kernels import numba_kernels
except ImportError:
    numba_kernels = None

needs_numba = pytest.mark.skipif(
    numba_kernels is None, reason='needs Numba, which is not installed')
on_each_backend = pytest.mark.parametrize('backend', [
    numpy_kernels, pytest.param(numba_kernels, marks=needs_numba)],
    ids=['numpy', 'numba'])

try:
    import cupy
    HAS_GPU = cupy.cuda.runtime.getDeviceCount() > 0
except Exception:  # no CuPy, no driver, no device: each has its own error
    HAS_GPU = False


def pytest_collection_modifyitems(items):
    if HAS_GPU:
        return
    skip = pytest.mark.skip(reason='needs CuPy and a CUDA device')
    for item in items:
        if 'gpu' in item.keywords:
            item.add_marker(skip)


@pytest.fixture(params=['numpy', 'default'])
def kernel_path(request):
    """Runs a test on the NumPy kernels and on what is there by default."""
    context = {'numpy': kernels.using_numpy,
               'default': contextlib.nullcontext}[request.param]
    with context():
        yield request.param


@pytest.fixture
def random():
    return numpy.random.RandomState(0)


def edge_values(dtype):
    """Returns 0, -0.0, +-1 with neighbours, the extremes, and no NaN."""
    one = numpy.ones((), dtype)
    info = numpy.finfo(dtype)
    positive = [0, one, numpy.nextafter(one, 2 * one),
                numpy.nextafter(one, 0 * one), 0.5, info.tiny,
                numpy.nextafter(0 * one, one), info.max, numpy.inf]
    values = numpy.array(positive, dtype)
    return numpy.concatenate([values, -values])
