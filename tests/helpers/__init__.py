"""What several test modules share; no tests."""
import gzip
import pathlib
import struct

import numpy
import pytest

import kernels
from kernels import numpy_kernels

# None where Numba is missing or switched off (NUMBA_DISABLE_JIT).
numba_kernels = getattr(kernels, 'numba_kernels', None)

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Folders of the program; the others hold what is done with it.
FOLDERS = ('data', 'export', 'kernels', 'layers', 'optimizers', 'prediction',
           'recipes', 'system', 'training')


def program_files():
    """Returns the paths of all modules of the program."""
    paths = [*ROOT.glob('*.py'), *(
        path for folder in FOLDERS for path in (ROOT / folder).rglob('*.py'))]
    return sorted(path for path in paths if path.name != 'noxfile.py')

needs_numba = pytest.mark.skipif(
    numba_kernels is None,
    reason='needs Numba, which is not installed or switched off')
on_each_backend = pytest.mark.parametrize('backend', [
    numpy_kernels, pytest.param(numba_kernels, marks=needs_numba)],
    ids=['numpy', 'numba'])


def edge_values(dtype):
    """Returns 0, -0.0, +-1 with neighbours, the extremes, and no NaN."""
    one = numpy.ones((), dtype)
    info = numpy.finfo(dtype)
    positive = [0, one, numpy.nextafter(one, 2 * one),
                numpy.nextafter(one, 0 * one), 0.5, info.tiny,
                numpy.nextafter(0 * one, one), info.max, numpy.inf]
    values = numpy.array(positive, dtype)
    return numpy.concatenate([values, -values])


def write_random_data(folder, n_train, n_test, shape=(5, 6), seed=0):
    """Writes a data set of random images of 3 classes, as IDX files."""
    random = numpy.random.RandomState(seed)
    write_idx(folder, *(
        (random.randint(0, 256, (n, *shape)).astype(numpy.uint8),
         numpy.resize(numpy.arange(3), n).astype(numpy.uint8))
        for n in (n_train, n_test)))


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
