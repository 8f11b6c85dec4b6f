"""The cache of compiled kernels, in a copy of the package."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import kernels
from tests.helpers import needs_numba

pytestmark = needs_numba

CODE = '''
import kernels, numpy
print(kernels.binarize(numpy.zeros(1, 'f')), end=' ')
stats = kernels.numba_kernels._binarize.__wrapped__.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
'''
COMPILED, LOADED = '[1.] 0 1\n', '[1.] 1 0\n'


@pytest.fixture
def package(tmp_path):
    shutil.copytree(pathlib.Path(kernels.__file__).parent,
                    tmp_path / 'kernels',
                    ignore=shutil.ignore_patterns('__pycache__'))
    return tmp_path / 'kernels'


def run(package, before=''):
    environment = {k: v for k, v in os.environ.items()
                   if k != 'NUMBA_CACHE_DIR'}
    process = subprocess.run(
        [sys.executable, '-c', before + CODE], cwd=package.parent,
        env={**environment, 'PYTHONPATH': str(package.parent)},
        capture_output=True, text=True, timeout=120, check=True)
    return process.stdout, process.stderr


def cache_files(package, ending):
    found = list((package / 'compiled' / '__pycache__').glob(
        f'*_binarize-*.{ending}'))
    assert found
    return found


def test_a_kernel_is_compiled_once(package):
    assert run(package) == (COMPILED, '')
    assert run(package) == (LOADED, '')


@pytest.mark.parametrize('name', [
    'compiled/vector_intrinsics.py', 'compiled/numba_kernels.py',
    'matrix.py'])
def test_a_change_of_any_file_compiles_anew(package, name):
    run(package)
    with open(package / name, 'a') as f:
        f.write('# another line\n')
    assert run(package) == (COMPILED, '')
    assert run(package) == (LOADED, '')


@pytest.mark.parametrize('ending', ['nbi', 'nbc'])
@pytest.mark.parametrize('size', [0, 100])
def test_a_file_that_is_cut_off_is_made_anew(package, ending, size):
    run(package)
    for path in cache_files(package, ending):
        path.write_bytes(path.read_bytes()[:size])
    assert run(package) == (COMPILED, '')
    assert run(package) == (LOADED, '')


def test_a_full_disk_is_a_warning_and_all_is_compiled(package):
    out, err = run(package, before='''
import errno, os
from numba.core import caching
def full(self, path):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
caching.IndexDataCacheFile._open_for_write = full
import numpy, kernels
kernels.count_outside(numpy.zeros(1, 'f'))
''')
    assert out == COMPILED
    # Of two kernels, once
    assert err.count('RuntimeWarning') == 1
    assert 'compiled kernels cannot be kept in ' in err
    assert 'No space left on device; each start compiles them anew' in err
