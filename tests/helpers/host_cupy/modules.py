"""The modules that stand in for ``cupy`` and ``cupyx``."""
import contextlib
import functools
import importlib.machinery
import sys
import types

import numpy

from tests.helpers.host_cupy import report
from tests.helpers.host_cupy.arrays import (
    Device, call, ndarray, unwrap, wrap)
from tests.helpers.host_cupy.kernel_classes import (
    ElementwiseKernel, RawKernel, ReductionKernel)

VERSION = '14.2.0'


class _Module(types.ModuleType):
    """A module with NumPy's functions, for arrays of the stand-in."""

    def __getattr__(self, name):
        if name.startswith('_'):
            raise AttributeError(name)
        value = getattr(numpy, name)
        if isinstance(value, type) or not callable(value):
            return value
        report.names.add(name)
        return functools.partial(call, value)


def _asarray(a, dtype=None, order=None):
    """Sends an array to the device, as asarray and array of CuPy may."""
    return ndarray(numpy.array(
        a._array if isinstance(a, ndarray) else a, dtype))


def _module(name, **attributes):
    module = sys.modules[name] = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__path__ = []
    vars(module).update(attributes)
    return module


def install():
    """Puts the stand-in in the place of the module ``cupy``."""
    cupy = sys.modules['cupy'] = _Module('cupy')
    cupy.__spec__ = importlib.machinery.ModuleSpec('cupy', None)
    cupy.__path__ = []
    cupy.__version__ = VERSION
    cupy.is_host_cupy = True
    cupy.ndarray = ndarray
    cupy.ElementwiseKernel = ElementwiseKernel
    cupy.ReductionKernel = ReductionKernel
    cupy.RawKernel = RawKernel
    cupy.asarray = _asarray
    cupy.array = lambda a, dtype=None, copy=True: _asarray(a, dtype)
    cupy.ascontiguousarray = lambda a, dtype=None: ndarray(
        numpy.ascontiguousarray(unwrap(a), dtype))
    cupy.asnumpy = lambda a, stream=None: (
        a.get() if isinstance(a, ndarray) else numpy.asarray(a))
    cupy.get_array_module = lambda *args: (
        cupy if any(isinstance(a, ndarray) for a in args) else numpy)
    cupy.memoize = lambda for_each_device=False: functools.cache
    cupy.fuse = lambda *args, **kwargs: (
        args[0] if args and callable(args[0]) else lambda f: f)
    cupy.get_default_memory_pool = cupy.get_default_pinned_memory_pool = (
        types.SimpleNamespace)
    random = numpy.random.RandomState()  # not the host's
    cupy.random = _module(
        'cupy.random', seed=lambda seed: random.seed(seed & 0xffffffff),
        randint=lambda *args, **kwargs: wrap(
            random.randint(*args, **kwargs)),
        rand=lambda *shape, dtype=float: wrap(
            random.rand(*shape).astype(dtype)))
    cupy.cuda = _module(
        'cupy.cuda', Device=Device, Event=object,
        Stream=types.SimpleNamespace(null=None),
        runtime=_module(
            'cupy.cuda.runtime', getDeviceCount=lambda: 1,
            getDeviceProperties=lambda i: {'name': b'stand-in'}),
        cublas=_module('cupy.cuda.cublas'))
    cupy._util = _module('cupy._util', PerformanceWarning=Warning)
    cupyx = _module('cupyx', rsqrt=lambda x, dtype=None: wrap(
        1 / numpy.sqrt(unwrap(x), dtype=dtype)))
    cupyx.scipy = _module('cupyx.scipy')
    cupyx.scipy.linalg = _module('cupyx.scipy.linalg')
    cupyx.scipy.special = _module('cupyx.scipy.special')
    return cupy


@contextlib.contextmanager
def installed():
    """Has the stand-in in the place of ``cupy`` inside the block."""
    def ours(name):
        return name.split('.')[0] in ('cupy', 'cupyx')

    before = {k: v for k, v in sys.modules.items() if ours(k)}
    for name in before:
        del sys.modules[name]
    try:
        yield install()
    finally:
        for name in list(filter(ours, sys.modules)):
            del sys.modules[name]
        sys.modules.update(before)
