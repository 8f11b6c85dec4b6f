"""CuPy's kernels of a packed net, by a stand-in and, marked, on a GPU.

The stand-in compiles the kernels for the CPU and calls them once for each
thread of the grid. That they compile for a GPU is tested in test_gpu.py.
"""
import hypothesis
import hypothesis.strategies as st
import numpy
import pytest

import kernels
from tests.helpers.packed_products import (
    Case, often, pack, rows, units, widths)


@often
@hypothesis.given(rows, widths, units, st.integers(0, 1 << 30))
@hypothesis.example(0, 70, 3, 0)
def test_cuda_products_equal_those_of_integers_on_the_host(
        host_cupy_kernels, n, n_in, n_out, seed):
    Case(n, n_in, n_out, seed).check(host_cupy_kernels, host_cupy_kernels.cupy)


def test_cuda_code_packs_and_unpacks_signs_on_the_host(host_cupy_kernels):
    x = numpy.random.RandomState(0).randn(3, 130)
    words = host_cupy_kernels.pack_signs(host_cupy_kernels.cupy.asarray(x))
    numpy.testing.assert_array_equal(words.get(), pack(x >= 0))
    numpy.testing.assert_array_equal(
        host_cupy_kernels.unpack_signs(words, 130).get(),
        numpy.where(x < 0, -1, 1))


def test_cuda_threads_take_several_values_each(host_cupy_bits, monkeypatch):
    monkeypatch.setattr(host_cupy_bits, '_THREADS', 3)
    monkeypatch.setattr(host_cupy_bits, '_MAX_BLOCKS', 2)
    Case(5, 130, 70, 0).check(host_cupy_bits, host_cupy_bits.cupy)


@pytest.mark.gpu
@pytest.mark.parametrize('shape', [
    (0, 70, 3), (1, 1, 1), (3, 65, 130), (200, 784, 600)])
def test_products_equal_those_of_integers_on_a_gpu(shape):
    import cupy
    case = Case(*shape, 0)
    case.check(kernels, cupy)
    signs = kernels.unpack_signs(
        kernels.pack_signs(cupy.asarray(case.a)), case.n_in)
    numpy.testing.assert_array_equal(signs.get(), case.a)
