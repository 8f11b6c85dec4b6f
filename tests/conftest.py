"""Fixtures that several test modules share, and what tests run on."""
import contextlib
import importlib.util
import os
import signal
import sys

import numpy
import pytest

import kernels
from kernels import threads
from tests.helpers import host_cupy

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
        if item.get_closest_marker('gpu'):
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
