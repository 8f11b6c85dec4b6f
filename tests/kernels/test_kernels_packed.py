import importlib.util
import os
import platform
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import numpy
import pytest

import kernels
from kernels import numpy_bits, threads
from tests.helpers import ROOT, needs_numba, numba_kernels, on_each_backend

often = hypothesis.settings(max_examples=60, deadline=None, derandomize=True)

rows = st.integers(0, 9)
widths = st.one_of(st.integers(1, 200), st.sampled_from(
    [63, 64, 65, 128, 248, 249, 256, 784, 1000]))
units = st.one_of(st.integers(1, 150), st.sampled_from(
    [64, 128, 511, 512, 513, 600]))


class Case:
    """Random operands as plain integers and packed."""

    def __init__(self, n, n_in, n_out, seed):
        random = numpy.random.RandomState(seed)
        self.n_in, self.n_out = n_in, n_out
        self.a = random.choice([-1, 1], (n, n_in))
        self.w = random.choice([-1, 1], (n_out, n_in))
        # Zeros, so that octets are zero, and 255, so that sums are large.
        self.x = random.choice(
            [0, 0, 0, 1, 128, 255, 255], (n, n_in)).astype(numpy.uint8)
        self.thresholds = random.randint(
            -n_in // 2 - 1, n_in // 2 + 2, n_out).astype(numpy.int32)
        self.is_falling = random.rand(n_out) < .5
        self.falling = pack(self.is_falling[None])[0]
        self.order = random.permutation(-(-n_in // 4))
        self.words = numpy_bits.pack_signs(self.w)
        runs = numpy.full((n_out, 4 * len(self.order)), -1)
        runs[:, :n_in] = self.w
        runs = runs.reshape(n_out, len(self.order), 4)[:, self.order]
        self.pixel_words = numpy_bits.pack_signs(
            runs.reshape(n_out, 4 * len(self.order)))

    def signs(self, y):
        return pack((y >= self.thresholds) ^ self.is_falling)

    def check(self, backend, xp=numpy):
        """Compares a backend's products with those of integers."""
        def get(array):
            return array.get() if hasattr(array, 'get') else array

        def same(actual, expected, dtype):
            actual = get(actual)
            assert actual.dtype == dtype
            numpy.testing.assert_array_equal(actual, expected)

        send = xp.asarray
        y = self.a @ self.w.T
        words = send(numpy_bits.pack_signs(self.a))
        tiles = backend.tile_weights(send(self.words))
        thresholds, falling = send(self.thresholds), send(self.falling)
        same(backend.xnor_dot(words, tiles, self.n_in, self.n_out), y,
             numpy.int32)
        same(backend.xnor_sign(words, tiles, self.n_in, thresholds, falling),
             self.signs(y), numpy.uint64)

        y = self.x.astype(numpy.int64) @ self.w.T
        x, order = send(self.x), send(self.order)
        tiles = backend.tile_pixel_weights(send(self.pixel_words))
        same(backend.bitplane_dot(x, order, tiles, self.n_out), y,
             numpy.int32)
        same(backend.bitplane_sign(x, order, tiles, thresholds, falling),
             self.signs(y), numpy.uint64)


def pack(bits):
    """Packs bits one by one."""
    words = numpy.zeros((len(bits), -(-bits.shape[1] // 64)), numpy.uint64)
    for i, j in numpy.argwhere(bits):
        words[i, j // 64] |= numpy.uint64(1) << numpy.uint64(j % 64)
    return words


@on_each_backend
@often
@hypothesis.given(rows, widths, units, st.integers(0, 1 << 30))
@hypothesis.example(0, 70, 3, 0)
@hypothesis.example(1, 1, 1, 0)
@hypothesis.example(5, 784, 10, 0)
def test_products_equal_those_of_integers(backend, n, n_in, n_out, seed):
    Case(n, n_in, n_out, seed).check(backend)


@on_each_backend
def test_products_of_many_rows_and_no_units_are_exact(backend):
    Case(700, 130, 70, 0).check(backend)
    Case(3, 64, 0, 0).check(backend)


@on_each_backend
@often
@hypothesis.given(rows, widths, st.integers(0, 1 << 30),
                  st.sampled_from([numpy.int8, numpy.float16, numpy.float32,
                                   numpy.float64]))
def test_signs_come_back_from_their_words(backend, n, n_in, seed, dtype):
    x = numpy.random.RandomState(seed).randint(-2, 3, (n, n_in)).astype(dtype)
    words = backend.pack_signs(x)
    assert words.dtype == numpy.uint64
    numpy.testing.assert_array_equal(words, pack(x >= 0))
    signs = backend.unpack_signs(words, n_in)
    assert signs.dtype == numpy.int8
    numpy.testing.assert_array_equal(signs, numpy.where(x >= 0, 1, -1))


@on_each_backend
def test_zero_has_the_sign_plus_and_layouts_do_not_matter(backend):
    x = numpy.array([[0., -0., 1e-45, -1e-45, numpy.inf, -numpy.inf],
                     [1, -1, 1, -1, 1, -1]], numpy.float32)
    assert backend.pack_signs(x).ravel().tolist() == [0b010111, 0b010101]
    numpy.testing.assert_array_equal(
        backend.pack_signs(x.T), pack(x.T >= 0))
    numpy.testing.assert_array_equal(
        backend.pack_signs(x[::-1, ::2]), pack(x[::-1, ::2] >= 0))


@on_each_backend
def test_sums_of_white_pictures_do_not_overflow(backend):
    # 8 bits hold the popcounts of 31 octets, 16 bits those of 8 planes.
    x = numpy.full((2, 5000), 255, numpy.uint8)
    tiles = backend.tile_pixel_weights(
        backend.pack_signs(numpy.ones((1, 5000))))
    y = backend.bitplane_dot(x, numpy.arange(1250), tiles, 1)
    assert y.tolist() == [[255 * 5000]] * 2


@on_each_backend
def test_products_take_any_memory_layout(backend):
    case = Case(8, 100, 70, 0)
    words = numpy_bits.pack_signs(case.a)
    tiles = backend.tile_weights(case.words)
    numpy.testing.assert_array_equal(
        backend.xnor_dot(numpy.asfortranarray(words)[::2],
                         numpy.asfortranarray(tiles), 100, 70),
        case.a[::2] @ case.w.T)


def test_a_tile_holds_the_same_word_of_64_units():
    words = numpy.arange(3 * 70, dtype=numpy.uint64).reshape(70, 3)
    tiles = numpy_bits.tile_weights(words)
    assert tiles.shape == (2, 3, 64)
    assert tiles.ctypes.data % 64 == 0
    assert tiles[0, 2, 5] == words[5, 2]
    assert tiles[1, 1, 4] == words[68, 1]
    assert not tiles[1, :, 6:].any()


def load_module(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bits_are_counted_with_a_table_where_numpy_is_older(monkeypatch):
    monkeypatch.delattr(numpy, 'bitwise_count', raising=False)
    module = load_module(numpy_bits.__file__, 'numpy_bits_before_2')
    Case(5, 130, 70, 0).check(module)


def test_kernels_hand_each_call_to_one_module(kernel_path):
    Case(3, 100, 70, 0).check(kernels)


# Threads


@needs_numba
@pytest.mark.parametrize('n', [1, 2, 3])
def test_the_number_of_threads_does_not_matter(n, monkeypatch):
    from kernels.compiled import numba_bits
    for module in threads, numba_bits:
        monkeypatch.setattr(module, 'n_threads', lambda: n)
    monkeypatch.setattr(numba_bits, '_WORK', 1)
    Case(10, 100, 70, 0).check(numba_kernels)


@pytest.mark.parametrize('n_rows', [0, 1, 2, 5, 100])
@pytest.mark.parametrize('n', [0, 1, 2, 3, 8])
def test_each_row_is_taken_once(n_rows, n, monkeypatch):
    monkeypatch.setattr(threads, 'n_threads', lambda: 4)
    taken = numpy.zeros(n_rows, int)

    def take(part):
        taken[part] += 1

    threads.run_in_threads(take, n_rows, n)
    assert (taken == 1).all()


def test_an_error_in_a_thread_comes_out(monkeypatch):
    monkeypatch.setattr(threads, 'n_threads', lambda: 2)

    def fail(part):
        if part.start:
            raise ValueError('in a thread')

    with pytest.raises(ValueError, match='in a thread'):
        threads.run_in_threads(fail, 10, 2)


@pytest.mark.skipif(not hasattr(os, 'sched_getaffinity'),
                    reason='needs Linux')
def test_threads_are_as_many_as_the_cores_allowed():
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


@needs_numba
@pytest.mark.parametrize('features', ['+avx2,+popcnt', ''])
def test_products_are_exact_on_other_processors(features):
    if platform.machine() not in ('x86_64', 'AMD64'):
        pytest.skip('needs an x86-64 processor')
    code = """
from tests.kernels.test_kernels_packed import Case, numba_kernels
from kernels.compiled import product_intrinsics
assert product_intrinsics.ROWS == 2
Case(5, 130, 70, 0).check(numba_kernels)
"""
    subprocess.run(
        [sys.executable, '-c', code], check=True, timeout=60, cwd=ROOT,
        env={**os.environ, 'NUMBA_CPU_NAME': 'generic',
             'NUMBA_CPU_FEATURES': features})


# CuPy. Its code is run here by a stand-in that compiles the kernels for the
# CPU and calls them once for each thread of the grid. That they compile for a
# GPU is tested in test_gpu.py.


@often
@hypothesis.given(rows, widths, units, st.integers(0, 1 << 30))
@hypothesis.example(0, 70, 3, 0)
def test_cuda_code_equals_integers_on_the_host(
        host_cupy_kernels, n, n_in, n_out, seed):
    Case(n, n_in, n_out, seed).check(host_cupy_kernels, host_cupy_kernels.cupy)


def test_cuda_code_packs_and_unpacks_on_the_host(host_cupy_kernels):
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
