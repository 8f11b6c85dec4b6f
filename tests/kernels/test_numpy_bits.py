import importlib.util

import hypothesis
import hypothesis.strategies as st
import numpy

from kernels import numpy_bits
from tests.helpers import on_each_backend
from tests.helpers.packed_products import (
    Case, often, pack, rows, units, widths)


@on_each_backend
@often
@hypothesis.given(rows, widths, units, st.integers(0, 1 << 30))
@hypothesis.example(0, 70, 3, 0)
@hypothesis.example(1, 1, 1, 0)
@hypothesis.example(5, 784, 10, 0)
def test_products_equal_those_of_integers(backend, n, n_in, n_out, seed):
    Case(n, n_in, n_out, seed).check(backend)


@on_each_backend
def test_products_of_many_rows_and_of_no_units_are_exact(backend):
    Case(700, 130, 70, 0).check(backend)
    Case(3, 64, 0, 0).check(backend)


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


@on_each_backend
@often
@hypothesis.given(rows, widths, st.integers(0, 1 << 30),
                  st.sampled_from([numpy.int8, numpy.float16, numpy.float32,
                                   numpy.float64]))
def test_unpacked_signs_are_those_that_were_packed(
        backend, n, n_in, seed, dtype):
    x = numpy.random.RandomState(seed).randint(-2, 3, (n, n_in)).astype(dtype)
    words = backend.pack_signs(x)
    assert words.dtype == numpy.uint64
    numpy.testing.assert_array_equal(words, pack(x >= 0))
    signs = backend.unpack_signs(words, n_in)
    assert signs.dtype == numpy.int8
    numpy.testing.assert_array_equal(signs, numpy.where(x >= 0, 1, -1))


@on_each_backend
def test_zero_has_the_sign_plus_in_any_memory_layout(backend):
    x = numpy.array([[0., -0., 1e-45, -1e-45, numpy.inf, -numpy.inf],
                     [1, -1, 1, -1, 1, -1]], numpy.float32)
    assert backend.pack_signs(x).ravel().tolist() == [0b010111, 0b010101]
    numpy.testing.assert_array_equal(
        backend.pack_signs(x.T), pack(x.T >= 0))
    numpy.testing.assert_array_equal(
        backend.pack_signs(x[::-1, ::2]), pack(x[::-1, ::2] >= 0))


def test_a_tile_holds_the_same_word_of_64_units():
    words = numpy.arange(3 * 70, dtype=numpy.uint64).reshape(70, 3)
    tiles = numpy_bits.tile_weights(words)
    assert tiles.shape == (2, 3, 64)
    assert tiles.ctypes.data % 64 == 0
    assert tiles[0, 2, 5] == words[5, 2]
    assert tiles[1, 1, 4] == words[68, 1]
    assert not tiles[1, :, 6:].any()


def test_products_are_exact_where_numpy_cannot_count_bits(monkeypatch):
    monkeypatch.delattr(numpy, 'bitwise_count', raising=False)
    spec = importlib.util.spec_from_file_location(
        'numpy_bits_before_2', numpy_bits.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    Case(5, 130, 70, 0).check(module)
