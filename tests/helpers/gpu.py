"""What tests of the GPU's path need: the stand-in for CuPy, CuPy itself."""
import pytest

from tests.helpers import ROOT, host_cupy, write_random_data

# python STAND_IN REPORT PROGRAM ARGUMENT...
STAND_IN = ROOT / 'tests' / 'helpers' / 'host_cupy'

needs_compiler = pytest.mark.skipif(
    host_cupy.COMPILER is None, reason='needs a C++ compiler')


def has_real_cupy():
    """Tells whether CuPy and its compiler are there; a GPU need not be."""
    try:
        import cupy
        from cupy.cuda import nvrtc
        return nvrtc.getVersion() and not hasattr(cupy, 'is_host_cupy')
    except Exception:  # no CuPy, no NVRTC: each has its own error
        return False


needs_cupy = pytest.mark.skipif(
    not has_real_cupy(), reason='needs CuPy with NVRTC, but no GPU: '
    'pip install -r requirements-gpu.txt')


def small_data(folder):
    """Makes a folder with a data set of 65 pixels and 3 classes."""
    folder.mkdir()
    write_random_data(folder, 300, 90, (5, 13))
    return folder
