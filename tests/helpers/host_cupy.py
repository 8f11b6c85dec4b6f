"""A stand-in for CuPy on the CPU, so that the GPU's code runs without one.

``python tests/helpers/host_cupy.py REPORT PROGRAM ARGUMENT...`` runs a program
with it in the place of CuPy; ``-m pytest`` may be the program. Arrays are
those of NumPy in a class of their own, which, as CuPy's, refuses to meet
them. The C++ bodies of elementwise, reduction and raw kernels are compiled by
the system's compiler and called in a plain loop. What a GPU would do in
parallel is done in order: this finds wrong arithmetic, wrong calls and
needless copies to the host, not races.

The report, a JSON file, says what a program has used: the kernels with their
types, the names of the module and of its arrays, and, by the line of the
project or of Chainer that asked for it, the copies from the device.
"""
import atexit
import collections
import contextlib
import ctypes
import functools
import hashlib
import importlib.machinery
import json
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import types

import numpy

VERSION = '14.2.0'
COMPILER = shutil.which(os.environ.get('CXX', 'g++'))

# What was used, for the report.
kernels = {}
names = set()
methods = set()
copies = collections.Counter()

# C++


# Without the headers of C++, which take most of a compiler's time.
SHIM = r'''
#define __global__
#define __device__
#define __forceinline__ inline
#define __popcll __builtin_popcountll
// As CuPy's: it has no arithmetic of its own but that of float.
struct float16 {
    _Float16 value;
    float16() {}
    float16(float x) : value(x) {}
    template <typename T> explicit float16(T x) : value(float(x)) {}
    float16(const float16&) = default;
    float16& operator=(const float16&) = default;
    template <typename T> float16& operator=(const T& x) {
        return *this = float16(x);
    }
    operator float() const { return value; }
};
#define OPERATION(op) \
    template <typename T> float16& operator op##=(float16& x, const T& y) { \
        return x = float16(float(x) op float(y)); }
OPERATION(+) OPERATION(-) OPERATION(*) OPERATION(/)
inline float16 copysign(float16 x, float16 y) {
    return float16(__builtin_copysignf(x, y));
}
#define FUNCTION(name) \
    inline float name(float x) { return __builtin_##name##f(x); } \
    inline double name(double x) { return __builtin_##name(x); }
FUNCTION(sqrt) FUNCTION(exp) FUNCTION(log) FUNCTION(log2) FUNCTION(exp2)
FUNCTION(tanh) FUNCTION(fabs) FUNCTION(floor) FUNCTION(ceil) FUNCTION(rint)
inline float copysign(float x, float y) { return __builtin_copysignf(x, y); }
inline double copysign(double x, double y) {
    return __builtin_copysign(x, y);
}
inline float frexp(float x, int* n) { return __builtin_frexpf(x, n); }
inline double frexp(double x, int* n) { return __builtin_frexp(x, n); }
inline float ldexp(float x, int n) { return __builtin_ldexpf(x, n); }
inline double ldexp(double x, int n) { return __builtin_ldexp(x, n); }
inline float abs(float x) { return __builtin_fabsf(x); }
inline double abs(double x) { return __builtin_fabs(x); }
template <typename T> inline T min(T a, T b) { return b < a ? b : a; }
template <typename T> inline T max(T a, T b) { return a < b ? b : a; }
inline bool isnan(double x) { return x != x; }
inline bool isinf(double x) { return __builtin_isinf(x); }
template <typename T> inline T rsqrt(T x) { return T(1) / sqrt(x); }
template <typename T> struct Raw {
    T* p;
    long long width;
    T& operator[](long long i) const { return p[i]; }
    T& operator[](const int (&i)[2]) const { return p[i[0] * width + i[1]]; }
};
struct Index { unsigned x; };
struct Size { long long n; long long size() const { return n; } };
static Index gridDim, blockDim, blockIdx, threadIdx;
'''

C_TYPES = {
    'bool': 'bool', 'int8': 'signed char', 'uint8': 'unsigned char',
    'int16': 'short', 'uint16': 'unsigned short', 'int32': 'int',
    'uint32': 'unsigned', 'int64': 'long long',
    'uint64': 'unsigned long long', 'float16': 'float16', 'float32': 'float',
    'float64': 'double',
}


@functools.cache
def folder():
    path = tempfile.mkdtemp(prefix='host_cupy')
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return pathlib.Path(path)


@functools.cache
def build(source, fused=False):
    """Compiles C++ to a library; ``fused`` allows a * b + c in one step."""
    name = hashlib.sha256(f'{fused}{source}'.encode()).hexdigest()[:16]
    path = folder() / f'{name}.cpp'
    path.write_text(SHIM + source)
    library = path.with_suffix('.so')
    subprocess.run(
        [COMPILER, '-O1', '-Wall', '-Wno-unused', '-Wno-narrowing', '-Werror',
         '-shared', '-fPIC', f'-ffp-contract={"fast" if fused else "off"}',
         *(['-mfma'] if fused else []), '-o', str(library), str(path)],
        check=True)
    return ctypes.CDLL(str(library))


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


# Arrays


def _unwrap(value):
    """Returns what NumPy needs of an argument; refuses NumPy's arrays."""
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, numpy.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (tuple, list)):
        return type(value)(map(_unwrap, value))
    if isinstance(value, slice):
        return slice(*map(_unwrap, (value.start, value.stop, value.step)))
    return value


def _wrap(value):
    # Scalars, too: CuPy's results are arrays of no dimension.
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return ndarray(numpy.asarray(value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(_wrap, value))
    return value


def _call(function, *args, **kwargs):
    kwargs = {k: _unwrap(v) for k, v in kwargs.items()}
    out = kwargs.get('out')
    if isinstance(out, tuple):
        out, = kwargs['out'] = tuple(out)
    result = function(*map(_unwrap, args), **kwargs)
    return _wrap(result)


def _copied(array, what):
    """Counts a copy from the device under the line that asked for it."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename == __file__:
        frame = frame.f_back
    path = pathlib.Path(frame.f_code.co_filename)
    copies[f'{path.parent.name}/{path.name}:{frame.f_code.co_name} {what}'
           ] += 1
    return array


class ndarray(numpy.lib.mixins.NDArrayOperatorsMixin):

    __array_priority__ = 100
    __hash__ = None

    def __init__(self, shape, dtype=float):
        self._array = (shape if isinstance(shape, numpy.ndarray)
                       else numpy.empty(shape, dtype))

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        names.add(ufunc.__name__)
        out = kwargs.pop('out', None)
        if out is not None:
            kwargs['out'] = tuple(_unwrap(array) for array in out)
        result = getattr(ufunc, method)(*map(_unwrap, inputs), **kwargs)
        return _wrap(result) if out is None else out[0]

    def __array_function__(self, function, types, args, kwargs):
        names.add(function.__name__)
        return _call(function, *args, **kwargs)

    def __array__(self, *args, **kwargs):
        raise TypeError('Implicit conversion to a NumPy array is not allowed.')

    def __getattr__(self, name):
        if name.startswith('_'):
            raise AttributeError(name)
        value = getattr(self._array, name)
        methods.add(name)
        if callable(value):
            return functools.partial(_call, value)
        return _wrap(value) if isinstance(value, numpy.ndarray) else value

    @property
    def T(self):
        return _wrap(self._array.T)

    def astype(self, dtype, order='K', casting=None, subok=None, copy=True):
        methods.add('astype')
        return _wrap(self._array.astype(dtype, copy=copy))

    def reduced_view(self):
        assert self._array.flags.c_contiguous
        return _wrap(self._array.reshape(-1))

    @property
    def device(self):
        return Device(0)

    def __getitem__(self, index):
        index = _unwrap(index)
        if isinstance(index, numpy.ndarray) and index.dtype == bool:
            _copied(self, 'mask')
        return _wrap(self._array[index])

    def __setitem__(self, index, value):
        self._array[_unwrap(index)] = _unwrap(value)

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        return map(_wrap, self._array)

    # Copies from the device.

    def get(self, stream=None, order='C', out=None):
        return _copied(self, 'get')._array.copy()

    def set(self, array):
        assert array.dtype == self.dtype
        assert array.shape == self.shape
        self._array[...] = array

    def item(self, *args):
        return _copied(self, 'item')._array.item(*args)

    def tolist(self):
        return _copied(self, 'tolist')._array.tolist()

    def __float__(self):
        return float(_copied(self, 'float')._array)

    def __int__(self):
        return int(_copied(self, 'int')._array)

    def __bool__(self):
        return bool(_copied(self, 'bool')._array)

    def __index__(self):
        return _copied(self, 'index')._array.__index__()


# Kernels


class _Parameter:

    def __init__(self, text):
        *raw, self.type, self.name = text.split()
        self.raw = raw == ['raw']

    def dtype(self, types):
        return numpy.dtype(types.get(self.type, self.type))


def _parameters(text):
    return [_Parameter(p) for p in text.split(',') if p.strip()]


def _decide_types(parameters, args):
    """Returns the dtype of each type variable, as CuPy decides it."""
    types = {}
    for parameter, arg in zip(parameters, args):
        if len(parameter.type) == 1 and hasattr(arg, 'dtype'):
            known = types.setdefault(parameter.type, arg.dtype)
            if known != arg.dtype:
                raise TypeError(f'Type is mismatched. {parameter.name} '
                                f'{known} {arg.dtype}')
    for parameter, arg in zip(parameters, args):
        if len(parameter.type) == 1 and not hasattr(arg, 'dtype'):
            types.setdefault(parameter.type, numpy.asarray(arg).dtype)
    return types


def _record(kind, definition, types, ndims, options, preamble=''):
    entry = {'kind': kind, 'definition': definition, 'ndims': ndims,
             'types': {k: v.name for k, v in types.items()},
             'options': list(options), 'preamble': preamble}
    kernels[json.dumps(entry, sort_keys=True)] = entry


def _ndim(arg):
    return arg.ndim if isinstance(arg, ndarray) else None


class ElementwiseKernel:

    def __init__(self, in_params, out_params, operation, name='kernel',
                 options=(), preamble=''):
        self.definition = in_params, out_params, operation, name
        self.preamble = preamble
        self.ins, self.outs = _parameters(in_params), _parameters(out_params)
        self.operation, self.name, self.options = operation, name, options

    def _source(self, types):
        everything = self.ins + self.outs
        typedefs = ''.join(f'typedef {C_TYPES[v.name]} {k};\n'
                           for k, v in types.items())

        def c_type(parameter):
            return (parameter.type if parameter.type in types
                    else C_TYPES[parameter.dtype(types).name])

        signature = ''.join(
            f', {c_type(p)}* {p.name}_, long long {p.name}_s'
            for p in everything)
        bodies = ''
        for p in everything:
            const = 'const ' if p in self.ins else ''
            bodies += (f'const Raw<{const}{c_type(p)}> {p.name} = '
                       f'{{{p.name}_, {p.name}_s}};\n' if p.raw
                       else f'{const}{c_type(p)}& {p.name} = '
                            f'{p.name}_[i * {p.name}_s];\n')
        return (f'{self.preamble} {typedefs}'
                f'extern "C" void launch(long long n{signature})'
                '{ const Size _ind = {n};'
                f'for (long long i = 0; i < n; ++i) {{ {bodies}'
                f'{self.operation}; }} }}')

    def __call__(self, *args, size=None):
        n_in = len(self.ins)
        given = args[n_in:]
        types = _decide_types(self.ins + self.outs[:len(given)], args)
        _record('elementwise', self.definition, types,
                [_ndim(arg) for arg in args], self.options, self.preamble)
        arrays = [numpy.asarray(_unwrap(arg), p.dtype(types))
                  for p, arg in zip(self.ins, args)]
        shape = (size,) if size is not None else numpy.broadcast_shapes(
            *(a.shape for a, p in zip(arrays, self.ins) if not p.raw),
            *(_unwrap(array).shape for array, p in zip(given, self.outs)
              if not p.raw))
        n = int(numpy.prod(shape))
        outs = [_unwrap(array) for array in given] or [
            numpy.empty(shape, p.dtype(types)) for p in self.outs]
        copies_ = [numpy.ascontiguousarray(out) for out in outs]
        operands = []
        for array, p in zip(arrays, self.ins):
            if p.raw or array.ndim == 0:
                operands.append((numpy.ascontiguousarray(array),
                                 array.shape[-1] if array.ndim == 2 else 0))
            else:
                operands.append((numpy.ascontiguousarray(
                    numpy.broadcast_to(array, shape)), 1))
        operands += [(copy, copy.shape[-1] if p.raw and copy.ndim == 2 else 1)
                     for p, copy in zip(self.outs, copies_)]
        build(self._source(types), '--fmad=false' not in self.options).launch(
            ctypes.c_longlong(n), *(
                value for array, step in operands
                for value in (pointer(array), ctypes.c_longlong(step))))
        for out, copy in zip(outs, copies_):
            if out is not copy:
                out[...] = copy
        outs = list(given) or [_wrap(out) for out in outs]
        return outs[0] if len(outs) == 1 else tuple(outs)


class ReductionKernel:

    def __init__(self, in_params, out_params, map_expr, reduce_expr,
                 post_map_expr, identity, name='kernel', reduce_type=None,
                 options=(), preamble=''):
        self.definition = (in_params, out_params, map_expr, reduce_expr,
                           post_map_expr, identity, name, reduce_type)
        self.ins, (self.out,) = _parameters(in_params), _parameters(out_params)
        self.reduce_type, self.options = reduce_type, options
        self.preamble = preamble

    def __call__(self, *args, axis=None, keepdims=False):
        types = _decide_types(self.ins, args)
        _record('reduction', self.definition, types,
                [_ndim(arg) for arg in args], self.options, self.preamble)
        _, _, map_expr, reduce_expr, post_map_expr, identity, _, _ = (
            self.definition)
        arrays = [numpy.asarray(_unwrap(arg), p.dtype(types))
                  for p, arg in zip(self.ins, args)]
        shape = numpy.broadcast_shapes(
            *(a.shape for a, p in zip(arrays, self.ins) if not p.raw))
        axes = (tuple(range(len(shape))) if axis is None
                else (axis,) if isinstance(axis, int) else tuple(axis))
        kept = [i for i in range(len(shape)) if i not in axes]
        result = numpy.empty([shape[i] for i in kept], self.out.dtype(types))
        n = int(numpy.prod([shape[i] for i in axes]))
        signature = loads = raw_loads = ''
        operands = []
        for array, p in zip(arrays, self.ins):
            c_type = C_TYPES[p.dtype(types).name]
            signature += f', const {c_type}* {p.name}_, long long {p.name}_s'
            if p.raw:
                raw_loads += f'const {c_type}* {p.name} = {p.name}_;\n'
            else:
                loads += (f'const {c_type} {p.name} = '
                          f'{p.name}_[_j * {p.name}_s];\n')
            if not p.raw and array.ndim:
                array = numpy.broadcast_to(array, shape).transpose(
                    *axes, *kept)
            operands.append((numpy.ascontiguousarray(array),
                             int(not p.raw and array.ndim > 0)))
        typedefs = ''.join(f'typedef {C_TYPES[v.name]} {k};\n'
                           for k, v in types.items())
        out_type = C_TYPES[result.dtype.name]
        reduce_type = C_TYPES.get(self.reduce_type,
                                  self.reduce_type or out_type)
        source = f'''{self.preamble} {typedefs}
            extern "C" void launch(long long n_out, long long n,
                                   {out_type}* out_{signature}) {{
                typedef {reduce_type} _type_reduce;
                for (long long _i = 0; _i < n_out; ++_i) {{
                    _type_reduce a = {identity};
                    const _type_reduce first = a;
                    for (long long _j = _i; _j < n * n_out; _j += n_out) {{
                        {raw_loads} {loads}
                        const _type_reduce b =
                            static_cast<_type_reduce>({map_expr});
                        a = {reduce_expr};
                    }}
                    {out_type}& {self.out.name} = out_[_i];
                    {raw_loads}
                    {post_map_expr};
                }}
            }}'''
        build(source, '--fmad=false' not in self.options).launch(
            ctypes.c_longlong(result.size), ctypes.c_longlong(n),
            pointer(result), *(
                value for array, step in operands
                for value in (pointer(array), ctypes.c_longlong(step))))
        return _wrap(result)


class RawKernel:

    def __init__(self, code, name, options=()):
        self.code, self.name, self.options = code, name, options
        parameters = re.search(
            name + r'\((.*?)\)', code, re.DOTALL).group(1)
        arguments = ', '.join(p.split()[-1] for p in parameters.split(','))
        self._launch = build(code + f'''
            extern "C" void launch(unsigned grid, unsigned block,
                                   {parameters}) {{
                gridDim.x = grid;
                blockDim.x = block;
                for (blockIdx.x = 0; blockIdx.x < grid; ++blockIdx.x)
                    for (threadIdx.x = 0; threadIdx.x < block; ++threadIdx.x)
                        {name}({arguments});
            }}
        ''').launch

    def __call__(self, grid, block, args):
        _record('raw', (self.code, self.name), {}, [], self.options)

        def convert(arg):
            if isinstance(arg, ndarray):
                assert arg.flags.c_contiguous
                return pointer(arg._array)
            return {numpy.int64: ctypes.c_longlong,
                    numpy.int32: ctypes.c_int}[type(arg)](int(arg))

        self._launch(ctypes.c_uint(grid[0]), ctypes.c_uint(block[0]),
                     *map(convert, args))


# The module


class Device:

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


class _Module(types.ModuleType):
    """Has NumPy's functions, for arrays of the stand-in."""

    def __getattr__(self, name):
        if name.startswith('_'):
            raise AttributeError(name)
        value = getattr(numpy, name)
        if isinstance(value, type) or not callable(value):
            return value
        names.add(name)
        return functools.partial(_call, value)


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
        numpy.ascontiguousarray(_unwrap(a), dtype))
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
        randint=lambda *args, **kwargs: _wrap(
            random.randint(*args, **kwargs)),
        rand=lambda *shape, dtype=float: _wrap(
            random.rand(*shape).astype(dtype)))
    cupy.cuda = _module(
        'cupy.cuda', Device=Device, Event=object,
        Stream=types.SimpleNamespace(null=None),
        runtime=_module(
            'cupy.cuda.runtime', getDeviceCount=lambda: 1,
            getDeviceProperties=lambda i: {'name': b'stand-in'}),
        cublas=_module('cupy.cuda.cublas'))
    cupy._util = _module('cupy._util', PerformanceWarning=Warning)
    cupyx = _module('cupyx', rsqrt=lambda x, dtype=None: _wrap(
        1 / numpy.sqrt(_unwrap(x), dtype=dtype)))
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


def report():
    return {'kernels': list(kernels.values()), 'names': sorted(names),
            'methods': sorted(methods), 'copies': dict(copies)}


def main(path, program, *arguments):
    install()
    sys.path[0] = os.getcwd()
    try:
        if program == '-m':
            program, *arguments = arguments
            sys.argv = [program, *arguments]
            runpy.run_module(program, run_name='__main__', alter_sys=True)
        else:
            sys.path[0] = os.path.dirname(os.path.abspath(program))
            sys.argv = [program, *arguments]
            runpy.run_path(program, run_name='__main__')
    finally:
        with open(path, 'w') as f:
            json.dump(report(), f)


if __name__ == '__main__':
    # As a module that others can import, too.
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])
    from tests.helpers import host_cupy
    host_cupy.main(*sys.argv[1:])
