"""Each shim alone; what newer NumPys lack is removed from older ones first."""
import importlib.util
import os
import sys

import numpy
import pytest

import chainer_compat
import chainer
import chainer.functions as F
from chainer import gradient_check

ARRAY = 'chainer.functions.array.'


def load(name, shim):
    """Loads a second copy of a module of Chainer, with one shim alone."""
    package = importlib.util.find_spec(name.split('.')[0])
    path = [os.path.join(package.submodule_search_locations[0],
                         *name.split('.')[1:-1])]
    spec = chainer_compat._Finder({name: shim}).find_spec(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def without_names(monkeypatch):
    """NumPy without the names that are not in every NumPy of the range."""
    for name in 'sctypes', 'float':
        monkeypatch.delitem(vars(numpy), name, raising=False)
        monkeypatch.delitem(
            getattr(numpy, '__deprecated_attrs__', {}), name, raising=False)


# S1: numpy.sctypes

@pytest.mark.usefixtures('without_names')
def test_as_strided_and_its_gradient_work_without_sctypes_in_numpy():
    module = load(ARRAY + 'as_strided', chainer_compat._add_sctypes)
    x = chainer.Variable(numpy.arange(6, dtype=numpy.float32))
    y = module.as_strided(x, (2, 2), (1, 1), 1)
    numpy.testing.assert_array_equal(y.array, [[1, 2], [2, 3]])
    gy = numpy.array([[1, 2], [3, 4]], numpy.float32)
    y.grad = gy
    y.backward()
    numpy.testing.assert_array_equal(x.grad, [0, 1, 5, 4, 0, 0])
    assert x.grad.dtype == numpy.float32


@pytest.mark.usefixtures('without_names')
def test_numpy_has_no_sctypes_after_as_strided_was_loaded():
    load(ARRAY + 'as_strided', chainer_compat._add_sctypes)
    assert not hasattr(numpy, 'sctypes')


@pytest.mark.usefixtures('without_names')
def test_numpy_has_no_sctypes_after_as_strided_failed_to_load():
    failure = pytest.raises(RuntimeError, match='on its way')
    with failure, chainer_compat._add_sctypes(None):
        raise RuntimeError('on its way')
    assert not hasattr(numpy, 'sctypes')


# S3: pkg_resources

@pytest.fixture
def helper():
    return load('chainer.testing.helper', chainer_compat._add_pkg_resources)


def skips(decorator):
    return getattr(decorator(type('Test', (), {})), '__unittest_skip__', False)


@pytest.mark.parametrize(('requirement', 'met'), [
    ('numpy', True), ('numpy>=1.10', True), ('numpy<1.10', False),
    ('no-such-distribution', False),
    ('no-such-distribution; python_version < "3"', True)])
def test_with_requires_knows_what_is_installed(helper, requirement, met):
    assert skips(helper.with_requires(requirement)) is not met
    assert skips(helper.without_requires(requirement)) is met


def test_doctest_helper_knows_what_is_installed():
    helper = load('chainer.testing.doctest_helper',
                  chainer_compat._add_pkg_resources)
    assert helper.skipif_requires_satisfied('numpy>=1.10')
    assert not helper.skipif_requires_satisfied('numpy<1.10')


@pytest.mark.parametrize('before', [object(), None])
def test_pkg_resources_is_what_it_was_after_chainer_testing(
        monkeypatch, before):
    monkeypatch.setitem(sys.modules, 'pkg_resources', before)
    load('chainer.testing.helper', chainer_compat._add_pkg_resources)
    assert sys.modules['pkg_resources'] is before


def test_pkg_resources_that_was_not_imported_is_not_after(monkeypatch):
    monkeypatch.delitem(sys.modules, 'pkg_resources', raising=False)
    load('chainer.testing.helper', chainer_compat._add_pkg_resources)
    assert 'pkg_resources' not in sys.modules


# S4: numpy.float

@pytest.mark.usefixtures('without_names')
@pytest.mark.parametrize(('arguments', 'expected'), [
    ({'mode': 'bilinear', 'align_corners': True}, [1, 1.5, 2, 2.5, 3]),
    ({'mode': 'bilinear', 'align_corners': False}, [1, 1.4, 2, 2.6, 3]),
    ({'mode': 'nearest', 'align_corners': False}, [1, 1, 2, 2, 3]),
])
def test_resize_images_works_without_float_in_numpy(arguments, expected):
    module = load(ARRAY + 'resize_images', chainer_compat._add_float)
    x = chainer.Variable(numpy.array([[[[1, 2, 3]]]], numpy.float32))
    y = module.resize_images(x, (1, 5), **arguments)
    numpy.testing.assert_allclose(y.array[0, 0, 0], expected, rtol=1e-6)
    F.sum(y).backward()
    numpy.testing.assert_allclose(x.grad.sum(), 5, rtol=1e-6)
    assert not hasattr(numpy, 'float')


# S5: int() of an array

class OneArray:
    """A communicator that received the size of a dataset."""

    rank = 1

    def bcast(self, data, root):
        return numpy.full(1, 60000, numpy.float32)


@pytest.mark.filterwarnings('error')
def test_multi_node_iterator_takes_a_size_that_is_an_array():
    module = load('chainermn.iterators.multi_node_iterator',
                  chainer_compat._add_int_of_array)
    iterator = module._MultiNodeIteratorSlave(OneArray(), 0)
    assert iterator.dataset_size == 60000
    assert type(iterator.dataset_size) is int


def test_multi_node_iterator_still_counts_with_numbers():
    module = load('chainermn.iterators.multi_node_iterator',
                  chainer_compat._add_int_of_array)
    message = module._build_ctrl_msg(False, True, True, False, 300)
    assert module._parse_ctrl_msg(message) == (False, True, True, False, 300)


# S6: integers outside of a dtype

@pytest.mark.parametrize(('dtype', 'padding', 'expected'), [
    (numpy.uint8, -1, 255), (numpy.uint16, -1, 65535), (numpy.uint8, 7, 7),
    (numpy.int8, 200, -56), (numpy.int32, -1, -1), (numpy.float32, -1, -1)])
def test_padding_wraps_around_as_it_used_to(dtype, padding, expected):
    module = load(
        ARRAY + 'pad_sequence', chainer_compat._add_wrapping_of_padding)
    xs = [numpy.ones(2, dtype), numpy.ones(1, dtype)]
    y = module.pad_sequence(xs, padding=padding).array
    assert y.dtype == dtype
    numpy.testing.assert_array_equal(y, [[1, 1], [1, expected]])


def test_padding_with_nan_still_works():
    module = load(
        ARRAY + 'pad_sequence', chainer_compat._add_wrapping_of_padding)
    xs = [numpy.ones(1, numpy.float32), numpy.ones(0, numpy.float32)]
    y = module.pad_sequence(xs, padding=numpy.nan).array
    numpy.testing.assert_array_equal(y, [[1], [numpy.nan]])


# Chainer as it is imported here

@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_resize_images_of_this_chainer_works():
    x = numpy.ones((1, 1, 2, 2), numpy.float32)
    numpy.testing.assert_array_equal(
        F.resize_images(x, (3, 4)).array, numpy.ones((1, 1, 3, 4)))


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_pad_sequence_of_this_chainer_takes_uint8():
    xs = [numpy.ones(2, numpy.uint8), numpy.ones(1, numpy.uint8)]
    numpy.testing.assert_array_equal(
        F.pad_sequence(xs, padding=-1).array, [[1, 1], [1, 255]])


def test_gradient_check_of_this_chainer_works():
    x = numpy.random.RandomState(0).randn(3, 2)
    gradient_check.check_backward(F.tanh, x, numpy.ones_like(x))
    with pytest.raises(AssertionError):
        gradient_check.check_backward(
            lambda x: F.tanh(x) + F.sin(x).array, x, numpy.ones_like(x))
