import os
import subprocess
import sys

import numpy
import pytest

from tests.helpers import ROOT, needs_numba

pytestmark = needs_numba

# What each program below begins with: a kernel on two cores, or a wrong sum.
BEGINNING = '''
import os, threading, warnings
warnings.simplefilter('ignore')
import numba, numpy
from kernels.compiled import numba_kernels, parallel
x = numpy.linspace(-1, 1, 10 ** 6, dtype=numpy.float32)

def divide():
    for _ in range(20):
        y = numpy.zeros_like(x)
        numba_kernels._binarize(x.size, 2, x, y)
        assert abs(y).sum() == x.size
'''


def run(code, **variables):
    """Returns what a program prints after the beginning."""
    result = subprocess.run(
        [sys.executable, '-c', BEGINNING + code], cwd=ROOT, timeout=300,
        env={**os.environ, 'NUMBA_NUM_THREADS': '2', **variables},
        stdout=subprocess.PIPE, text=True)
    assert result.returncode == 0
    return result.stdout


def has_openmp():
    try:
        from numba.np.ufunc import omppool
    except ImportError:  # A slim container has no libgomp.
        return False
    return omppool is not None


LAYERS = pytest.mark.parametrize('layer', [
    pytest.param('omp', marks=pytest.mark.skipif(
        not has_openmp(), reason='needs an OpenMP library')), 'workqueue'])


@LAYERS
def test_threads_of_a_program_may_divide_at_once(layer):
    assert run('''
threads = [threading.Thread(target=divide) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(numba.threading_layer(), numba.get_num_threads())
''', NUMBA_THREADING_LAYER=layer) == f'{layer} 2\n'


@LAYERS
@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_forked_process_may_divide(layer):
    assert run('''
divide()
for _ in range(2):
    pid = os.fork()
    divide()
    if not pid:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
print(parallel._may_divide)
''', NUMBA_THREADING_LAYER=layer) == 'True\n'


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_forked_process_whose_parent_has_not_divided_has_all_cores():
    assert run('''
if not os.fork():
    divide()
    print(parallel._may_divide, numba.threading_layer() != '')
else:
    os.wait()
''') == 'True True\n'


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_the_pools_of_multiprocessing_may_predict():
    assert run('''
import multiprocessing
from data import sets
from prediction.packed_net import PackedNet
from tests.helpers.packed_products import Case

def check(_):
    Case(3, 100, 70, 0).check(numba_kernels)
    assert (net.predict(images) == classes).all()
    divide()

if __name__ == '__main__':
    net = PackedNet.load('models/mnist.npz')
    images = sets.read().parts[1][0][:5000]
    classes = net.predict(images)
    divide()
    with multiprocessing.get_context('fork').Pool(2) as pool:
        pool.map(check, range(4))
    print('done')
''') == 'done\n'


def test_the_number_of_numbas_threads_stays_that_of_the_caller():
    assert run('''
numba.set_num_threads(1)
divide()
print(numba.get_num_threads())
''') == '1\n'


def test_a_second_process_compiles_nothing(tmp_path):
    code = '''
from numba.core import event

class Listener(event.Listener):
    def on_start(self, event):
        print(event.data['dispatcher'].py_func.__name__)

    def on_end(self, event):
        pass

event.register('numba:compile', Listener())
divide()
'''
    first, second = (run(code, NUMBA_CACHE_DIR=str(tmp_path))
                     for _ in range(2))
    assert '_binarize\n' in first
    assert second == ''


@pytest.mark.parametrize('n', [0, 1, 2, 7, 64, 1000])
@pytest.mark.parametrize('n_parts', [0, 1, 2, 3, 8, 1001])
def test_each_value_is_in_one_part(n, n_parts):
    from kernels.compiled import numba_kernels
    x = numpy.arange(-5, n - 5, dtype=numpy.float32)
    y = numpy.zeros_like(x)
    numba_kernels._binarize(n, n_parts, x, y)
    numpy.testing.assert_array_equal(y, numpy.where(x >= 0, 1, -1))


def test_a_kernel_without_memory_says_so():
    from kernels.compiled import parallel
    from kernels.compiled.jit import jit

    @parallel.divided
    @jit
    def allocate(start, stop, n):
        numpy.empty(n[start])[0] = 1

    allocate(2, 2, numpy.array([1, 1]))
    for n in [1 << 60, 1], [1, 1 << 60]:
        with pytest.raises(MemoryError):
            allocate(2, 2, numpy.array(n))
    allocate(2, 2, numpy.array([1, 1]))
