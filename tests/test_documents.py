import re
import sys

import chainer_compat  # noqa: F401  (before chainer)
import numpy
import pytest

import train_mnist
from recipes import choices
from tests.helpers import ROOT

README = (ROOT / 'README.md').read_text(encoding='utf-8')

sys.path.append(str(ROOT / 'experiments'))
import summarize  # noqa: E402  (not a module of the project)


@pytest.mark.parametrize(('name', 'seeds', 'epochs'), [
    ('binarized', 5, 20), ('original', 5, 20), ('linear2', 3, 20),
    ('linear4', 3, 20), ('log2', 3, 20), ('log4', 3, 20), ('none', 3, 20),
    ('fashion_mnist', 3, 20)])
def test_the_runs_of_an_experiment_are_all_there(name, seeds, epochs):
    logs = summarize.read_runs(name)
    assert [len(log) for log in logs] == [epochs] * seeds
    # Different seeds gave different runs.
    assert len({log[-1]['main/loss'] for log in logs}) == seeds


def test_the_tables_are_those_of_the_logs():
    names = re.findall('<!-- table: (.*?) -->', README)
    assert sorted(names) == sorted(summarize.TABLES)
    assert summarize.with_tables(README) == README


@pytest.mark.parametrize('path', sorted(ROOT.glob('*.py')),
                         ids=lambda path: path.name)
def test_every_module_is_in_the_map_of_files(path):
    assert f'`{path.name}`' in README


def cell(value):
    if value is None or value is False:
        return ''
    if value is True:
        return ' yes'
    return f' {value:g}' if isinstance(value, float) else f' {value}'


def test_every_flag_is_in_a_table_with_its_defaults():
    parser, defaults = train_mnist.parse_args([])
    for action in parser._actions:
        if action.dest == 'help':
            continue
        names = ', '.join(f'`{name}`' for name in sorted(
            action.option_strings, key=len, reverse=True)
            if not name.startswith('--no-'))
        if action.dest == 'recipe':
            cells = [''] * len(choices.RECIPES)
        elif action.dest in choices.RECIPES['binarized']:
            cells = [cell(recipe[action.dest])
                     for recipe in choices.RECIPES.values()]
        else:
            cells = [cell(getattr(defaults, action.dest))]
        assert f'| {names} |' + ''.join(f'{c} |' for c in cells) in README


def test_the_table_of_flags_has_the_recipes_in_their_order():
    assert '| flag | ' + ' | '.join(choices.RECIPES) + ' | |' in README


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
