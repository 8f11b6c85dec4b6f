"""Let Chainer 7.8.1 run on today's NumPy, setuptools and Python.

Import this module before Chainer, in every module that imports Chainer::

    import chainer_compat
    import chainer

Chainer's last release is of January 2022; since then NumPy and setuptools
have removed names that it uses. On import, this module finds out which of
them are missing here and adds those alone, each only for the modules of
Chainer that need it: neither ``numpy`` nor ``sys.modules`` shows anything new
to other code afterwards, a module named ``pkg_resources`` least of all. Where
Chainer is served as it is (Python 3.9, NumPy 1.23, the setuptools that comes
with it), nothing is done at all.

A Chainer that is not of version 7.8 is warned of: the shims are not those of
another one, nor are the names, private to Chainer, that this project uses all
the same (tests/test_chainer_private.py lists them).

It makes no difference where Chainer is from, an index or a checkout of its
repository. Importing this module twice, or after Chainer, is harmless.
The places named below (file:line) are those of Chainer 7.8.1.
"""
import contextlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import types
import warnings

import numpy


def _fails(error, action):
    with warnings.catch_warnings():
        # What is deprecated still works, and is nobody's business here.
        warnings.simplefilter('ignore')
        try:
            action()
        except error:
            return True
        return False


def _has_quiet_pkg_resources():
    """True where ``pkg_resources`` can be imported and says nothing.

    It is gone since setuptools 82, and warns when imported since 67.5. To
    find that out it is not imported: that is slow, and would show the warning.
    """
    if importlib.util.find_spec('pkg_resources') is None:
        return False
    # Here since it takes as long to import as this whole module.
    from importlib import metadata
    try:
        version = metadata.version('setuptools')
    except metadata.PackageNotFoundError:
        return False
    return int(version.split('.')[0]) < 67


def _lacks_float():
    return _fails(AttributeError, lambda: numpy.float)  # noqa: NPY001


def _has_numpy_distutils():
    """True where ``numpy.distutils`` is there and may be imported.

    It is gone since Python 3.12, warns when imported since NumPy 1.23, and
    fails beside newer setuptools. NumPy 1.23 is the last one that suits
    Chainer as it is: with a newer one the warning is not called forth.
    """
    return (not _lacks_float()
            and importlib.util.find_spec('numpy.distutils') is not None)


def _has_cupy():
    """True where ``cupy`` can be found; to import it takes a second."""
    if 'cupy' in sys.modules:  # None forbids the import.
        return sys.modules['cupy'] is not None
    return importlib.util.find_spec('cupy') is not None


class _NumpyWith:
    """NumPy as one module of Chainer sees it: with a few names more."""

    def __init__(self, **names):
        vars(self).update(names)

    def __getattr__(self, name):
        return getattr(numpy, name)


# The shims. Those that are context managers are entered before, and left
# after a module of Chainer is executed.


@contextlib.contextmanager
def _add_sctypes(module):
    """S1: ``numpy.sctypes``, removed in NumPy 2.0.

    functions/array/as_strided.py:10 reads it when imported, and line 252 when
    used.
    """
    sctypes = {
        'int': [numpy.int8, numpy.int16, numpy.int32, numpy.int64],
        'float': [numpy.float16, numpy.float32, numpy.float64,
                  numpy.longdouble],
    }
    numpy.sctypes = sctypes  # noqa: NPY201
    try:
        yield
    finally:
        del numpy.sctypes  # noqa: NPY201
    module.np = _NumpyWith(sctypes=sctypes)


def _skip_environment_check():
    """S2 and S3: ``numpy.distutils`` and ``pkg_resources``.

    _environment_check.py:6-7 imports both for ``check()``, which
    __init__.py:96 calls: it warns of Python 3.5.0, of macOS's Accelerate
    below NumPy, and of versions of CuPy and iDeep that do not suit.
    ``numpy.distutils`` is missing since Python 3.12, ``pkg_resources`` since
    setuptools 82. A check that checks nothing needs neither.
    """
    name = 'chainer._environment_check'
    module = types.ModuleType(name, 'Left out by chainer_compat.')
    module.check = lambda: None
    sys.modules.setdefault(name, module)


class _ResolutionError(Exception):
    """A requirement is not met."""


class _WorkingSet:
    """The installed distributions, as far as Chainer asks about them."""

    def require(self, *requirements):
        # Here since only the decorators of test cases need them.
        from importlib import metadata

        from packaging.requirements import Requirement
        for requirement in map(Requirement, requirements):
            if requirement.marker and not requirement.marker.evaluate():
                continue
            try:
                version = metadata.version(requirement.name)
            except metadata.PackageNotFoundError as e:
                raise _ResolutionError(str(requirement)) from e
            if not requirement.specifier.contains(version, prereleases=True):
                raise _ResolutionError(f'{requirement}, not {version}')


@contextlib.contextmanager
def _add_pkg_resources(module):
    """S3: ``pkg_resources``, removed in setuptools 82.

    testing/helper.py:6 and testing/doctest_helper.py:3 import it and use
    ``WorkingSet().require`` and ``ResolutionError`` in the decorators
    ``with_requires`` and ``without_requires``. chainer.gradient_check imports
    chainer.testing. The stand-in is importable only while one of these two is
    executed: to all others pkg_resources is what it was, missing or not.
    """
    stub = types.ModuleType('pkg_resources', 'A part, by chainer_compat.')
    stub.WorkingSet = _WorkingSet
    stub.ResolutionError = _ResolutionError
    before = {k: v for k, v in sys.modules.items() if k == stub.__name__}
    sys.modules[stub.__name__] = stub
    try:
        yield
    finally:
        del sys.modules[stub.__name__]
        sys.modules.update(before)


@contextlib.contextmanager
def _add_float(module):
    """S4: ``numpy.float``, removed in NumPy 1.24.

    functions/array/resize_images.py:179-196 uses it, in one function, and
    only there: line 231 has ``xp is numpy``, so that the module as a whole
    has to keep the real one.
    """
    yield
    function = module.compute_indices_and_weights
    scope = dict(vars(module), numpy=_NumpyWith(float=float))
    module.compute_indices_and_weights = types.FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__)


@contextlib.contextmanager
def _add_int_of_array(module):
    """S5: ``int()`` of an array with one element, an error since NumPy 2.4.

    chainermn/iterators/multi_node_iterator.py:137 receives the dataset's size
    as such an array. That module calls ``int`` and does nothing else with it,
    so it can have one of its own.
    """
    yield
    module.int = lambda x: int(x.item() if hasattr(x, 'item') else x)


@contextlib.contextmanager
def _add_wrapping_of_padding(module):
    """S6: integers outside of an array's dtype, an error since NumPy 2.0.

    functions/array/pad_sequence.py:55 (and 65, on a GPU) writes the padding,
    often -1, into an array of the input's dtype. With an unsigned dtype it
    used to wrap around, -1 to 255, and does so here.
    """
    yield
    forward = module.PadSequence.forward

    def forward_with_cast_padding(self, xs):
        dtype = xs[0].dtype
        if isinstance(self.padding, int) and dtype.kind in 'iu':
            self.padding = numpy.array(self.padding).astype(dtype)[()]
        return forward(self, xs)

    module.PadSequence.forward = forward_with_cast_padding


@contextlib.contextmanager
def _ignoring(message):
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message, UserWarning)
        yield


@contextlib.contextmanager
def _say_nothing_of_cudnn(module):
    """S7: a warning that cuDNN is missing, which CuPy 14 no longer serves.

    backends/cuda.py:154 gives it once, at the first kernel that is defined:
    with CuPy 14 that is during each import of Chainer, and can't be helped.
    CuPy 13 looks for the library, and warns itself.
    """
    with _ignoring(r'\s*cudnn library could not be loaded'):
        yield
    module.check_cuda_available._already_warned = True


@contextlib.contextmanager
def _say_nothing_of_nccl(module):
    """S8: a warning that NCCL is missing, which one GPU does not need.

    training/updaters/multiprocess_parallel_updater.py:15 looks for it, and
    CuPy warns where its wheels do not bring it along.
    """
    with _ignoring(r'\s*nccl library could not be loaded'):
        yield


def _find_shims():
    """Return {name of a module of Chainer: the shim that it needs here}."""
    shims = {}
    if not hasattr(numpy, 'sctypes'):
        shims['chainer.functions.array.as_strided'] = _add_sctypes
    if not _has_quiet_pkg_resources():
        shims['chainer.testing.helper'] = _add_pkg_resources
        shims['chainer.testing.doctest_helper'] = _add_pkg_resources
    if _lacks_float():
        shims['chainer.functions.array.resize_images'] = _add_float
    if _fails(TypeError, lambda: int(numpy.ones(1))):
        shims['chainermn.iterators.multi_node_iterator'] = _add_int_of_array
    if _fails(OverflowError, lambda: numpy.array(-1, numpy.uint8)):
        shims['chainer.functions.array.pad_sequence'] = (
            _add_wrapping_of_padding)
    if _has_cupy():
        shims['chainer.backends.cuda'] = _say_nothing_of_cudnn
        shims['chainer.training.updaters.multiprocess_parallel_updater'] = (
            _say_nothing_of_nccl)
    return shims


class _Loader:
    """Executes a module within its shim; a loader as any other else."""

    def __init__(self, loader, shim):
        self.loader = loader
        self.shim = shim

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        # From here on nobody can tell that the module was loaded by this.
        module.__loader__ = module.__spec__.loader = self.loader
        with self.shim(module):
            self.loader.exec_module(module)


class _Finder:
    """Finds the modules that need a shim, where they are found anyway."""

    def __init__(self, shims):
        self.shims = shims

    def find_spec(self, name, path=None, target=None):
        if name not in self.shims:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None:
            spec.loader = _Loader(spec.loader, self.shims[name])
        return spec


def _find_version():
    """Returns Chainer's version, or None; Chainer is not imported."""
    spec = importlib.util.find_spec('chainer')
    if spec is None or not spec.submodule_search_locations:
        return None
    path = os.path.join(spec.submodule_search_locations[0], '_version.py')
    try:
        with open(path) as f:
            match = re.search(r"__version__ = '(.*)'", f.read())
    except OSError:
        return None
    return match and match.group(1)


def _install():
    version = _find_version()
    if version and not version.startswith('7.8.'):
        warnings.warn(f'chainer_compat is made for Chainer 7.8, not {version}',
                      stacklevel=3)
    if not (_has_numpy_distutils() and _has_quiet_pkg_resources()):
        _skip_environment_check()
    shims = _find_shims()
    for name in shims.keys() & sys.modules.keys():
        with shims[name](sys.modules[name]):
            pass  # Executed before this module was imported.
    if shims:
        sys.meta_path.insert(0, _Finder(shims))


_install()
