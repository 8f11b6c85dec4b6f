import os
import subprocess
import sys
import threading

import numpy
import pytest

import kernels
from kernels import numpy_kernels, threads
from tests.helpers import ROOT


@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
@pytest.mark.parametrize(('n', 'k', 'm'), [
    (0, 3, 4), (4, 0, 3), (3, 4, 0), (1, 1, 1), (2, 7, 5), (30, 7, 5),
    (5, 7, 30)])
def test_dot_is_the_product_for_any_number_of_threads(
        some_threads, dtype, n, k, m, random):
    # Integers, whose sums are exact in each order.
    a = random.randint(-4, 5, (n, k)).astype(dtype)
    b = random.randint(-4, 5, (k, m)).astype(dtype)
    for left, right in (a, b), (numpy.asfortranarray(a), b), (
            a, numpy.asfortranarray(b)):
        y = kernels.dot(left, right)
        assert y.dtype == dtype
        assert y.flags.c_contiguous
        numpy.testing.assert_array_equal(y, a.astype(int).dot(b.astype(int)))


def test_kernels_give_the_same_bits_for_any_number_of_threads(
        some_threads, random):
    x = random.standard_normal((150, 70)).astype(numpy.float32)
    numpy.testing.assert_array_equal(
        kernels.binarize(x), numpy_kernels.binarize(x))
    numpy.testing.assert_array_equal(
        kernels.binarize_backward(x, x),
        numpy_kernels.binarize_backward(x, x))
    for name, *arguments in (
            ('unit_backward', x), ('approx_backward', x),
            ('swish_backward', x), ('heaviside',), ('quantize_ternary', .5),
            ('quantize_unit', 3)):
        numpy.testing.assert_array_equal(
            getattr(kernels, name)(x, *arguments),
            getattr(numpy_kernels, name)(x, *arguments))
    pairs = [[x.copy(), numpy.zeros_like(x)] for _ in range(2)]
    for module, (param, m) in zip((kernels, numpy_kernels), pairs):
        module.bop(param, x, m, 1e-2, 1e-3)
    numpy.testing.assert_array_equal(*pairs)
    q = numpy_kernels.binarize(x)
    numpy.testing.assert_array_equal(
        kernels.dropout_mask(x, .3, 5), numpy_kernels.dropout_mask(x, .3, 5))
    matrix = kernels.sign_matrix(x)
    numpy.testing.assert_array_equal(
        matrix.multiply_transposed(q), q.dot(q.T))
    numpy.testing.assert_array_equal(matrix.multiply(q.T), q.T.dot(q))
    states = [[x.copy(), x.copy(), 0 * x, 0 * x] for _ in range(2)]
    for module, state in zip((kernels, numpy_kernels), states):
        module.adam(*state, 0.01, 0.9, 0.999, 1e-8, 1.0, -1.0, 1.0)
    for a, b in zip(*states):
        numpy.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(('n', 'n_parts'), [
    (2, 2), (5, 2), (5, 3), (100, 8), (8, 8)])
def test_each_row_is_given_to_one_thread(n, n_parts):
    taken = numpy.zeros(n, int)

    def take(part):
        taken[part] += 1

    threads.run_in_threads(take, n, n_parts)
    assert (taken == 1).all()


def test_the_parts_are_computed_at_once():
    barrier = threading.Barrier(2, timeout=60)
    threads.run_in_threads(lambda _: barrier.wait(), 2, 2)


def test_an_error_in_a_thread_is_raised_to_the_caller():
    def fail(part):
        if part.start:
            raise ValueError('in a thread')

    with pytest.raises(ValueError, match='in a thread'):
        threads.run_in_threads(fail, 10, 2)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_threads_work_in_a_forked_process():
    code = '''
import os, warnings
warnings.simplefilter('ignore')
from kernels import threads
done = []
threads.run_in_threads(done.append, 4, 2)
pid = os.fork()
threads.run_in_threads(done.append, 4, 2)
if pid:
    assert os.waitpid(pid, 0)[1] == 0
assert len(done) == 4, done
'''
    subprocess.run([sys.executable, '-c', code], check=True, timeout=60,
                   cwd=ROOT)
