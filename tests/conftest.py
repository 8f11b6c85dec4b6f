"""What several test modules share."""
import contextlib
import gzip
import importlib.util
import os
import signal
import struct
import sys

import numpy
import pytest

import host_cupy
import kernels
from kernels import numpy_kernels, threads

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
    # The stand-in, which has one, counts as well.
    HAS_GPU = cupy.cuda.runtime.getDeviceCount() > 0
except Exception:  # no CuPy, no driver, no device: each has its own error
    HAS_GPU = False


# A background job of a script ignores SIGINT, and so would the runs that the
# tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture(params=[1, 2, 3, 8])
def some_threads(request, monkeypatch):
    """Makes threads of even the smallest work, on however few cores."""
    monkeypatch.setattr(threads, 'n_threads', lambda: request.param)
    for name, module in list(sys.modules.items()):
        if name.startswith('kernels.') and hasattr(module, 'n_own'):
            monkeypatch.setattr(
                module, 'n_own', lambda work, least: request.param)


@pytest.fixture(scope='session')
def host_cupy_kernels():
    """The module cupy_kernels, run on the CPU, and its cupy."""
    if host_cupy.COMPILER is None:
        pytest.skip('needs a C++ compiler')
    spec = importlib.util.spec_from_file_location(
        'host_cupy_kernels',
        os.path.join(os.path.dirname(kernels.__file__), 'cupy_kernels.py'))
    module = importlib.util.module_from_spec(spec)
    with host_cupy.installed():
        spec.loader.exec_module(module)
    return module


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


def write_idx(folder, train, test, compressed=False, separator='-'):
    """Writes a data set, (images, labels) of each part, as IDX files."""
    for part, arrays in ('train', train), ('t10k', test):
        for name, array in zip(('images', 'labels'), arrays):
            content = struct.pack(f'>{1 + array.ndim}I', 0x800 + array.ndim,
                                  *array.shape) + array.tobytes()
            path = folder / f'{part}-{name}{separator}idx{array.ndim}-ubyte'
            if compressed:
                path = path.with_name(path.name + '.gz')
                content = gzip.compress(content, 1)
            path.write_bytes(content)
