"""What a user meets who imports Chainer, in a fresh interpreter."""
import os
import subprocess
import sys
import textwrap

import numpy
import pytest

import chainer_compat
from tests.helpers import ROOT

NUMPY = tuple(int(n) for n in numpy.__version__.split('.')[:2])


def python(code, *paths):
    """Runs a script in a fresh interpreter with Python's own filters."""
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


@pytest.mark.skipif(
    NUMPY >= (1, 24) or not chainer_compat._has_quiet_pkg_resources(),
    reason='Chainer does not suit this environment as it is')
def test_nothing_is_done_where_chainer_suits_numpy_and_setuptools():
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
        fake_setuptools, version):
    folder = fake_setuptools(version, warning=True)
    check_quiet(python(EVERYTHING + '''
    assert 'pkg_resources' not in sys.modules
    ''', folder))


def test_pkg_resources_of_an_old_setuptools_is_used(fake_setuptools):
    folder = fake_setuptools('58.1.0', warning=False)
    check_quiet(python('''
    sys.modules['numpy.distutils'] = None
    ''' + EVERYTHING + f'''
    import pkg_resources
    assert pkg_resources.__file__.startswith({str(folder)!r})
    assert chainer.testing.helper.pkg_resources is pkg_resources
    ''', folder))


def test_a_missing_pkg_resources_stays_missing_for_other_code():
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


def test_numpy_has_no_new_names_afterwards():
    check_quiet(python('''
    import numpy
    names = set(vars(numpy))
    ''' + EVERYTHING + '''
    assert not {'sctypes', 'float'} & (set(vars(numpy)) - names)
    '''))


def test_a_second_import_is_harmless():
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
