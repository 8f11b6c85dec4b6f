import doctest
import re
import shlex

import chainer_compat
import numpy
import pytest

import predict_mnist
import train_mnist
from experiments import summarize
from prediction.packed_net import PackedNet
from recipes import choices
from tests.helpers import FOLDERS, ROOT

README = ROOT / 'README.md'
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text(encoding='utf-8')
         for path in [README, *sorted((ROOT / 'docs').glob('*.md'))]}
PROGRAMS = {'train_mnist.py': train_mnist, 'predict_mnist.py': predict_mnist}

# Folders of the repository that the map of files names.
MAPPED = [*FOLDERS, 'benchmarks', 'docs', 'experiments', 'models', 'packaging',
          'tests']

on_each_page = pytest.mark.parametrize('page', PAGES)


def test_each_table_stands_on_one_page():
    names = re.findall('<!-- table: (.*?) -->', ''.join(PAGES.values()))
    assert sorted(names) == sorted(summarize.TABLES)


@on_each_page
def test_the_tables_are_those_of_the_logs(page):
    assert summarize.with_tables(PAGES[page]) == PAGES[page]


def test_the_pages_with_tables_are_these():
    assert {path.relative_to(ROOT).as_posix()
            for path in summarize.documents()} == set(PAGES)


def test_the_readme_is_short():
    assert PAGES['README.md'].count('\n') <= 250


@pytest.mark.parametrize(
    'name', [*sorted(path.name for path in ROOT.glob('*.py')),
             *(f'{folder}/' for folder in MAPPED)])
def test_every_module_and_folder_is_in_both_maps(name):
    map_of_files, = re.findall(r'## Where is what\n+```\n(.*?)```',
                               PAGES['README.md'], re.DOTALL)
    assert name in map_of_files.split()
    assert f'`{name}`' in PAGES['docs/development.md']


def test_every_folder_of_the_repository_was_looked_for():
    assert {path.parent.name for path in ROOT.glob('[a-z]*/*.py')} <= {
        *MAPPED}


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
        assert (f'| {names} |' + ''.join(f'{c} |' for c in cells)
                in PAGES['docs/options.md'])


def test_the_table_of_flags_has_the_recipes_in_their_order():
    assert ('| flag | ' + ' | '.join(choices.RECIPES) + ' | |'
            in PAGES['docs/options.md'])


def test_the_readme_has_every_flag_that_is_no_choice_of_a_recipe():
    parser, _ = train_mnist.parse_args([])
    flags = {action.option_strings[0] for action in parser._actions
             if action.dest not in {'help', 'recipe'}
             and action.dest not in choices.RECIPES['binarized']}
    readme = PAGES['README.md']
    cells = ''.join(re.findall(r'^\| (`--[^|]+)', readme, re.MULTILINE))
    assert set(re.findall(r'--[a-z-]+', cells)) == {*flags, '--recipe'}
    for name in choices.RECIPES:
        assert f'| `{name}` |' in readme


def test_every_flag_of_the_prediction_is_in_a_table():
    parser, defaults = predict_mnist.parse_args(['model'])
    _, table = PAGES['docs/options.md'].split('## predict_mnist.py')
    for action in parser._actions:
        if not action.option_strings or action.dest == 'help':
            continue
        names = ', '.join(f'`{name}`' for name in sorted(
            action.option_strings, key=len, reverse=True)
            if not name.startswith('--no-'))
        value = getattr(defaults, action.dest)
        assert f'| {names} |{cell(value or None)} |' in table


def heading_ids(page):
    """Returns the anchors that GitHub gives a page's headings."""
    text = re.sub(r'```.*?```', '', PAGES[page], flags=re.DOTALL)
    return {re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-')
            for heading in re.findall(r'^#+ (.*)', text, re.MULTILINE)}


def targets(page):
    """Returns where a page's links and pictures lead."""
    return re.findall(r'\]\(([^)]+)\)|(?:src|srcset)="([^"]+)"', PAGES[page])


@on_each_page
def test_links_and_pictures_lead_somewhere(page):
    for target in map(''.join, targets(page)):
        path, _, anchor = target.partition('#')
        place = (ROOT / page).parent.joinpath(path).resolve()
        assert place.exists(), target
        if anchor:
            name = place.relative_to(ROOT).as_posix() if path else page
            assert anchor in heading_ids(name), target


def test_every_page_is_linked_from_the_readme():
    linked = {''.join(target) for target in targets('README.md')}
    assert {*PAGES, 'data/README.md'} - linked == {'README.md'}


def test_every_picture_is_on_a_page():
    shown = {(ROOT / page).parent.joinpath(''.join(target)).resolve()
             for page in PAGES for target in targets(page)}
    assert set((ROOT / 'docs' / 'pictures').iterdir()) <= shown


@on_each_page
def test_no_placeholder_is_left(page):
    assert not re.search(r'@[A-Z]+@|TODO|FIXME', PAGES[page])


@on_each_page
def test_the_text_says_first_what_it_is_about(page):
    title, _, paragraph = PAGES[page].splitlines()[:3]
    assert title.startswith('# ')
    assert re.match('[A-Z]', paragraph)


def blocks(page, *languages):
    """Returns the contents of a page's code blocks in these languages."""
    return [code for language, code in re.findall(
        r'^```(\w*)\n(.*?)^```$', PAGES[page], re.DOTALL | re.MULTILINE)
        if language in languages]


def commands():
    """Yields page, program and arguments of each command on the pages."""
    for page, text in PAGES.items():
        code = [line.partition(' # ')[0] for block in blocks(page, 'sh', '')
                for line in block.replace('\\\n', ' ').splitlines()]
        code += re.findall(r'`(\./[^`]+)`', text)
        for line in code:
            for name, arguments in re.findall(
                    r'\./((?:train|predict)_mnist\.py)([^;&|]*)', line):
                yield page, name, shlex.split(
                    arguments.replace('$seed', '0'))


@pytest.mark.parametrize(('page', 'name', 'arguments'), list(commands()))
def test_the_programs_take_the_commands(page, name, arguments):
    if '--help' in arguments:
        with pytest.raises(SystemExit, match='0'):
            PROGRAMS[name].parse_args(arguments)
        return
    PROGRAMS[name].parse_args(arguments)


def test_the_commands_were_found():
    found = list(commands())
    assert len(found) >= 16
    assert {name for _, name, _ in found} == set(PROGRAMS)
    # It stands on a continued line.
    assert any('--normalization-decay' in arguments
               for _, _, arguments in found)


def small_net():
    """Returns a packed net that takes images of MNIST."""
    random = numpy.random.RandomState(0)
    return PackedNet.from_arrays({
        f'l{i}/W': random.randn(n_out, n_in).astype(numpy.float32)
        for i, (n_in, n_out) in enumerate(zip([784, 16, 16], [16, 16, 10]), 1)
    })


@on_each_page
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_net().save('mnist.npz')
    for block in blocks(page, 'python'):
        if '>>>' not in block:
            exec(block, {})


@pytest.mark.parametrize('page', [
    page for page in PAGES if any('>>>' in block
                                  for block in blocks(page, 'python'))])
def test_the_examples_of_a_page_give_what_they_say(
        page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = ''.join(block for block in blocks(page, 'python')
                       if '>>>' in block)
    test = doctest.DocTestParser().get_doctest(examples, {}, page, page, 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_worked_example_of_six_bits_is_there():
    assert "'001101 XOR 101001 = 100100'" in PAGES['docs/packed.md']


def test_the_lines_for_other_peoples_nets_train():
    code, = (block for block in blocks('README.md', 'python')
             if block.startswith('import chainer_compat'))
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
