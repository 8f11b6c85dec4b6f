"""The GPU's path, as far as it can be known without a GPU.

Its code runs in a stand-in for CuPy on the CPU (host_cupy.py); the CUDA
kernels that it meets there, Chainer's and this project's, are compiled to
machine code by NVRTC where CuPy is installed. The tests marked ``gpu`` run on
a device where there is one.
"""
import ast
import functools
import json
import os
import re
import subprocess
import sys
import time

import chainer_compat  # noqa: F401  (before chainer)
import chainer
import chainer.links as L
import numpy
import pytest

import kernels
import train_mnist
from net import MnistMLP
from optimizers.fused_adam import FusedAdam
from recipes import build as recipes
from tests.helpers import ROOT, host_cupy, program_files, write_idx
from weight_clip import WeightClip


STAND_IN = ROOT / 'tests' / 'helpers' / 'host_cupy'

needs_compiler = pytest.mark.skipif(
    host_cupy.COMPILER is None, reason='needs a C++ compiler')


def has_real_cupy():
    try:
        import cupy
        from cupy.cuda import nvrtc
        return nvrtc.getVersion() and not hasattr(cupy, 'is_host_cupy')
    except Exception:  # no CuPy, no NVRTC: each has its own error
        return False


needs_cupy = pytest.mark.skipif(
    not has_real_cupy(), reason='needs CuPy with NVRTC, but no GPU: '
    'pip install -r requirements-gpu.txt')

# What copies to the host, once an epoch.
ONCE_AN_EPOCH = {
    'extensions/log_report.py:__call__',  # what is printed
    'backends/_cpu.py:_array_to_cpu',  # the snapshot
}


def small_data(folder):
    random = numpy.random.RandomState(0)
    folder.mkdir()
    write_idx(folder, *(
        (random.randint(0, 256, (n, 5, 13)).astype(numpy.uint8),
         numpy.resize(numpy.arange(3), n).astype(numpy.uint8))
        for n in (300, 90)))
    return folder


def on_stand_in(report, *command, cwd=ROOT):
    process = subprocess.run(
        [sys.executable, str(STAND_IN), str(report),
         *map(str, command)], cwd=cwd, capture_output=True, text=True,
        timeout=300)
    assert process.returncode == 0, process.stdout + process.stderr
    return process, json.loads(report.read_text())


def train(cwd, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / 'train_mnist.py'), *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, check=True, timeout=300)


@pytest.fixture(scope='module')
def training(tmp_path_factory):
    """Two epochs of 30 iterations with --gpu=0 and without."""
    folder = tmp_path_factory.mktemp('training')
    data = small_data(folder / 'data')
    arguments = ['--data', data, '--unit', 8, '--batchsize', 10, '--epoch', 2,
                 '--noplot']
    train(folder, *arguments, '--out', 'cpu')
    process, report = on_stand_in(
        folder / 'report', ROOT / 'train_mnist.py', *arguments, '--gpu', 0,
        '--out', 'gpu', cwd=folder)
    return process, report, folder


@pytest.fixture(scope='module')
def marked(tmp_path_factory):
    """The tests marked gpu, run in the stand-in."""
    return on_stand_in(
        tmp_path_factory.mktemp('marked') / 'report', '-m', 'pytest', '-m',
        'gpu', '-p', 'no:cacheprovider', 'tests/test_gpu.py',
        'tests/kernels/test_kernels.py',
        'tests/kernels/test_kernels_packed.py', 'tests/layers/test_dropout.py')


@needs_compiler
def test_training_in_the_stand_in_gives_the_numbers_of_the_cpu(training):
    process, _, folder = training
    assert process.stderr == ''
    assert f'# kernels: CuPy {host_cupy.VERSION}' in process.stdout
    logs = [json.loads((folder / device / 'log').read_text())
            for device in ('cpu', 'gpu')]
    for a, b in zip(*logs):
        for key in 'main/loss', 'validation/main/loss':
            assert a[key] == pytest.approx(b[key], abs=1e-3)


@needs_compiler
def test_nothing_is_copied_back_but_what_is_reported(training):
    copies = training[1]['copies']
    where = {line.rsplit(' ', 1)[0] for line in copies}
    # That of divergence.py is also made in every 100th iteration.
    assert {line for line in where if 'divergence.py' not in line} == (
        ONCE_AN_EPOCH)
    n = sum(n for line, n in copies.items() if 'divergence.py' in line)
    assert n <= 2 * 40  # epochs, arrays and losses
    floats = sum(n for line, n in copies.items() if 'log_report' in line)
    log = json.loads((training[2] / 'gpu' / 'log').read_text())
    assert floats <= sum(map(len, log))


@needs_compiler
def test_the_tests_for_a_gpu_pass_in_the_stand_in(marked):
    assert ' passed' in marked[0].stdout
    assert 'failed' not in marked[0].stdout


# NVRTC


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
        return definition[0], options
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


def name_of(entry):
    return entry['definition'][{'elementwise': 3, 'reduction': 6,
                                'raw': 1}[entry['kind']]]


@pytest.fixture(scope='module')
def used_kernels(training, marked):
    return training[1]['kernels'] + marked[1]['kernels']


@needs_compiler
def test_kernels_of_chainer_and_of_this_project_are_met(used_kernels):
    names = set(map(name_of, used_kernels))
    assert names >= {'crossent_fwd', 'softmax_crossent_bwd', 'bn_fwd',
                     'bn_bwd', 'update_mean_var', 'adam'}
    source = (ROOT / 'kernels' / 'cupy_kernels.py').read_text()
    ours = set(re.findall(r"(?:'|void )(quantized_net_\w+)", source))
    assert len(ours) >= 11
    assert ours <= names


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
                 if name_of(entry) == 'quantized_net_adam'
                 and entry['types'] == {'T': 'float32'})
    ptx = nvrtc(*nvrtc_source(entry), 'compute_80', 'ptx')
    ptx = ptx.decode() if isinstance(ptx, bytes) else ptx
    assert 'fma.rn' not in ptx
    assert 'sqrt.rn.f32' in ptx
    assert 'div.rn.f32' in ptx


# Names


def names_of_modules():
    """Yields (file:line, name) of each name taken of xp or cupy."""
    for path in program_files():
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            while isinstance(node, ast.Attribute):
                names.insert(0, node.attr)
                node = node.value
            if names and isinstance(node, ast.Name) and node.id in (
                    'xp', 'cupy'):
                yield f'{path.name}:{node.lineno}', '.'.join(names)
            # device.xp.clip, param.device.xp.zeros_like
            elif 'xp' in names[:-1]:
                yield (f'{path.name}:{node.lineno}',
                       '.'.join(names[names.index('xp') + 1:]))


def test_the_walk_finds_names():
    assert len(program_files()) >= 55
    assert {name for _, name in names_of_modules()} >= {
        'asarray', 'clip', 'random.seed', 'ElementwiseKernel'}


@needs_cupy
def test_no_name_is_used_that_cupy_lacks():
    import cupy
    for where, name in names_of_modules():
        assert functools.reduce(
            lambda value, part: getattr(value, part, None), name.split('.'),
            cupy) is not None, f'{where}: {name}'


@needs_compiler
@needs_cupy
def test_nothing_is_called_in_the_stand_in_that_cupy_lacks(training, marked):
    import cupy
    for _, report, *_ in training, marked:
        for name in report['names']:
            assert hasattr(cupy, name), name
        for name in report['methods']:
            assert hasattr(cupy.ndarray, name), name


@needs_cupy
def test_chainer_with_cupy_is_imported_without_a_word():
    process = subprocess.run(
        [sys.executable, '-c', 'import chainer_compat, chainer; '
         'assert chainer.backends.cuda.available'], cwd=ROOT,
        capture_output=True, text=True, check=True, timeout=60)
    assert process.stdout == process.stderr == ''


# On a device: python -m pytest -m gpu -rP


def twenty_iterations(device, dtype):
    """Returns the losses and the parameters of a training."""
    random = numpy.random.RandomState(0)
    x = random.rand(20, 50, 65).astype(dtype)
    t = random.randint(0, 10, (20, 50)).astype(numpy.int32)
    numpy.random.seed(0)
    with chainer.using_config('dtype', dtype):
        model = L.Classifier(MnistMLP(65, 100, 10))
    model.to_device(device)
    optimizer = FusedAdam().setup(model)
    optimizer.add_hook(WeightClip())
    losses = []
    for batch in zip(x, t):
        optimizer.update(model, *map(device.send, batch))
        losses.append(float(model.loss.array))
    model.to_device('@numpy')
    return losses, dict(model.namedparams())


@pytest.mark.gpu
@pytest.mark.parametrize(('dtype', 'tolerance'), [
    # In double precision no rounding error changes a sign in 20 iterations.
    (numpy.float64, 1e-9),
    # In single precision some do: the parameters go their own ways.
    (numpy.float32, 2e-2),
    (numpy.float16, 2e-1),
])
def test_twenty_iterations_on_a_gpu_are_those_on_the_cpu(dtype, tolerance):
    (expected, params), (actual, gpu_params) = (
        twenty_iterations(chainer.get_device(name), dtype)
        for name in ('@numpy', '@cupy:0'))
    numpy.testing.assert_allclose(actual[0], expected[0], rtol=tolerance / 10)
    numpy.testing.assert_allclose(actual, expected, rtol=tolerance)
    if dtype == numpy.float64:
        for name, param in params.items():
            numpy.testing.assert_allclose(
                gpu_params[name].array, param.array, atol=1e-7, err_msg=name)


@pytest.mark.gpu
@pytest.mark.parametrize('recipe', sorted(recipes.RECIPES))
def test_recipes_train_on_a_gpu(recipe):
    settings = {**recipes.settings(
        train_mnist.parse_args(['--recipe', recipe])[1]), 'unit': 30}
    device = chainer.get_device('@cupy:0')
    numpy.random.seed(0)
    model = recipes.make_classifier(settings, 65, 10)
    model.to_device(device)
    device.use()
    optimizer = recipes.make_optimizer(settings, model)
    x = device.send(numpy.random.rand(50, 65).astype(numpy.float32))
    t = device.send(numpy.resize(numpy.arange(10), 50).astype(numpy.int32))
    for _ in range(3):
        optimizer.update(model, x, t)
    assert numpy.isfinite(float(model.loss.array))


@pytest.mark.gpu
def test_batch_normalization_of_other_shapes_is_chainers():
    from layers.batch_normalization import BatchNormalization
    x = numpy.random.RandomState(0).rand(4, 3, 5).astype(numpy.float32)
    results = []
    for name in '@numpy', '@cupy:0':
        link = BatchNormalization(3)
        device = chainer.get_device(name)
        link.to_device(device)
        y = link(device.send(x))
        y.grad = y.array
        y.backward()
        results.append(chainer.get_device('@numpy').send(
            (y.array, link.gamma.grad, link.avg_var)))
    for a, b in zip(*results):
        numpy.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_the_programs_train_and_predict_on_a_gpu(tmp_path):
    import cupy
    if hasattr(cupy, 'is_host_cupy'):
        start = [str(STAND_IN), os.devnull]
        data = ['--data', str(small_data(tmp_path / 'data'))]
        devices, size, least = [0], ['--unit', '8', '--batchsize', '10'], 0
    else:
        devices, start, data, size, least = [0, -1], [], [], [], .95

    def run(program, *arguments):
        process = subprocess.run(
            [sys.executable, *start, str(ROOT / program), *data, *arguments],
            cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert process.returncode == 0, process.stderr
        assert process.stderr == ''
        return process

    name = cupy.cuda.runtime.getDeviceProperties(0)['name'].decode()
    for device in devices:
        begin = time.perf_counter()
        run('train_mnist.py', *size, '--epoch', '2', '--noplot', '--gpu',
            str(device), '--out', str(device))
        end = time.perf_counter()
        log = json.loads((tmp_path / str(device) / 'log').read_text())
        assert log[-1]['validation/main/accuracy'] > least
        print(f'{"the CPU" if device < 0 else name}: '
              f'{log[1]["elapsed_time"] - log[0]["elapsed_time"]:.2f} s/epoch,'
              f' {end - begin:.1f} s in all, {kernels.description(cupy)}')
    snapshot = tmp_path / '0' / f'snapshot_iter_{log[-1]["iteration"]}'
    process = run('predict_mnist.py', str(snapshot), '--gpu', '0')
    print(process.stdout)
    assert 'predictions that differ: ' in process.stdout
