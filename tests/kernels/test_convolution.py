"""Convolutions and their gradients, of all backends, against plain loops."""
import numpy
import pytest

import kernels
from kernels import numpy_kernels
from kernels.window import Window
from tests.helpers import needs_numba, numba_kernels, on_each_backend

if numba_kernels is not None:
    from kernels.compiled import convolution, sign_convolution

DTYPES = [numpy.float16, numpy.float32, numpy.float64]

# Images, channels of input and output, size, ksize, window.
CASES = {
    'one pixel': (1, 1, 1, (1, 1), (1, 1), Window()),
    'a pixel amid padding': (50, 3, 2, (1, 1), (3, 3), Window(pad=(1, 1))),
    'one channel': (7, 1, 16, (9, 8), (3, 3), Window(pad=(1, 1))),
    'one output': (3, 5, 1, (9, 8), (3, 3), Window(pad=(1, 1))),
    'MNIST': (21, 3, 6, (28, 28), (3, 3), Window(pad=(1, 1))),
    'a batch in several parts': (
        203, 2, 9, (14, 14), (3, 3), Window(pad=(1, 1))),
    'large images': (3, 9, 8, (50, 60), (3, 3), Window(pad=(1, 1))),
    'a row': (4, 3, 5, (1, 33), (1, 3), Window(pad=(0, 1))),
    'a column': (4, 3, 5, (33, 1), (3, 1), Window(pad=(1, 0))),
    'a window of 1': (3, 17, 5, (7, 9), (1, 1), Window()),
    'a window of 2': (3, 5, 9, (8, 6), (2, 2), Window()),
    'a window of 2, padded': (3, 5, 9, (8, 6), (2, 2), Window(pad=(1, 1))),
    'a window of 5': (3, 4, 4, (11, 12), (5, 5), Window(pad=(2, 2))),
    'a window of 3 x 2': (3, 6, 5, (9, 10), (3, 2), Window(pad=(2, 0))),
    'no padding': (3, 6, 5, (9, 10), (3, 3), Window()),
    'one output in each channel': (9, 6, 5, (3, 3), (3, 3), Window()),
    'full padding': (3, 6, 5, (9, 10), (3, 3), Window(pad=(2, 2))),
    'dilated': (3, 4, 5, (11, 9), (3, 3), Window(pad=(2, 3), dilate=(2, 3))),
    'groups': (9, 12, 20, (7, 7), (3, 3), Window(pad=(1, 1), groups=4)),
    'each channel apart': (
        9, 6, 6, (8, 9), (3, 3), Window(pad=(1, 1), groups=6)),
    'as many channels as bits': (3, 16, 4, (9, 8), (3, 3), Window(pad=(1, 1))),
    'a channel more than bits': (
        30, 34, 6, (7, 7), (3, 3), Window(pad=(1, 1), groups=2)),
    # What is left to NumPy.
    'strides': (3, 4, 6, (11, 12), (3, 3), Window((2, 3), (1, 1))),
    'pixels that no window meets': (2, 3, 4, (6, 7), (2, 2), Window((4, 3))),
    'more than full padding': (3, 4, 6, (5, 6), (2, 2), Window(pad=(3, 1))),
    'no image': (0, 3, 4, (5, 6), (3, 3), Window(pad=(1, 1))),
}


def reference(x, W, gy, window):
    """Returns y, gx and gW of float64 arrays, in plain loops."""
    _, _, height, width = x.shape
    n_out, n_in, *ksize = W.shape
    y, gx, gW = map(numpy.zeros_like, (gy, x, W))
    for row, column in numpy.ndindex(gy.shape[2:]):
        for k_row, k_column in numpy.ndindex(*ksize):
            i, j = (at * stride + k * dilate - pad for at, k, stride, dilate,
                    pad in zip((row, column), (k_row, k_column), window.stride,
                               window.dilate, window.pad))
            if not (0 <= i < height and 0 <= j < width):
                continue
            for group in range(window.groups):
                c = slice(group * n_in, (group + 1) * n_in)
                step = n_out // window.groups
                o = slice(group * step, (group + 1) * step)
                weights = W[o, :, k_row, k_column]
                y[:, o, row, column] += x[:, c, i, j].dot(weights.T)
                gx[:, c, i, j] += gy[:, o, row, column].dot(weights)
                gW[o, :, k_row, k_column] += (
                    gy[:, o, row, column].T.dot(x[:, c, i, j]))
    return y, gx, gW


def operands(case, draw, dtype=float):
    """Returns x, W, gy and the window, of what ``draw(shape)`` returns."""
    n, n_in, n_out, size, ksize, window = case
    shapes = ((n, n_in, *size), (n_out, n_in // window.groups, *ksize),
              (n, n_out, *window.out_size(size, ksize)))
    return (*(draw(shape).astype(dtype) for shape in shapes), window)


def convolve(backend, x, W, gy, window):
    """Returns y, gx and gW of a backend."""
    return (backend.convolution_2d(x, W, window),
            backend.convolution_2d_gx(gy, W, window, x.shape[2:]),
            backend.convolution_2d_gW(x, gy, window, W.shape[2:]))


def integers(random, most=1):
    return lambda shape: random.randint(-most, most + 1, shape)


def signs(random):
    return lambda shape: random.choice([-1, 1], shape)


@on_each_backend
@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('draw', [integers, signs])
@pytest.mark.parametrize('case', CASES.values(), ids=CASES)
def test_sums_of_integers_are_exact(backend, case, draw, dtype, random):
    # In float16 up to 2048.
    x, W, gy, window = operands(case, draw(random))
    for actual, expected in zip(
            convolve(backend, *(a.astype(dtype) for a in (x, W, gy)), window),
            reference(x, W, gy, window)):
        assert actual.dtype == dtype
        assert actual.flags.c_contiguous
        numpy.testing.assert_array_equal(actual, expected.astype(dtype))


@on_each_backend
@pytest.mark.parametrize(('dtype', 'tolerance'), [
    (numpy.float16, 1e-3), (numpy.float32, 1e-5), (numpy.float64, 1e-12)])
@pytest.mark.parametrize('name', ['MNIST', 'no padding', 'dilated', 'groups',
                                  'strides'])
def test_real_numbers_are_summed_within_rounding(
        backend, name, dtype, tolerance, random):
    *arrays, window = operands(
        CASES[name], lambda shape: random.standard_normal(shape), dtype)
    for actual, expected in zip(
            convolve(backend, *arrays, window),
            reference(*(a.astype(float) for a in arrays), window)):
        assert abs(actual - expected).max() <= (
            tolerance * abs(expected).max())


@needs_numba
@pytest.mark.parametrize('name', ['MNIST', 'a batch in several parts',
                                  'groups', 'one pixel'])
@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
@pytest.mark.parametrize('are_signs', [False, True])
def test_any_number_of_cores_gives_the_same_bits(
        some_threads, name, are_signs, dtype, random):
    *arrays, window = operands(
        CASES[name], signs(random) if are_signs else
        lambda shape: random.standard_normal(shape), dtype)
    actual = convolve(numba_kernels, *arrays, window)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, 'n_own', lambda work, least: 1)
        expected = convolve(numba_kernels, *arrays, window)
    for a, b in zip(actual, expected):
        numpy.testing.assert_array_equal(a, b)


@needs_numba
@pytest.mark.parametrize('n_sums', [1, 1000, 5000])
def test_many_weights_are_summed_in_fewer_parts_of_a_batch(
        some_threads, monkeypatch, n_sums, random):
    monkeypatch.setattr(convolution, '_SUMS', n_sums)
    for name in 'MNIST', 'a batch in several parts', 'groups':
        *arrays, window = operands(CASES[name], integers(random))
        numpy.testing.assert_array_equal(
            convolve(numba_kernels, *arrays, window)[2],
            reference(*arrays, window)[2])


@needs_numba
def test_images_copied_before_leave_nothing_behind(monkeypatch, random):
    x, W, gy, window = operands(
        (7, 3, 5, (6, 5), (3, 3), Window(pad=(1, 1))), integers(random, 9))
    x[:4], gy[:4] = numpy.nan, numpy.nan
    x[5, 0, 2, 2] = gy[5, 0, 2, 2] = numpy.inf
    for n_bytes in 1, 8 * 8 * 7 * 6 * 4, 1 << 18:
        monkeypatch.setattr(convolution, '_BYTES', n_bytes)
        with numpy.errstate(invalid='ignore'):
            y, gx, _ = convolve(numba_kernels, x, W, gy, window)
        expected = reference(x[6:], W, gy[6:], window)
        numpy.testing.assert_array_equal(y[6:], expected[0])
        numpy.testing.assert_array_equal(gx[6:], expected[1])


@on_each_backend
@pytest.mark.parametrize('value', [numpy.nan, numpy.inf, -numpy.inf])
def test_a_number_that_is_not_finite_reaches_its_channel_and_no_other(
        backend, value, random):
    x, W, gy, window = operands(CASES['no padding'], integers(random, 9),
                                numpy.float32)
    W += .5
    expected = convolve(backend, x, W, gy, window)
    wrong_x, wrong_gy = x.copy(), gy.copy()
    wrong_x[1, 2, 4, 5] = wrong_gy[1, 3, 4, 5] = value
    with numpy.errstate(invalid='ignore'):
        y, _, gW = convolve(backend, wrong_x, W, gy, window)
        _, gx, gW_of_gy = convolve(backend, x, W, wrong_gy, window)
    assert not numpy.isfinite(y[1, :, 2:5, 3:6]).any()
    assert not numpy.isfinite(gx[1, :, 4:7, 5:8]).any()
    assert not numpy.isfinite(gW[:, 2]).any()
    assert not numpy.isfinite(gW_of_gy[3]).any()
    y[1, :, 2:5, 3:6] = expected[0][1, :, 2:5, 3:6]
    gx[1, :, 4:7, 5:8] = expected[1][1, :, 4:7, 5:8]
    gW[:, 2] = expected[2][:, 2]
    gW_of_gy[3] = expected[2][3]
    for actual, right in zip((y, gx, gW, gW_of_gy),
                             (*expected, expected[2])):
        numpy.testing.assert_array_equal(actual, right)


@on_each_backend
def test_arrays_that_are_not_contiguous_are_taken(backend, random):
    *arrays, window = operands(CASES['no padding'], integers(random, 9),
                               numpy.float32)
    expected = convolve(backend, *arrays, window)
    for layout in (numpy.asfortranarray, lambda a: numpy.repeat(a, 2, 3)[
            ..., ::2], lambda a: a[..., ::-1].copy()[..., ::-1],
            lambda a: a.astype('>f4')):
        for actual, right in zip(
                convolve(backend, *map(layout, arrays), window), expected):
            numpy.testing.assert_array_equal(actual, right)


@on_each_backend
def test_an_upstream_gradient_of_one_repeated_value_is_taken(backend, random):
    x, W, gy, window = operands(CASES['MNIST'], integers(random),
                                numpy.float32)
    ones = numpy.broadcast_to(numpy.float32(1), gy.shape)
    for actual, expected in zip(
            convolve(backend, x, W, ones, window),
            convolve(backend, x, W, numpy.ones_like(gy), window)):
        numpy.testing.assert_array_equal(actual, expected)


@needs_numba
@pytest.mark.parametrize('name', ['MNIST', 'dilated', 'groups', 'full padding',
                                  'a row', 'a window of 1'])
def test_what_is_covered_is_not_left_to_numpy(monkeypatch, name, random):
    *arrays, window = operands(CASES[name], integers(random), numpy.float32)
    expected = convolve(numpy_kernels, *arrays, window)
    monkeypatch.setattr(convolution, 'numpy_convolution', None)
    for actual, right in zip(convolve(kernels, *arrays, window), expected):
        numpy.testing.assert_array_equal(actual, right)


@needs_numba
@pytest.mark.parametrize('n_in', [4, 16, 21, 40])
@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
def test_signs_are_convolved_in_bits(monkeypatch, n_in, dtype, random):
    *arrays, window = operands(
        (9, n_in, 6, (9, 7), (3, 3), Window(pad=(1, 1))), signs(random), dtype)
    expected, _, _ = convolve(numpy_kernels, *arrays, window)
    monkeypatch.setattr(convolution, '_convolution', None)
    numpy.testing.assert_array_equal(
        kernels.convolution_2d(*arrays[:2], window), expected)


@needs_numba
@pytest.mark.parametrize('value', [
    0., -0., .5, 1 - 2 ** -24, -1 - 2 ** -23, 2, -3, numpy.inf, numpy.nan])
@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
def test_one_value_that_is_no_sign_counts_as_what_it_is(value, dtype, random):
    x, W, _, window = operands(
        (11, 20, 6, (9, 7), (3, 3), Window(pad=(1, 1))), signs(random), dtype)
    places = [(x, place) for place in (
        (0, 0, 0, 0), (0, 16, 8, 6), (10, 19, 4, 3), (5, 2, 8, 5))]
    places += [(W, (0, 0, 0, 0)), (W, (5, 19, 2, 2))]
    for array, place in places:
        before, array[place] = array[place], value
        assert sign_convolution.convolution(
            x, W[None], window.pad, window.dilate, (9, 7)) is None
        with numpy.errstate(invalid='ignore'):
            expected = numpy_kernels.convolution_2d(x, W, window)
        numpy.testing.assert_allclose(
            numba_kernels.convolution_2d(x, W, window), expected, 1e-5, 1e-4)
        array[place] = before


@needs_numba
def test_sums_that_do_not_fit_a_half_word_are_not_made_of_bits(random):
    x, W = numpy.ones((1, 1 << 15, 1, 1), 'f'), numpy.ones((1, 1 << 15, 1, 1))
    for n in (1 << 15) - 1, 1 << 15:
        for sign in 1, -1:
            y = numba_kernels.convolution_2d(
                x[:, :n], sign * W[:, :n].astype('f'), Window())
            assert y == sign * n


def check_on_cupy(backend, cupy, random):
    """Compares a backend's convolutions with the loops."""
    for name in 'no padding', 'dilated', 'groups', 'strides':
        for dtype in DTYPES:
            x, W, gy, window = operands(CASES[name], integers(random))
            on_gpu = [cupy.asarray(a.astype(dtype)) for a in (x, W, gy)]
            for actual, expected in zip(
                    convolve(backend, *on_gpu, window),
                    reference(x, W, gy, window)):
                assert actual.dtype == dtype
                numpy.testing.assert_array_equal(
                    cupy.asnumpy(actual), expected)


def test_cupys_sums_of_integers_are_exact_on_the_host(
        host_cupy_kernels, random):
    check_on_cupy(host_cupy_kernels, host_cupy_kernels.cupy, random)


@pytest.mark.gpu
def test_cupys_sums_of_integers_are_exact(random):
    import cupy
    check_on_cupy(kernels, cupy, random)
