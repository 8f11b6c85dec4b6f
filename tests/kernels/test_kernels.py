import importlib
import inspect
import os
import pathlib
import pickle
import shutil
import subprocess
import sys

import numpy
import pytest

import kernels
from kernels import numpy_kernels
from tests.helpers import ROOT, needs_numba, numba_kernels
from tests.helpers.packed_products import Case

FOLDER = pathlib.Path(kernels.__file__).parent

# Public functions that are steps of kernels.
STEPS = {'axes', 'dropout_limit', 'n_values', 'spread', 'sqrt_half',
         'swish_exponential', 'whole_runs'}


# The subjects of the modules numpy_bits, cupy_bits and so on.
NUMPY = ['kernels', 'bits', 'convolution', 'max_pooling', 'normalization',
         'packed_convolution', 'study']
CUPY = [name for name in NUMPY if name != 'normalization']
# Those of layers have no such name.
NUMBA = ['kernels', 'bits', 'packed_convolution', 'study']


# Each backend as the module that calls are handed to, and the modules that
# define its kernels.

def of_numpy(request):
    return numpy_kernels, [
        importlib.import_module(f'kernels.numpy_{name}') for name in NUMPY]


def of_numba(request):
    return numba_kernels, [
        importlib.import_module(f'kernels.compiled.numba_{name}')
        for name in NUMBA]


def of_cupy(request):
    modules = [request.getfixturevalue(f'host_cupy_{name}') for name in CUPY]
    return modules[0], modules


on_each_backend = pytest.mark.parametrize('backend', [
    of_numpy, pytest.param(of_numba, marks=needs_numba), of_cupy],
    ids=['numpy', 'numba', 'cupy'])


def test_these_tests_know_the_modules_of_all_backends():
    for folder, backend, names in ((FOLDER, 'numpy', NUMPY),
                                   (FOLDER, 'cupy', CUPY),
                                   (FOLDER / 'compiled', 'numba', NUMBA)):
        assert {path.name for path in folder.glob(f'{backend}_*.py')} == {
            f'{backend}_{name}.py' for name in names}


def test_no_kernel_is_named_twice():
    assert len(kernels.KERNELS) == len(set(kernels.KERNELS)) >= 22


@on_each_backend
@pytest.mark.parametrize('name', kernels.KERNELS)
def test_each_backend_has_each_kernel_with_the_same_parameters(
        request, backend, name):
    module, _ = backend(request)
    assert inspect.signature(getattr(module, name)) == inspect.signature(
        getattr(numpy_kernels, name))


@on_each_backend
def test_no_public_kernel_of_a_backend_is_missing_from_the_tuple(
        request, backend):
    for module in backend(request)[1]:
        names = {name for name, value in vars(module).items()
                 if inspect.isfunction(value) and not name.startswith('_')
                 and value.__module__ == module.__name__}
        assert names
        assert names - STEPS <= set(kernels.KERNELS)


@pytest.mark.parametrize('name', kernels.KERNELS)
def test_a_kernel_has_the_signature_and_docstring_of_the_reference(name):
    kernel, reference = (getattr(module, name)
                         for module in (kernels, numpy_kernels))
    assert kernel is not reference
    assert inspect.signature(kernel) == inspect.signature(reference)
    assert 'Args:' in reference.__doc__
    assert kernel.__doc__ == reference.__doc__
    assert kernel.__name__ == name
    assert pickle.loads(pickle.dumps(kernel)) is kernel


def test_arguments_are_taken_by_keyword_too():
    x = numpy.array([2, -.5])
    numpy.testing.assert_array_equal(kernels.binarize(x=x), [1, -1])
    numpy.testing.assert_array_equal(
        kernels.binarize_backward(gy=2 * x, x=x), [0, -1])


def test_a_call_without_its_arguments_names_them():
    with pytest.raises(TypeError, match="argument: 'x'"):
        kernels.binarize()
    with pytest.raises(TypeError, match="argument: 'bits'"):
        kernels.quantize_linear(numpy.zeros(1))


def test_arrays_of_cupy_are_handed_to_its_backend(
        host_cupy_kernels, monkeypatch):
    cupy = host_cupy_kernels.cupy
    monkeypatch.setitem(sys.modules, 'cupy', cupy)
    monkeypatch.setitem(
        sys.modules, 'kernels.cupy_kernels', host_cupy_kernels)
    monkeypatch.setattr(
        kernels, 'cupy_kernels', host_cupy_kernels, raising=False)
    Case(3, 100, 70, 0).check(kernels, cupy)
    y = kernels.ap2(cupy.asarray(numpy.array([3., .2])))
    assert isinstance(y, cupy.ndarray)
    assert y.tolist() == [4, .25]
    assert isinstance(kernels.ap2(numpy.zeros(1)), numpy.ndarray)


def test_dispatched_products_of_bits_equal_those_of_integers(kernel_path):
    Case(3, 100, 70, 0).check(kernels)


@needs_numba
def test_numpy_path_is_used_inside_its_context_only(monkeypatch):
    default = kernels.description()
    monkeypatch.setattr(numpy_kernels, 'ap2', lambda x: 'NumPy')
    x = numpy.zeros(1)
    with kernels.using_numpy():
        assert kernels.description() == f'NumPy {numpy.__version__}'
        assert kernels.ap2(x) == 'NumPy'
    assert kernels.description() == default != f'NumPy {numpy.__version__}'
    assert kernels.ap2(x) == 0


def run(code, cwd=ROOT, **environment):
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True,
        check=True, cwd=cwd, env={**os.environ, **environment}).stdout.strip()


def test_numpy_takes_over_where_numba_is_missing_or_switched_off():
    code = 'import kernels; print(kernels.description())'
    assert run(code, NUMBA_DISABLE_JIT='1').startswith('NumPy')
    hidden = "import sys; sys.modules['numba'] = None; "
    assert run(hidden + code).startswith('NumPy')


def test_kernels_need_no_chainer():
    assert run("import sys; sys.modules['chainer'] = None; import kernels, "
               'numpy; print(kernels.binarize(numpy.zeros(1)))') == '[1.]'


@needs_numba
def test_kernels_run_where_no_cache_can_be_written(tmp_path):
    # A copy of the package in folders that cannot be written to, and no home
    # to put Numba's cache into. Root may write anywhere, so that a file stands
    # in the way of each folder.
    shutil.copytree(FOLDER, tmp_path / 'kernels',
                    ignore=shutil.ignore_patterns('__pycache__'))
    folders = {path.parent for path in tmp_path.rglob('*.py')}
    assert len(folders) == 2
    for folder in folders:
        (folder / '__pycache__').write_text('')
    home = tmp_path / 'home'
    home.write_text('')
    assert run('import kernels, numpy; print(kernels.__file__, '
               'kernels.description()[:5], kernels.binarize(numpy.zeros(1)))',
               cwd=tmp_path, HOME=str(home), XDG_CACHE_HOME=str(home)) == (
        f'{tmp_path / "kernels" / "__init__.py"} Numba [1.]')
