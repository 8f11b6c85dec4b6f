"""NVRTC compiles each kernel that programs have met; no GPU is needed."""
import numpy
import pytest

from tests.helpers.gpu import has_real_cupy, needs_compiler, needs_cupy


def nvrtc_source(entry):
    """Returns the CUDA code that CuPy makes of a kernel, and its options.

    By CuPy's private functions, as there are no others that need no device.
    """
    import cupy
    from cupy._core import _kernel, _reduction, core
    from cupy._core._carray import Indexer
    from cupy._core._scalar import CScalar

    definition, options = entry['definition'], tuple(entry['options'])
    if entry['kind'] == 'raw':
        return definition, options
    types = {k: numpy.dtype(v).type for k, v in entry['types'].items()}
    reduces = entry['kind'] == 'reduction'
    if reduces:
        *definition, reduce_type = definition
        kernel = cupy.ReductionKernel(*definition, reduce_type=reduce_type,
                                      options=options,
                                      preamble=entry['preamble'])
        parameters = kernel._params
    else:
        kernel = cupy.ElementwiseKernel(*definition, options=options,
                                        preamble=entry['preamble'])
        parameters = kernel.params

    ndim = max(n or 0 for n in entry['ndims'])
    out_ndim = max(ndim - 1, 0) if reduces else ndim

    def info(parameter, n, broadcast_ndim):
        dtype = types.get(parameter.ctype, parameter.dtype)
        if n is None:
            return _kernel._ArgInfo(3, CScalar, dtype, 0, True, True)
        if parameter.raw:
            return _kernel._ArgInfo(1, cupy.ndarray, dtype, n, True, True)
        return _kernel._ArgInfo(1, cupy.ndarray, dtype, broadcast_ndim,
                                n == broadcast_ndim, True)

    def indexer(n):
        return _kernel._ArgInfo(2, Indexer, type(None), n, True, True)

    infos = [info(p, n, ndim)
             for p, n in zip(parameters[:kernel.nin], entry['ndims'])]
    infos += [info(p, out_ndim, out_ndim)
              for p in parameters[kernel.nin:kernel.nin + kernel.nout]]
    if reduces:
        infos += [indexer(ndim), indexer(out_ndim),
                  _kernel._ArgInfo(3, CScalar, numpy.int32, 0, True, True)]
        code = _reduction._ReductionKernel_get_cached_function_code
        source = code.__wrapped__(
            kernel.nin, kernel.nout, parameters, tuple(infos),
            _kernel._TypeMap((*types.items(), ('IndexT', numpy.int32))),
            kernel.name, 256, kernel.reduce_type, kernel.identity,
            kernel.map_expr, kernel.reduce_expr, kernel.post_map_expr,
            kernel.preamble, options)
    else:
        code = _kernel._get_elementwise_kernel_code
        source = code.__wrapped__(
            (*infos, indexer(ndim)), _kernel._TypeMap(tuple(types.items())),
            parameters, kernel.operation, kernel.name, kernel.preamble,
            options=options)
    headers = ''.join(f'#include <{name}>\n'
                      for name in core._cupy_header_list)
    return headers + source, core.assemble_cupy_compiler_options(options)


def nvrtc(source, options, architecture, method):
    from cupy.cuda import compiler
    program = compiler._NVRTCProgram(source, 'kernel.cu', method=method)
    code, _ = program.compile((*options, f'-arch={architecture}'), None)
    return code


def architectures():
    if not has_real_cupy():
        return [70, 80, 90]
    from cupy.cuda import nvrtc
    return sorted({70, 80, 90, max(nvrtc.getSupportedArchs())})


@needs_compiler
@needs_cupy
@pytest.mark.parametrize('architecture', architectures())
def test_every_kernel_compiles_to_machine_code(used_kernels, architecture):
    sources = {nvrtc_source(entry) for entry in used_kernels}
    assert len(sources) >= 20
    for source, options in sources:
        assert nvrtc(source, options, f'sm_{architecture}', 'cubin')


@needs_compiler
@needs_cupy
def test_adam_on_a_gpu_rounds_each_operation(used_kernels):
    entry = next(entry for entry in used_kernels
                 if entry['name'] == 'quantized_net_adam'
                 and entry['types'] == {'T': 'float32'})
    ptx = nvrtc(*nvrtc_source(entry), 'compute_80', 'ptx')
    ptx = ptx.decode() if isinstance(ptx, bytes) else ptx
    assert 'fma.rn' not in ptx
    assert 'sqrt.rn.f32' in ptx
    assert 'div.rn.f32' in ptx
