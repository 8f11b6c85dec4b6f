import numpy
import pytest
import threadpoolctl

import kernels
from kernels import numpy_kernels, threads


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
