"""What chainer_compat finds missing, and the shims that it chooses."""
import importlib.util
import sys

import numpy
import pytest

import chainer_compat
import chainer  # noqa: F401  (its modules are looked for)

NUMPY = tuple(int(n) for n in numpy.__version__.split('.')[:2])
ARRAY = 'chainer.functions.array.'


def test_shims_are_those_that_this_numpy_needs():
    shims = chainer_compat._find_shims()
    assert (ARRAY + 'as_strided' in shims) == (NUMPY >= (2, 0))
    assert (ARRAY + 'resize_images' in shims) == (NUMPY >= (1, 24))
    assert (ARRAY + 'pad_sequence' in shims) == (NUMPY >= (2, 0))
    assert ('chainermn.iterators.multi_node_iterator' in shims) == (
        NUMPY >= (2, 4))


@pytest.fixture
def nothing_missing(monkeypatch):
    monkeypatch.setattr(numpy, 'sctypes', {}, raising=False)
    monkeypatch.setattr(
        chainer_compat, '_has_quiet_pkg_resources', lambda: True)
    monkeypatch.setattr(chainer_compat, '_has_numpy_distutils', lambda: True)
    monkeypatch.setattr(chainer_compat, '_has_cupy', lambda: False)
    monkeypatch.setattr(chainer_compat, '_fails', lambda error, action: False)


def test_nothing_is_done_where_nothing_is_missing(
        monkeypatch, nothing_missing):
    monkeypatch.delitem(sys.modules, 'chainer._environment_check')
    finders, modules = list(sys.meta_path), set(sys.modules)
    chainer_compat._install()
    assert chainer_compat._find_shims() == {}
    assert sys.meta_path == finders
    assert set(sys.modules) == modules


@pytest.mark.usefixtures('nothing_missing')
@pytest.mark.parametrize(('error', 'name'), [
    (AttributeError, ARRAY + 'resize_images'),
    (TypeError, 'chainermn.iterators.multi_node_iterator'),
    (OverflowError, ARRAY + 'pad_sequence'),
])
def test_only_the_module_that_fails_gets_a_shim(monkeypatch, error, name):
    monkeypatch.setattr(chainer_compat, '_fails', lambda e, _: e is error)
    assert list(chainer_compat._find_shims()) == [name]


@pytest.mark.usefixtures('nothing_missing')
def test_only_chainer_testing_gets_a_shim_for_pkg_resources(monkeypatch):
    monkeypatch.setattr(
        chainer_compat, '_has_quiet_pkg_resources', lambda: False)
    assert sorted(chainer_compat._find_shims()) == [
        'chainer.testing.doctest_helper', 'chainer.testing.helper']


@pytest.mark.usefixtures('nothing_missing')
@pytest.mark.parametrize(
    'lost', ['_has_quiet_pkg_resources', '_has_numpy_distutils'])
def test_environment_check_is_left_out_where_either_import_fails(
        monkeypatch, lost):
    name = 'chainer._environment_check'
    monkeypatch.setattr(chainer_compat, lost, lambda: False)
    monkeypatch.setattr(sys, 'meta_path', list(sys.meta_path))
    monkeypatch.delitem(sys.modules, name)
    chainer_compat._install()
    module = sys.modules.pop(name)
    assert module.check() is None
    assert not hasattr(module, 'numpy')


def test_environment_check_that_is_imported_already_is_kept(monkeypatch):
    before = object()
    monkeypatch.setitem(sys.modules, 'chainer._environment_check', before)
    chainer_compat._skip_environment_check()
    assert sys.modules['chainer._environment_check'] is before


@pytest.mark.parametrize(('version', 'expected'), [
    ('58.1.0', True), ('66.1.1', True), ('67.5.0', False),
    ('80.10.2', False)])
def test_pkg_resources_is_wanted_only_from_setuptools_before_67(
        monkeypatch, fake_setuptools, version, expected):
    folder = fake_setuptools(version, warning=True)
    monkeypatch.delitem(sys.modules, 'pkg_resources', raising=False)
    monkeypatch.syspath_prepend(folder)
    assert chainer_compat._has_quiet_pkg_resources() is expected
    assert 'pkg_resources' not in sys.modules


def test_pkg_resources_that_is_absent_is_not_wanted(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pkg_resources', None)
    assert not chainer_compat._has_quiet_pkg_resources()


@pytest.mark.parametrize('lacks_float', [False, True])
def test_numpy_distutils_is_wanted_only_where_numpy_is_old_enough(
        monkeypatch, lacks_float):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: object())
    monkeypatch.setattr(chainer_compat, '_lacks_float', lambda: lacks_float)
    assert chainer_compat._has_numpy_distutils() is not lacks_float


def test_numpy_distutils_that_is_absent_is_not_wanted(monkeypatch):
    monkeypatch.setattr(chainer_compat, '_lacks_float', lambda: False)
    monkeypatch.setitem(sys.modules, 'numpy.distutils', None)
    assert not chainer_compat._has_numpy_distutils()
