"""Each shim alone, and in fresh interpreters what a user meets.

A shim is tested on every NumPy and setuptools: what newer ones have removed
is removed here from older ones first.
"""
import importlib.util
import os
import subprocess
import sys
import textwrap

import numpy
import pytest

import chainer_compat
from tests.helpers import ROOT

import chainer
import chainer.functions as F
from chainer import gradient_check

NUMPY = tuple(int(n) for n in numpy.__version__.split('.')[:2])
ARRAY = 'chainer.functions.array.'


def load(name, shim):
    """A second copy of a module of Chainer, loaded with one shim alone."""
    package = importlib.util.find_spec(name.split('.')[0])
    path = [os.path.join(package.submodule_search_locations[0],
                         *name.split('.')[1:-1])]
    spec = chainer_compat._Finder({name: shim}).find_spec(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python(code, *paths):
    """Run a script in a fresh interpreter with Python's own filters."""
    environment = {k: v for k, v in os.environ.items()
                   if k not in ('PYTHONWARNINGS', 'PYTHONPATH')}
    environment['PYTHONPATH'] = os.pathsep.join(map(str, [ROOT, *paths]))
    # Without cuDNN, CuPy makes Chainer warn, which is none of our noise.
    code = "import sys; sys.modules['cupy'] = None\n" + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, '-c', code], env=environment, text=True,
        capture_output=True, timeout=60)


def check_quiet(result):
    assert result.stderr == ''
    assert result.returncode == 0


def fake_setuptools(folder, version, warning):
    """A ``pkg_resources`` as some version of setuptools has it."""
    (folder / 'pkg_resources').mkdir()
    (folder / 'pkg_resources' / '__init__.py').write_text(textwrap.dedent(f'''
        import warnings
        if {warning}:
            warnings.warn('pkg_resources is deprecated as an API', UserWarning)
        class WorkingSet:
            def require(self, *requirements):
                pass
        class ResolutionError(Exception):
            pass
        DistributionNotFound = VersionConflict = ResolutionError
        def require(requirement):
            raise DistributionNotFound
        '''))
    info = folder / f'setuptools-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(
        f'Metadata-Version: 2.1\nName: setuptools\nVersion: {version}\n')


@pytest.fixture
def without_names(monkeypatch):
    """NumPy without the names that are not in every NumPy of the range."""
    for name in 'sctypes', 'float':
        monkeypatch.delitem(vars(numpy), name, raising=False)
        monkeypatch.delitem(
            getattr(numpy, '__deprecated_attrs__', {}), name, raising=False)


# What is missing

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
        monkeypatch, tmp_path, version, expected):
    fake_setuptools(tmp_path, version, warning=True)
    monkeypatch.delitem(sys.modules, 'pkg_resources', raising=False)
    monkeypatch.syspath_prepend(tmp_path)
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


# S1

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


# S3

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


# S4

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


# S5

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


# S6

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


# As it is imported here

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


# In a fresh interpreter

@pytest.mark.skipif(
    NUMPY >= (1, 24) or not chainer_compat._has_quiet_pkg_resources(),
    reason='Chainer does not suit this environment as it is')
def test_nothing_is_done_here_where_chainer_suits():
    check_quiet(python('''
    import numpy
    finders, modules = list(sys.meta_path), set(sys.modules)
    import chainer_compat
    assert sys.meta_path == finders
    assert not [m for m in set(sys.modules) - modules if 'chainer.' in m]
    import chainer, pkg_resources
    assert chainer._environment_check.pkg_resources is pkg_resources
    '''))


EVERYTHING = '''
    import chainer_compat
    import chainer, chainer.gradient_check, chainer.testing.doctest_helper
    import chainer.functions as F
    import numpy
    F.resize_images(numpy.ones((1, 1, 2, 2), numpy.float32), (3, 3))
    F.pad_sequence([numpy.ones(2, 'u1'), numpy.ones(1, 'u1')], padding=-1)
    '''


def test_nothing_is_printed_with_the_default_filters():
    result = python(EVERYTHING)
    check_quiet(result)
    assert result.stdout == ''


@pytest.mark.parametrize('version', ['67.5.0', '80.10.2'])
def test_nothing_is_printed_where_pkg_resources_is_deprecated(
        tmp_path, version):
    fake_setuptools(tmp_path, version, warning=True)
    check_quiet(python(EVERYTHING + '''
    assert 'pkg_resources' not in sys.modules
    ''', tmp_path))


def test_pkg_resources_of_an_old_setuptools_is_used(tmp_path):
    fake_setuptools(tmp_path, '58.1.0', warning=False)
    check_quiet(python('''
    sys.modules['numpy.distutils'] = None
    ''' + EVERYTHING + f'''
    import pkg_resources
    assert pkg_resources.__file__.startswith({str(tmp_path)!r})
    assert chainer.testing.helper.pkg_resources is pkg_resources
    ''', tmp_path))


def test_pkg_resources_stays_missing_for_all_others():
    check_quiet(python('''
    sys.modules['pkg_resources'] = None
    ''' + EVERYTHING + '''
    try:
        import pkg_resources
    except ImportError:
        pass
    else:
        raise AssertionError(pkg_resources)
    '''))


def test_numpy_shows_nothing_new():
    check_quiet(python('''
    import numpy
    names = set(vars(numpy))
    ''' + EVERYTHING + '''
    assert not {'sctypes', 'float'} & (set(vars(numpy)) - names)
    '''))


def test_second_import_is_harmless():
    check_quiet(python(EVERYTHING + '''
    del sys.modules['chainer_compat']
    ''' + EVERYTHING + '''
    import importlib
    importlib.reload(chainer_compat)
    ''' + EVERYTHING))


def test_shimmed_modules_keep_their_own_loader():
    check_quiet(python(EVERYTHING + '''
    from importlib.machinery import SourceFileLoader
    for name in chainer_compat._find_shims():
        if name in sys.modules:
            module = sys.modules[name]
            assert type(module.__loader__) is SourceFileLoader, name
            assert module.__spec__.loader is module.__loader__, name
    '''))


def test_missing_chainer_gets_the_plain_import_error():
    result = python('''
    sys.modules['chainer'] = None
    import chainer_compat
    import chainer
    ''')
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(
        'ModuleNotFoundError: import of chainer halted')


def test_chainermn_can_be_imported():
    check_quiet(python('''
    import chainer_compat
    import chainermn.iterators
    '''))
