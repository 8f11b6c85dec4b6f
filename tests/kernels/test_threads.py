import os
import subprocess
import sys

import numpy
import pytest
import threadpoolctl

import kernels
from kernels import numpy_kernels, threads
from tests.helpers import ROOT


def blas_threads():
    blas = threadpoolctl.ThreadpoolController().select(user_api='blas')
    return [info['num_threads'] for info in blas.info()]


def test_blas_has_one_thread_inside_own_cores_and_its_own_after():
    before = blas_threads()
    assert before
    with kernels.own_cores():
        assert set(blas_threads()) == {1}
        assert threads.n_own(10 ** 9, 1) == max(before)
        with kernels.own_cores():
            assert threads.n_own(10 ** 9, 1) == max(before)
        assert threads.n_own(10 ** 9, 1) == max(before)
    assert blas_threads() == before
    assert threads.n_own(10 ** 9, 1) == 1


def test_an_error_inside_own_cores_gives_blas_its_threads_back():
    before = blas_threads()
    with pytest.raises(ZeroDivisionError), kernels.own_cores():
        raise ZeroDivisionError
    assert blas_threads() == before
    assert threads.n_own(10 ** 9, 1) == 1


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


def test_a_thread_that_divides_its_own_work_does_not_wait_for_itself(
        some_threads):
    taken = []

    def divide(part):
        threads.run_in_threads(taken.append, part.stop - part.start, 8)

    threads.run_in_threads(divide, 16, 8)
    assert sum(part.stop - part.start for part in taken) == 16


@pytest.mark.parametrize('n_rows', [0, 1, 2, 5, 100])
@pytest.mark.parametrize('n', [0, 1, 2, 3, 8])
def test_each_row_is_given_to_one_thread(n_rows, n, monkeypatch):
    monkeypatch.setattr(threads, 'n_threads', lambda: 4)
    taken = numpy.zeros(n_rows, int)

    def take(part):
        taken[part] += 1

    threads.run_in_threads(take, n_rows, n)
    assert (taken == 1).all()


def test_an_error_in_a_thread_is_raised_to_the_caller(monkeypatch):
    monkeypatch.setattr(threads, 'n_threads', lambda: 2)

    def fail(part):
        if part.start:
            raise ValueError('in a thread')

    with pytest.raises(ValueError, match='in a thread'):
        threads.run_in_threads(fail, 10, 2)


@pytest.mark.skipif(not hasattr(os, 'sched_getaffinity'),
                    reason='needs Linux')
def test_threads_are_as_many_as_the_cores_that_are_allowed():
    assert threads.n_threads() == len(os.sched_getaffinity(0))


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_threads_work_in_a_forked_process():
    code = '''
import os, warnings
warnings.simplefilter('ignore')
from kernels import threads
threads.n_threads = lambda: 2
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
