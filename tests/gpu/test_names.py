"""What this project takes of CuPy is there in CuPy."""
import ast
import functools
import subprocess
import sys

from tests.helpers import ROOT, program_files
from tests.helpers.gpu import needs_compiler, needs_cupy


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
