"""Arrays on the device: NumPy's, in a class that refuses to meet them."""
import functools

import numpy

from tests.helpers.host_cupy import report


def unwrap(value):
    """Makes an array of NumPy of one of the device; refuses other arrays."""
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, numpy.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (tuple, list)):
        return type(value)(map(unwrap, value))
    if isinstance(value, slice):
        return slice(*map(unwrap, (value.start, value.stop, value.step)))
    return value


def wrap(value):
    """Makes an array of the device of what a function of NumPy returned."""
    # Scalars, too: CuPy's results are arrays of no dimension.
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return ndarray(numpy.asarray(value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(wrap, value))
    return value


def call(function, *args, **kwargs):
    """Calls a function of NumPy with arrays of the device."""
    kwargs = {k: unwrap(v) for k, v in kwargs.items()}
    out = kwargs.get('out')
    if isinstance(out, tuple):
        out, = kwargs['out'] = tuple(out)
    result = function(*map(unwrap, args), **kwargs)
    return wrap(result)


class Device:
    """The one device that there is."""

    def __init__(self, device=None):
        self.id = int(device or 0)

    def __eq__(self, other):
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self):
        return self.id

    def __int__(self):
        return self.id

    def __enter__(self):
        return self

    def __exit__(self, *args):
        pass

    def use(self):
        pass

    def synchronize(self):
        pass


class ndarray(numpy.lib.mixins.NDArrayOperatorsMixin):
    """An array that only CuPy's functions take."""

    __array_priority__ = 100
    __hash__ = None

    def __init__(self, shape, dtype=float):
        self._array = (shape if isinstance(shape, numpy.ndarray)
                       else numpy.empty(shape, dtype))

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        report.names.add(ufunc.__name__)
        out = kwargs.pop('out', None)
        if out is not None:
            kwargs['out'] = tuple(unwrap(array) for array in out)
        result = getattr(ufunc, method)(*map(unwrap, inputs), **kwargs)
        return wrap(result) if out is None else out[0]

    def __array_function__(self, function, types, args, kwargs):
        report.names.add(function.__name__)
        return call(function, *args, **kwargs)

    def __array__(self, *args, **kwargs):
        raise TypeError('Implicit conversion to a NumPy array is not allowed.')

    def __getattr__(self, name):
        if name.startswith('_'):
            raise AttributeError(name)
        value = getattr(self._array, name)
        report.methods.add(name)
        if callable(value):
            return functools.partial(call, value)
        return wrap(value) if isinstance(value, numpy.ndarray) else value

    @property
    def T(self):
        return wrap(self._array.T)

    def astype(self, dtype, order='K', casting=None, subok=None, copy=True):
        report.methods.add('astype')
        return wrap(self._array.astype(dtype, copy=copy))

    def reduced_view(self):
        assert self._array.flags.c_contiguous
        return wrap(self._array.reshape(-1))

    @property
    def device(self):
        return Device(0)

    def __getitem__(self, index):
        index = unwrap(index)
        if isinstance(index, numpy.ndarray) and index.dtype == bool:
            report.copied(self, 'mask')
        return wrap(self._array[index])

    def __setitem__(self, index, value):
        self._array[unwrap(index)] = unwrap(value)

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        return map(wrap, self._array)

    # Copies from the device.

    def get(self, stream=None, order='C', out=None):
        return report.copied(self, 'get')._array.copy()

    def set(self, array):
        assert array.dtype == self.dtype
        assert array.shape == self.shape
        self._array[...] = array

    def item(self, *args):
        return report.copied(self, 'item')._array.item(*args)

    def tolist(self):
        return report.copied(self, 'tolist')._array.tolist()

    def __float__(self):
        return float(report.copied(self, 'float')._array)

    def __int__(self):
        return int(report.copied(self, 'int')._array)

    def __bool__(self):
        return bool(report.copied(self, 'bool')._array)

    def __index__(self):
        return report.copied(self, 'index')._array.__index__()
