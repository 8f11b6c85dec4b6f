import chainer_compat
import chainer
import chainer.functions as F
import chainer.links as L
import numpy
import pytest
from chainer import gradient_check
from chainer.utils import type_check

from layers.batch_normalization import (
    BatchNormalization, _FusedImpl, population_statistics)


def make(cls, dtype=numpy.float32, **kwargs):
    random = numpy.random.RandomState(3)
    link = cls(7, dtype=dtype, **kwargs)
    for param in link.params():
        param.array[...] = random.standard_normal(7)
    return link


def batch(random, dtype=numpy.float32, n=10):
    # Columns of various scales, one of them constant.
    x = random.standard_normal((n, 7)) * 10. ** numpy.arange(-3, 4) + 1
    x[:, 2] = 5
    return x.astype(dtype), random.standard_normal((n, 7)).astype(dtype)


def forward_backward(link, x, gy, **kwargs):
    """Returns y, gx, the gradients and the running values."""
    x = chainer.Variable(x)
    y = link(x, **kwargs)
    link.cleargrads()
    y.grad = gy
    y.backward()
    return [y.array, x.grad, *(param.grad for _, param in
                               sorted(link.namedparams())),
            link.avg_mean, link.avg_var]


@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
@pytest.mark.parametrize('n', [1, 2, 10, 100])
@pytest.mark.filterwarnings('ignore:A batch with no more than one sample')
def test_training_equals_chainers_bit_for_bit(dtype, n, kernel_path, random):
    ours, chainers = (make(cls, dtype)
                      for cls in (BatchNormalization, L.BatchNormalization))
    for _ in range(3):
        x, gy = batch(random, dtype, n)
        for a, b in zip(forward_backward(ours, x, gy),
                        forward_backward(chainers, x, gy)):
            assert a.dtype == b.dtype
            numpy.testing.assert_array_equal(a, b)


def test_a_batch_of_vectors_takes_the_fused_path(random, monkeypatch):
    called = []
    monkeypatch.setattr(
        _FusedImpl, 'forward',
        lambda self, **kwargs: called.append(1) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(BatchNormalization)(batch(random)[0])
    assert called


@pytest.mark.parametrize('case', [
    'evaluation', 'finetune', 'float16', 'rows', 'no gamma', 'no beta',
    'axis'])
def test_other_batches_and_options_are_left_to_chainer(case, random):
    kwargs = {'no gamma': {'use_gamma': False},
              'no beta': {'use_beta': False}, 'axis': {'axis': (0, 2)}}
    x, gy = batch(random)
    if case in ('rows', 'axis'):
        x, gy = numpy.stack([x, 2 * x], 2), numpy.stack([gy, -gy], 2)
    if case == 'float16':
        x, gy = (numpy.clip(a, -9, 9).astype(numpy.float16) for a in (x, gy))
    results = []
    for cls in BatchNormalization, L.BatchNormalization:
        link = make(cls, **kwargs.get(case, {}))
        with chainer.using_config('train', case != 'evaluation'):
            results.append(forward_backward(
                link, x, gy, **({'finetune': True}
                                if case == 'finetune' else {})))
    for a, b in zip(*results):
        numpy.testing.assert_array_equal(a, b)


def test_double_backward_agrees_with_numerical_differentiation(
        kernel_path, random):
    x, gy, ggx = random.standard_normal((3, 5, 7))
    gamma, beta, gggamma, ggbeta = random.standard_normal((4, 7))

    def function(x, gamma, beta):
        link = BatchNormalization(7, dtype=numpy.float64)
        del link.gamma, link.beta
        link.gamma, link.beta = gamma, beta
        return link(x)

    gradient_check.check_double_backward(
        function, (x, gamma, beta), gy, (ggx, gggamma, ggbeta),
        eps=1e-4, rtol=1e-4, atol=1e-4)


def test_non_contiguous_batches_give_what_their_copies_give(
        kernel_path, random):
    x, gy = batch(random)
    for a, b in zip(
            forward_backward(make(BatchNormalization), x[::2], gy[::2]),
            forward_backward(make(BatchNormalization),
                             x[::2].copy(), gy[::2].copy())):
        numpy.testing.assert_array_equal(a, b)


def test_nan_in_one_column_stays_in_that_column(kernel_path, random):
    x, _ = batch(random)
    x[4, 3] = numpy.nan
    y = make(BatchNormalization)(x).array
    assert numpy.isnan(y).any(axis=0).tolist() == [
        False, False, False, True, False, False, False]


def test_evaluation_can_use_the_batchs_own_statistics(random):
    link = BatchNormalization(5, evaluate_with_batch=True)
    x = random.standard_normal((8, 5)).astype('f')
    y = link(x)
    mean = link.avg_mean.copy()
    with chainer.using_config('train', False):
        numpy.testing.assert_allclose(
            link(x).array, y.array, rtol=1e-5, atol=1e-6)
    numpy.testing.assert_array_equal(link.avg_mean, mean)


@pytest.mark.parametrize('kwargs', [
    {'use_gamma': False}, {'use_beta': False}, {'size': None, 'axis': 0}],
    ids=['no gamma', 'no beta', 'no size'])
def test_the_batchs_own_statistics_count_for_any_arguments(kwargs, random):
    kwargs = {'size': 5, **kwargs}
    x = random.standard_normal((8, 5)).astype('f')
    expected = L.BatchNormalization(**kwargs)(x).array
    link = BatchNormalization(evaluate_with_batch=True, **kwargs)
    with chainer.using_config('train', False):
        numpy.testing.assert_array_equal(link(x).array, expected)
    assert (link.avg_mean == 0).all()


@pytest.mark.parametrize('evaluate_with_batch', [False, True])
@pytest.mark.parametrize('train', [False, True])
def test_an_argument_that_it_does_not_take_is_an_error_as_chainers(
        train, evaluate_with_batch, random):
    x = random.standard_normal((8, 5)).astype('f')
    ours = BatchNormalization(5, evaluate_with_batch=evaluate_with_batch)
    for kwargs in {'test': True}, {'unknown': 1}, {'finetune': 0, 'size': 1}:
        messages = []
        for link in ours, L.BatchNormalization(5):
            with chainer.using_config('train', train), pytest.raises(
                    (TypeError, ValueError)) as info:
                link(x, **kwargs)
            messages.append((info.type, str(info.value)))
        assert messages[0] == messages[1]
    assert (ours.avg_mean == 0).all()


def test_population_statistics_are_the_averages_over_batches(
        kernel_path, random):
    batches = random.standard_normal((4, 10, 5)).astype('f') + 3
    model = chainer.Sequential(
        F.dropout, BatchNormalization(5), F.tanh, BatchNormalization(5))
    model(batches[0])
    state = numpy.random.get_state()[1].copy()
    with population_statistics(model), chainer.using_config('train', False):
        outputs = [model(x).array for x in batches]
    numpy.testing.assert_array_equal(numpy.random.get_state()[1], state)
    first, last = model[1], model[3]
    numpy.testing.assert_allclose(
        first.avg_mean, batches.mean(axis=(0, 1)), rtol=1e-5)
    numpy.testing.assert_allclose(
        first.avg_var, batches.var(axis=1, ddof=1).mean(axis=0), rtol=1e-5)
    # Each batch was normalized by its own.
    for x, y in zip(batches, outputs):
        h = (x - x.mean(axis=0)) / numpy.sqrt(x.var(axis=0) + 2e-5)
        h = numpy.tanh(h)
        numpy.testing.assert_allclose(
            y, (h - h.mean(axis=0)) / numpy.sqrt(h.var(axis=0) + 2e-5),
            rtol=1e-3, atol=1e-4)
    # From then on they are fixed.
    mean = last.avg_mean.copy()
    with chainer.using_config('train', False):
        a, b = model(batches[0]).array, model(batches[0][:3]).array
    numpy.testing.assert_allclose(a[:3], b, rtol=1e-5, atol=1e-6)
    numpy.testing.assert_array_equal(last.avg_mean, mean)


@pytest.mark.parametrize('kwargs', [
    {'use_gamma': False}, {'use_beta': False}, {'size': None, 'axis': 0},
    {'evaluate_with_batch': True}],
    ids=['no gamma', 'no beta', 'no size', 'with batch'])
def test_population_statistics_are_taken_for_any_arguments(kwargs, random):
    batches = random.standard_normal((4, 10, 5)).astype('f')
    link = BatchNormalization(**{'size': 5, **kwargs})
    with population_statistics(link), chainer.using_config('train', False):
        for x in batches:
            link(x)
        with pytest.raises(TypeError):
            link(x, unknown=1)
    assert link.N == 4
    numpy.testing.assert_allclose(
        link.avg_mean, batches.mean(axis=(0, 1)), rtol=1e-4, atol=1e-6)
    numpy.testing.assert_allclose(
        link.avg_var, batches.var(axis=1, ddof=1).mean(axis=0), rtol=1e-4)


def test_population_statistics_leave_a_training_as_it_is(random):
    x = random.standard_normal((10, 5)).astype('f')
    link, other = BatchNormalization(5), BatchNormalization(5)
    with population_statistics(link):
        numpy.testing.assert_array_equal(link(x).array, other(x).array)
    with pytest.raises(ValueError, match='size'), population_statistics(link):
        raise ValueError('a wrong size')
    numpy.testing.assert_array_equal(link.avg_mean, other.avg_mean)
    with chainer.using_config('train', False):
        link(x)
    numpy.testing.assert_array_equal(link.avg_mean, other.avg_mean)
    assert link.N == 0


def test_fine_tuning_gives_the_statistics_of_all_batches(random):
    batches = random.standard_normal((4, 10, 5))
    link = BatchNormalization(5, dtype=numpy.float64)
    link(random.standard_normal((10, 5)))
    for _ in range(2):
        link.start_finetuning()
        for x in batches:
            link(x, finetune=True)
        assert link.N == 4
        numpy.testing.assert_allclose(
            link.avg_mean, batches.mean(axis=(0, 1)), rtol=1e-12)
        numpy.testing.assert_allclose(
            link.avg_var, batches.var(axis=1, ddof=1).mean(axis=0),
            rtol=1e-12)


# Images


def images(random, dtype=numpy.float32, n=6, size=(5, 9)):
    """Returns x and gy of 7 channels of various scales, one constant."""
    x, gy = random.standard_normal((2, n, 7, *size))
    x = (x + 1) * 10. ** numpy.arange(-3, 4).reshape(-1, 1, 1)
    x[:, 2] = 5
    return x.astype(dtype), gy.astype(dtype)


@pytest.mark.parametrize('dtype', [numpy.float32, numpy.float64])
@pytest.mark.parametrize(('n', 'size'), [
    (1, (1, 1)), (1, (5, 9)), (6, (1, 1)), (6, (5, 9)), (20, (14, 14))])
@pytest.mark.parametrize('axis', [None, (0, 2, 3)])
@pytest.mark.filterwarnings('ignore:A batch with no more than one sample')
def test_training_on_images_agrees_with_chainers(
        dtype, n, size, axis, kernel_path, random):
    ours, chainers = (make(cls, dtype, axis=axis)
                      for cls in (BatchNormalization, L.BatchNormalization))
    tolerance = 1000 * numpy.finfo(dtype).eps
    for _ in range(3):
        x, gy = images(random, dtype, n, size)
        for a, b in zip(forward_backward(ours, x, gy),
                        forward_backward(chainers, x, gy)):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            # By the scale of a channel: x's differ.
            b, a = (numpy.moveaxis(c, 1, -1) if c.ndim == 4 else c[None]
                    for c in (b, a))
            axes = tuple(range(b.ndim - 1))
            assert (abs(a - b).max(axis=axes)
                    <= tolerance * (1 + abs(b).max(axis=axes))).all()


def test_a_batch_of_images_takes_the_fused_path(random, monkeypatch):
    monkeypatch.setattr(_FusedImpl, 'forward', lambda self, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(BatchNormalization)(images(random)[0])


@pytest.mark.parametrize('case', [
    'float16', 'axis', 'no gamma', 'finetune', 'empty'])
@pytest.mark.filterwarnings('ignore::RuntimeWarning')
def test_other_images_and_options_are_left_to_chainer(case, random):
    kwargs = {'no gamma': {'use_gamma': False}, 'axis': {'axis': (0, 1, 3)}}
    x, gy = images(random)
    if case == 'float16':
        x, gy = (numpy.clip(a, -9, 9).astype(numpy.float16) for a in (x, gy))
    if case == 'axis':
        x, gy = (a.swapaxes(1, 2).copy() for a in (x, gy))
    if case == 'empty':
        x, gy = x[:0], gy[:0]
    results = []
    for cls in BatchNormalization, L.BatchNormalization:
        link = make(cls, **kwargs.get(case, {}))
        if case == 'empty':
            results.append([link(x).array, link.avg_mean])
        else:
            results.append(forward_backward(
                link, x, gy, **({'finetune': True}
                                if case == 'finetune' else {})))
    for a, b in zip(*results):
        numpy.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('dtype', [numpy.float16, numpy.float32,
                                   numpy.float64])
@pytest.mark.parametrize('kwargs', [
    {}, {'axis': (0, 2, 3)}, {'use_gamma': False}, {'use_beta': False}],
    ids=str)
def test_evaluation_of_images_equals_chainers_bit_for_bit(
        dtype, kwargs, kernel_path, random):
    x, gy = images(random)
    x, gy = (numpy.clip(a, -9, 9).astype(dtype) for a in (x, gy))
    mean, var = random.standard_normal(7), random.uniform(.1, 2, 7)
    results = []
    for cls in BatchNormalization, L.BatchNormalization:
        link = make(cls, dtype, **kwargs)
        link.avg_mean[...], link.avg_var[...] = mean, var
        with chainer.using_config('train', False):
            results.append(forward_backward(link, x, gy))
            results[-1].append(link(x[:0]).array)
            results[-1].append(link(x[:, :, ::-1, ::2]).array)
    for a, b in zip(*results):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        numpy.testing.assert_array_equal(a, b)


def test_evaluation_of_images_is_one_pass(random, monkeypatch):
    monkeypatch.setattr('kernels.normalize', lambda *args: 1 / 0)
    link = make(BatchNormalization)
    with chainer.using_config('train', False):
        with pytest.raises(ZeroDivisionError):
            link(images(random)[0])
        link(batch(random)[0])


def test_double_backward_of_images_agrees_with_numerical_differentiation(
        kernel_path, random):
    x, gy, ggx = random.standard_normal((3, 3, 2, 2, 3))
    gamma, beta, gggamma, ggbeta = random.standard_normal((4, 2))

    def function(x, gamma, beta):
        link = BatchNormalization(2, dtype=numpy.float64)
        del link.gamma, link.beta
        link.gamma, link.beta = gamma, beta
        return link(x)

    for train in True, False:
        with chainer.using_config('train', train):
            gradient_check.check_double_backward(
                function, (x, gamma, beta), gy, (ggx, gggamma, ggbeta),
                eps=1e-4, rtol=1e-4, atol=1e-4)


def test_images_that_do_not_fit_are_refused_in_either_mode(random):
    for train in True, False:
        with chainer.using_config('train', train), pytest.raises(
                type_check.InvalidType):
            BatchNormalization(4)(images(random)[0])


def test_a_batch_of_images_that_is_computed_again_counts_once(random):
    link = make(BatchNormalization)
    x = images(random)[0]
    link(x)
    mean = link.avg_mean.copy()
    with chainer.using_config('in_recomputing', True):
        link(x)
    numpy.testing.assert_array_equal(link.avg_mean, mean)


@pytest.mark.gpu
@pytest.mark.parametrize('train', [True, False])
def test_gpu_normalizes_images_as_the_cpu_does(train, random):
    x, gy = images(random)
    x = numpy.clip(x, -9, 9)
    results = []
    for name in '@numpy', '@cupy:0':
        device = chainer.get_device(name)
        link = make(BatchNormalization)
        link.to_device(device)
        with chainer.using_config('train', train):
            results.append(chainer.get_device('@numpy').send(
                forward_backward(link, *map(device.send, (x, gy)))))
    for a, b in zip(*results):
        numpy.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
