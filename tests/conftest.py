"""Fixtures that several test modules share, and what tests run on."""
import contextlib
import importlib.util
import os
import pathlib
import signal
import sys

import numpy
import pytest

import kernels
from kernels import cores
from tests.helpers import host_cupy

try:
    import cupy
    # The stand-in, which has one, counts as well.
    HAS_GPU = cupy.cuda.runtime.getDeviceCount() > 0
except Exception:  # no CuPy, no driver, no device: each has its own error
    HAS_GPU = False

TESTS = pathlib.Path(__file__).resolve().parent

# What is marked slow, and how many seconds it takes on two cores: tests that
# run whole programs again and again. They depend on Python and NumPy by what
# the other tests cover: .ci/run leaves them out where it tries other versions.
SLOW = {'test_train_mnist.py': 68, 'test_convolutional_runs.py': 60,
        'test_predict_mnist.py': 25, 'test_killed_runs.py': 22, 'gpu': 17,
        'benchmarks': 20, 'experiments': 10}

# A background job of a script ignores SIGINT, and so would the runs that the
# tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure():
    for name in SLOW:
        if not (TESTS / name).exists():
            raise pytest.UsageError(f'{name}, slow in conftest.py, is gone')


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.relative_to(TESTS).parts[0] in SLOW:
            item.add_marker('slow')
        if not HAS_GPU and item.get_closest_marker('gpu'):
            item.add_marker(
                pytest.mark.skip(reason='needs CuPy and a CUDA device'))


@pytest.fixture(params=['numpy', 'default'])
def kernel_path(request):
    """Runs a test on the NumPy kernels and on what is there by default."""
    context = {'numpy': kernels.using_numpy,
               'default': contextlib.nullcontext}[request.param]
    with context():
        yield request.param


@pytest.fixture(params=[1, 2, 3, 8])
def some_threads(request, monkeypatch):
    """Divides even the smallest work, on however few cores."""
    monkeypatch.setattr(cores, 'n_parts', lambda work, least: request.param)
    monkeypatch.setattr(cores, 'products_at_once', lambda: True)
    for name, module in list(sys.modules.items()):
        if name.startswith('kernels.') and hasattr(module, 'n_own'):
            monkeypatch.setattr(
                module, 'n_own', lambda work, least: request.param)


def run_in_stand_in(name, **imported):
    """Runs a module of kernels/ anew, with the stand-in in CuPy's place.

    Args:
        name (str): Name of the module.
        imported (dict): What it imports of kernels/ that has been run so.

    """
    if host_cupy.COMPILER is None:
        pytest.skip('needs a C++ compiler')
    spec = importlib.util.spec_from_file_location(
        f'host_{name}',
        os.path.join(os.path.dirname(kernels.__file__), f'{name}.py'))
    module = importlib.util.module_from_spec(spec)
    with host_cupy.installed(), pytest.MonkeyPatch.context() as patch:
        for key, value in imported.items():
            patch.setitem(sys.modules, f'kernels.{key}', value)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='session')
def host_cupy_bits():
    """The module cupy_bits, run on the CPU, and its cupy."""
    return run_in_stand_in('cupy_bits')


@pytest.fixture(scope='session')
def host_cupy_convolution():
    """The module cupy_convolution, run on the CPU, and its cupy."""
    return run_in_stand_in('cupy_convolution')


@pytest.fixture(scope='session')
def host_cupy_study():
    """The module cupy_study, run on the CPU, and its cupy."""
    return run_in_stand_in('cupy_study')


@pytest.fixture(scope='session')
def host_cupy_max_pooling():
    """The module cupy_max_pooling, run on the CPU, and its cupy."""
    return run_in_stand_in('cupy_max_pooling')


@pytest.fixture(scope='session')
def host_cupy_packed_convolution(host_cupy_bits):
    """The module cupy_packed_convolution, run on the CPU, and its cupy."""
    return run_in_stand_in('cupy_packed_convolution', cupy_bits=host_cupy_bits)


@pytest.fixture(scope='session')
def host_cupy_kernels(host_cupy_bits, host_cupy_convolution,
                      host_cupy_max_pooling, host_cupy_packed_convolution,
                      host_cupy_study):
    """The module cupy_kernels, run on the CPU, and its cupy."""
    return run_in_stand_in(
        'cupy_kernels', cupy_bits=host_cupy_bits,
        cupy_convolution=host_cupy_convolution,
        cupy_max_pooling=host_cupy_max_pooling,
        cupy_packed_convolution=host_cupy_packed_convolution,
        cupy_study=host_cupy_study)


@pytest.fixture
def random():
    return numpy.random.RandomState(0)
