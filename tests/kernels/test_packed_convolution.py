import hypothesis
import hypothesis.strategies as st
import numpy
import pytest

import kernels
from kernels import packed_convolution
from tests.helpers import needs_numba, numba_kernels, on_each_backend
from tests.helpers.packed_products import often
from tests.helpers.packed_windows import WindowCase, packed_images
from tests.helpers.scripts import run_on_processor_with

sides = st.integers(1, 14)
ksizes = st.sampled_from([1, 3, 3, 3, 5, 7, 11])
channels = st.one_of(st.integers(1, 70), st.sampled_from([64, 128, 130]))

CASES = [
    (2, (13, 11), 5, 70), (2, (13, 11), 70, 5, (3, 3), 2),
    (1, (28, 28), 16, 16, (3, 3), 2), (3, (1, 1), 64, 33),
    (2, (2, 9), 130, 20, (5, 3), 2), (1, (4, 4), 128, 130, (1, 1)),
    (0, (4, 4), 3, 3), (2, (9, 10), 21, 200, (11, 7), 3),
    (1, (14, 15), 32, 32, (3, 3), 2, True),
    (1, (1, 2), 3, 17, (3, 5), 1, True)]


@on_each_backend
@often
@hypothesis.given(
    st.integers(0, 3), st.tuples(sides, sides), channels, channels,
    st.tuples(ksizes, ksizes), st.integers(1, 3), st.booleans(),
    st.integers(0, 1 << 30))
def test_convolutions_equal_those_of_integers(
        backend, n, size, n_in, n_out, ksize, pool, by_class, seed):
    case = WindowCase(n, size, n_in, n_out, ksize, min(pool, *size), by_class,
                      seed)
    case.check(backend)


@on_each_backend
@pytest.mark.parametrize('case', CASES, ids=str)
def test_convolutions_of_all_shapes_are_exact(backend, case):
    WindowCase(*case).check(backend)


def test_many_images_are_those_of_one_after_the_other():
    case = WindowCase(40, (6, 5), 9, 12, pool=2)
    case.check(kernels)
    with kernels.using_numpy():
        case.check(kernels)


@on_each_backend
def test_images_of_any_memory_layout_are_taken(backend):
    case = WindowCase(4, (6, 8), 70, 9)
    words = packed_images(case.a > 0)
    window = backend.sign_window(
        case.W, case.thresholds, case.falling, 1, case.size)
    expected = backend.convolve_signs(words, window)
    wide = numpy.repeat(words, 2, axis=0)
    for layout in numpy.asfortranarray(words), wide[::2]:
        numpy.testing.assert_array_equal(
            backend.convolve_signs(layout, window), expected)
        numpy.testing.assert_array_equal(
            backend.flatten_signs(layout, 70),
            backend.flatten_signs(words, 70))
    window = backend.pixel_window(
        case.W[:, :1], case.thresholds, case.falling, 1, case.size)
    numpy.testing.assert_array_equal(
        backend.convolve_pixels(numpy.asfortranarray(case.x), window),
        backend.convolve_pixels(case.x, window))


@on_each_backend
def test_sums_of_the_largest_white_window_do_not_overflow(backend):
    n = packed_convolution.MAX_KSIZE
    x = numpy.full((1, n, n), 255, numpy.uint8)
    falling = numpy.zeros(1, numpy.uint64)
    for sign in 1, -1:
        W = numpy.full((1, 1, n, n), sign, numpy.int8)
        # Of 11 x 11 windows the one in the middle has the greatest sum.
        for add, expected in (0, 1), (1, 0):
            t = numpy.array([sign * 255 * n * n + add], numpy.int32)
            y = backend.convolve_pixels(
                x, backend.pixel_window(W, t, falling, 1, (n, n)))
            assert y[0, n // 2, n // 2, 0] == expected


def test_rows_of_a_class_have_the_same_rows_inside():
    for n in range(1, 9):
        for k in 1, 3, 5, 7:
            classes = packed_convolution.border_classes(n, k)
            inside = packed_convolution.rows_inside(n, k)
            assert classes.shape == (n,)
            for y in range(n):
                rows = numpy.arange(y - k // 2, y + k // 2 + 1)
                assert (inside[classes[y]] == (rows >= 0) & (rows < n)).all()


@needs_numba
@pytest.mark.parametrize('n', [1, 2, 3])
def test_convolutions_are_exact_for_any_number_of_threads(n, monkeypatch):
    from kernels.compiled import rows
    monkeypatch.setattr(rows, 'n_threads', lambda: n)
    monkeypatch.setattr(rows, '_WORK', 1)
    monkeypatch.setattr(rows, 'LEAST', 2)
    WindowCase(9, (5, 6), 20, 30, pool=2).check(numba_kernels)


@needs_numba
@pytest.mark.parametrize('features', ['+avx2,+popcnt', ''])
def test_convolutions_are_exact_on_other_processors(features):
    run_on_processor_with(features, """
from kernels.compiled import vector_intrinsics
from tests.helpers import numba_kernels
from tests.helpers.packed_windows import WindowCase
assert vector_intrinsics.LANES == 4
for n_in, n_out in (5, 9), (70, 30), (16, 70):
    WindowCase(2, (9, 10), n_in, n_out, pool=2).check(numba_kernels)
""")


@pytest.mark.parametrize('case', CASES, ids=str)
def test_cupys_convolutions_equal_those_of_integers_on_the_host(
        host_cupy_kernels, case):
    WindowCase(*case).check(host_cupy_kernels, host_cupy_kernels.cupy)


@pytest.mark.gpu
@pytest.mark.parametrize('case', CASES, ids=str)
def test_convolutions_equal_those_of_integers_on_a_gpu(case):
    import cupy
    WindowCase(*case).check(kernels, cupy)
