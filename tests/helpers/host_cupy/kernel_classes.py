"""CuPy's three classes of kernels, whose C++ runs in a plain loop."""
import ctypes
import re

import numpy

from tests.helpers.host_cupy import report
from tests.helpers.host_cupy.arrays import ndarray, unwrap, wrap
from tests.helpers.host_cupy.cpp import C_TYPES, build, pointer


class _Parameter:
    """One of ``T x, raw uint32 words``: its type and its name."""

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


def _ndim(arg):
    return arg.ndim if isinstance(arg, ndarray) else None


def _typedefs(types):
    return ''.join(f'typedef {C_TYPES[dtype.name]} {name};\n'
                   for name, dtype in types.items())


def _pointers_and_steps(operands):
    """Yields the arguments of ``launch`` that (array, step) pairs make."""
    for array, step in operands:
        yield pointer(array)
        yield ctypes.c_longlong(step)


class ElementwiseKernel:
    """C++ that is run for each element: ``y = x + 1``."""

    def __init__(self, in_params, out_params, operation, name='kernel',
                 options=(), preamble=''):
        self.definition = in_params, out_params, operation, name
        self.preamble = preamble
        self.ins, self.outs = _parameters(in_params), _parameters(out_params)
        self.operation, self.name, self.options = operation, name, options

    def _source(self, types):
        everything = self.ins + self.outs

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
        return (f'{self.preamble} {_typedefs(types)}'
                f'extern "C" void launch(long long n{signature})'
                '{ const Size _ind = {n};'
                f'for (long long i = 0; i < n; ++i) {{ {bodies}'
                f'{self.operation}; }} }}')

    def __call__(self, *args, size=None):
        n_in = len(self.ins)
        given = args[n_in:]
        types = _decide_types(self.ins + self.outs[:len(given)], args)
        report.launched(
            'elementwise', self.name, self.definition, types,
            [_ndim(arg) for arg in args], self.options, self.preamble)
        arrays = [numpy.asarray(unwrap(arg), p.dtype(types))
                  for p, arg in zip(self.ins, args)]
        shape = (size,) if size is not None else numpy.broadcast_shapes(
            *(a.shape for a, p in zip(arrays, self.ins) if not p.raw),
            *(unwrap(array).shape for array, p in zip(given, self.outs)
              if not p.raw))
        n = int(numpy.prod(shape))
        outs = [unwrap(array) for array in given] or [
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
            ctypes.c_longlong(n), *_pointers_and_steps(operands))
        for out, copy in zip(outs, copies_):
            if out is not copy:
                out[...] = copy
        outs = list(given) or [wrap(out) for out in outs]
        return outs[0] if len(outs) == 1 else tuple(outs)


class ReductionKernel:
    """C++ that adds up, or otherwise reduces, along axes."""

    def __init__(self, in_params, out_params, map_expr, reduce_expr,
                 post_map_expr, identity, name='kernel', reduce_type=None,
                 options=(), preamble=''):
        self.definition = (in_params, out_params, map_expr, reduce_expr,
                           post_map_expr, identity, name, reduce_type)
        self.name = name
        self.ins, (self.out,) = _parameters(in_params), _parameters(out_params)
        self.reduce_type, self.options = reduce_type, options
        self.preamble = preamble

    def _source(self, types):
        _, _, map_expr, reduce_expr, post_map_expr, identity, _, _ = (
            self.definition)
        signature = loads = raw_loads = ''
        for p in self.ins:
            c_type = C_TYPES[p.dtype(types).name]
            signature += f', const {c_type}* {p.name}_, long long {p.name}_s'
            if p.raw:
                raw_loads += f'const {c_type}* {p.name} = {p.name}_;\n'
            else:
                loads += (f'const {c_type} {p.name} = '
                          f'{p.name}_[_j * {p.name}_s];\n')
        out_type = C_TYPES[self.out.dtype(types).name]
        reduce_type = C_TYPES.get(self.reduce_type,
                                  self.reduce_type or out_type)
        return f'''{self.preamble} {_typedefs(types)}
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

    def __call__(self, *args, axis=None, keepdims=False):
        types = _decide_types(self.ins, args)
        report.launched(
            'reduction', self.name, self.definition, types,
            [_ndim(arg) for arg in args], self.options, self.preamble)
        arrays = [numpy.asarray(unwrap(arg), p.dtype(types))
                  for p, arg in zip(self.ins, args)]
        shape = numpy.broadcast_shapes(
            *(a.shape for a, p in zip(arrays, self.ins) if not p.raw))
        axes = (tuple(range(len(shape))) if axis is None
                else (axis,) if isinstance(axis, int) else tuple(axis))
        kept = [i for i in range(len(shape)) if i not in axes]
        result = numpy.empty([shape[i] for i in kept], self.out.dtype(types))
        n = int(numpy.prod([shape[i] for i in axes]))
        operands = []
        for array, p in zip(arrays, self.ins):
            is_spread = not p.raw and array.ndim > 0
            if is_spread:
                array = numpy.broadcast_to(array, shape).transpose(
                    *axes, *kept)
            operands.append((numpy.ascontiguousarray(array), int(is_spread)))
        build(self._source(types), '--fmad=false' not in self.options).launch(
            ctypes.c_longlong(result.size), ctypes.c_longlong(n),
            pointer(result), *_pointers_and_steps(operands))
        return wrap(result)


class RawKernel:
    """A whole function in CUDA's C++, with its grid of threads."""

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
        report.launched('raw', self.name, self.code, {}, [], self.options)

        def convert(arg):
            if isinstance(arg, ndarray):
                assert arg.flags.c_contiguous
                return pointer(arg._array)
            return {numpy.int64: ctypes.c_longlong,
                    numpy.int32: ctypes.c_int}[type(arg)](int(arg))

        self._launch(ctypes.c_uint(grid[0]), ctypes.c_uint(block[0]),
                     *map(convert, args))
