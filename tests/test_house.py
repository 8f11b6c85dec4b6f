"""The house: what imports what, where things live, how long a file may be."""
import ast
import importlib.util
import subprocess
import sys

import pytest

from tests.helpers import FOLDERS, ROOT, program_files

# From the roof down. A room, which is a folder or a module at top level, may
# import from the lines below its own, and from itself. Rooms of one line do
# not import each other.
ORDER = [
    ['train_mnist', 'predict_mnist'],
    ['training', 'prediction', 'export'],
    ['recipes'],
    ['net'],
    ['link_quantized_linear'],
    ['function_quantized_linear', 'qst'],
    ['layers', 'optimizers'],
    ['quantizers', 'weight_clip'],
    ['data'],
    ['kernels', 'system', 'chainer_compat'],
]

# Lines of a file.
LONGEST = 350


def name_of(path):
    """Returns the name that a file is imported by."""
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def program():
    """Returns {name of a module: its source} of the program."""
    return {name_of(path): path.read_text(encoding='utf-8')
            for path in program_files()}


def imports(tree, modules):
    """Yields what a module imports of the project's modules.

    ``from room import thing`` is an import of ``room.thing`` where that is a
    module, and of ``room`` where it is a name in it.
    """
    rooms = {name.split('.')[0] for name in modules}
    for node in ast.walk(tree):
        targets = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            whole = [f'{node.module}.{alias.name}' for alias in node.names]
            targets = [name if name in modules else node.module
                       for name in whole]
        yield from (name for name in targets if name.split('.')[0] in rooms)


def hidden_imports(tree):
    """Yields what is wrong with imports that do not say what they import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield 'a relative import'
        names = [getattr(node, 'id', None), getattr(node, 'attr', None)]
        if isinstance(node, ast.ImportFrom):
            names += [alias.name for alias in node.names]
        if {'import_module', '__import__'} & set(names):
            yield 'an import by a string'


def circles(graph):
    """Yields the circles that {name: names of what it imports} has."""
    done = set()

    def walk(name, path):
        if name in path:
            yield [*path[path.index(name):], name]
        elif name not in done:
            for target in sorted(graph.get(name, ())):
                yield from walk(target, [*path, name])
            done.add(name)

    for name in sorted(graph):
        yield from walk(name, [])


def look(sources):
    """Returns the number of imports inside the program, and all complaints."""
    lines = {room: i for i, line in enumerate(ORDER) for room in line}
    complaints, graph, n = set(), {}, 0
    for name, source in sources.items():
        tree, room = ast.parse(source), name.split('.')[0]
        complaints.update(f'{name}: {what}' for what in hidden_imports(tree))
        if room not in lines:
            complaints.add(f'{name}: {room} is not in the order')
            continue
        for target in imports(tree, sources):
            n += 1
            other = target.split('.')[0]
            if other == room:
                graph.setdefault(name, set()).add(target)
            elif lines.get(other, -1) <= lines[room]:
                complaints.add(f'{name}: {target} is not below it')
    complaints.update('a circle: ' + ', '.join(circle)
                      for circle in circles(graph))
    return n, complaints


def test_imports_run_down_and_in_no_circle():
    sources = program()
    n, complaints = look(sources)
    assert complaints == set()
    assert len(sources) >= 55
    assert n >= 150


@pytest.mark.parametrize(('sources', 'complaint'), [
    ({'kernels.a': 'import net', 'net': ''},
     'kernels.a: net is not below it'),
    ({'data.a': 'from training.b import c', 'training.b': ''},
     'data.a: training.b is not below it'),
    ({'data.a': 'from training import b', 'training.b': '', 'training': ''},
     'data.a: training.b is not below it'),
    ({'training.a': 'import prediction.b', 'prediction.b': ''},
     'training.a: prediction.b is not below it'),
    ({'system.a': 'import chainer_compat', 'chainer_compat': ''},
     'system.a: chainer_compat is not below it'),
    ({'chainer_compat': 'import kernels', 'kernels': ''},
     'chainer_compat: kernels is not below it'),
    ({'qst': 'def f():\n    if 1:\n        import net', 'net': ''},
     'qst: net is not below it'),
    ({'data.a': 'try:\n    import net as n\nexcept ImportError: pass',
      'net': ''}, 'data.a: net is not below it'),
    ({'data.a': 'import os, net', 'net': ''},
     'data.a: net is not below it'),
    ({'data.a': 'import data.b', 'data.b': 'from data import a'},
     'a circle: data.a, data.b, data.a'),
    ({'data.a': 'import data.b', 'data.b': 'import data.c',
      'data.c': 'def f():\n    from data.a import g'},
     'a circle: data.a, data.b, data.c, data.a'),
    ({'data.a': 'from data import name', 'data': 'from data.a import name'},
     'a circle: data, data.a, data'),
    ({'data.a': 'import data.a'}, 'a circle: data.a, data.a'),
    ({'data.a': 'from . import b', 'data.b': ''},
     'data.a: a relative import'),
    ({'data.a': 'from .b import c', 'data.b': ''},
     'data.a: a relative import'),
    ({'data.a': 'import importlib\nimportlib.import_module("net")'},
     'data.a: an import by a string'),
    ({'data.a': 'from importlib import import_module as f'},
     'data.a: an import by a string'),
    ({'data.a': '__import__("net")'}, 'data.a: an import by a string'),
    ({'cellar.a': ''}, 'cellar.a: cellar is not in the order'),
    ({'data.a': 'import cellar', 'cellar': 'import data.a'},
     'cellar: cellar is not in the order'),
])
def test_a_broken_rule_is_found(sources, complaint):
    assert complaint in look(sources)[1]


@pytest.mark.parametrize('sources', [
    {'training.a': 'import os, numpy, training.b\nfrom net import MnistMLP',
     'training.b': 'from system import files', 'net': '', 'system.files': ''},
    # A name of a package, and a module of it.
    {'data': 'from data.a import name', 'data.a': '',
     'recipes': 'from data import name, a'},
    {'data.a': 'import importlib.util\nimportlib.util.find_spec("net")'},
])
def test_no_rule_is_seen_broken_where_none_is(sources):
    assert look(sources)[1] == set()


def test_every_folder_of_the_program_is_looked_at():
    found = {path.parent.name for path in ROOT.glob('*/*.py')}
    assert len(found) >= 10
    assert found - {'benchmarks', 'experiments', 'tests'} == set(FOLDERS)


def test_every_folder_says_what_lives_there():
    folders = {path.parent for path in program_files()} - {ROOT}
    assert len(folders) >= 9
    for folder in folders:
        body = ast.parse((folder / '__init__.py').read_text()).body
        assert isinstance(body[0].value.value, str), folder
        assert body[0].value.value.strip(), folder
        # That of kernels/ hands each call to one of its modules.
        assert len(body) == 1 or folder.name == 'kernels', folder


def test_no_file_is_long():
    lengths = {path.relative_to(ROOT).as_posix():
               len(path.read_text(encoding='utf-8').splitlines())
               for path in program_files()}
    assert len(lengths) >= 55
    for name, length in lengths.items():
        assert length <= LONGEST, name


# Without Chainer


def needs_no_chainer(name):
    """Tells whether a module of the program must do without Chainer."""
    room, last = name.split('.')[0], name.split('.')[-1]
    if last.startswith('cupy_') or name == 'prediction.chainer_net':
        return False
    return (room in ('kernels', 'system', 'data', 'prediction', 'export')
            or name in ('recipes.choices', 'recipes.schedule'))


def test_what_computes_reads_and_predicts_needs_no_chainer():
    names = list(filter(needs_no_chainer, program()))
    assert len(names) >= 23
    if importlib.util.find_spec('numba') is None:
        names = [name for name in names
                 if not name.startswith('kernels.compiled.')]
    code = ('import importlib, sys\n'
            'sys.modules.update(chainer=None, cupy=None)\n'
            'for name in sys.argv[1:]:\n'
            '    importlib.import_module(name)\n'
            'print(len(set(sys.argv[1:]) & set(sys.modules)))\n'
            'assert "chainer_compat" not in sys.modules')
    process = subprocess.run(
        [sys.executable, '-c', code, *names], cwd=ROOT, capture_output=True,
        text=True, timeout=120)
    assert process.stderr == ''
    assert process.stdout == f'{len(names)}\n'


# From outside


def test_qst_is_imported_as_in_the_original():
    process = subprocess.run(
        [sys.executable, '-c', 'from qst import qst; print(qst.__name__)'],
        cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (process.stdout, process.stderr) == ('qst\n', '')


@pytest.mark.parametrize('name', ORDER[0])
def test_the_programs_run_from_any_folder(name, tmp_path):
    process = subprocess.run(
        [sys.executable, str(ROOT / f'{name}.py'), '--help'], cwd=tmp_path,
        capture_output=True, text=True, timeout=60)
    assert process.stdout.startswith(f'usage: {name}.py')
    assert (process.stderr, list(tmp_path.iterdir())) == ('', [])
