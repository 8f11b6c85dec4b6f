import pathlib
import re
import sys

import chainer_compat  # noqa: F401  (before chainer)
import numpy
import pytest

import train_mnist

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / 'README.md').read_text(encoding='utf-8')

sys.path.append(str(ROOT / 'results'))
import summarize  # noqa: E402  (not a module of the project)


@pytest.mark.parametrize(('name', 'n_seeds'), [
    ('binarized', 5), ('fashion_mnist', 3)])
def test_the_table_of_results_is_that_of_the_logs(name, n_seeds):
    paths = sorted((ROOT / 'results').glob(f'{name}_seed_*.json'))
    assert len(paths) == n_seeds
    assert summarize.table(summarize.read_logs(paths)) in README


@pytest.mark.parametrize('path', sorted(ROOT.glob('*.py')),
                         ids=lambda path: path.name)
def test_every_module_is_in_the_map_of_files(path):
    assert f'`{path.name}`' in README


def test_every_flag_is_in_the_table_with_its_default():
    parser, defaults = train_mnist.parse_args([])
    for action in parser._actions:
        if action.dest == 'help':
            continue
        names = ', '.join(f'`{name}`' for name in sorted(
            action.option_strings, key=len, reverse=True))
        default = getattr(defaults, action.dest)
        cell = '' if default is None or default is False else f' {default}'
        assert f'| {names} |{cell} |' in README


@pytest.mark.parametrize('target', re.findall(r'\]\(([^)]+)\)', README))
def test_links_and_pictures_lead_somewhere(target):
    assert (ROOT / target).exists()


def test_no_placeholder_is_left():
    assert not re.search(r'@[A-Z]+@|TODO|FIXME', README)


def test_the_lines_for_other_peoples_nets_train():
    code, = re.findall(r'```python\n(import chainer_compat.*?)```', README,
                       re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 15
    names = {}
    exec(code, names)
    model, optimizer = names['model'], names['optimizer']
    random = numpy.random.RandomState(0)
    t = numpy.resize(numpy.arange(10), 200).astype(numpy.int32)
    patterns = random.rand(10, 1, 14, 14)
    x = (patterns[t] + .3 * random.rand(200, 1, 14, 14)).astype(numpy.float32)
    losses = []
    for _ in range(15):
        optimizer.update(model, x, t)
        losses.append(float(model.loss.array))
    assert losses[-1] < .6 * losses[0]
    for param in model.params():
        assert abs(param.array).max() <= 1
