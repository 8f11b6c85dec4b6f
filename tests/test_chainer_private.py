"""The names that are private to Chainer and used here all the same."""
import ast
import importlib
import subprocess
import sys

import chainer_compat
import chainer
import chainer.links as L
import pytest
from chainer import reporter
from chainer.training import Trainer, extensions, updaters

from tests.helpers import ROOT, program_files

# All that this project uses of Chainer and is private there, by the module of
# this project. What follows a class is an attribute of its instances.
PRIVATE_NAMES = {
    'function_quantized_linear': ['chainer.utils.type_check._argname'],
    'layers.batch_normalization': [
        'chainer.functions.normalization.batch_normalization._impl_selector'],
    'layers.convolution_2d': ['chainer.utils.type_check._argname'],
    'layers.max_pooling_2d': ['chainer.utils.type_check._argname'],
    'layers.quantized_convolution_2d': ['chainer.utils.type_check._argname'],
    'layers.shift_batch_normalization': [
        'chainer.utils.type_check._argname'],
    'optimizers.fused_clip': [
        'chainer.GradientMethod._hookable',
        'chainer.optimizer._OptimizerHookable._post_update_hooks',
        'chainer.UpdateRule._hookable',
        'chainer.optimizer._Hookable._post_update_hooks'],
    'qst': ['chainer.utils.type_check._argname'],
    'training.array_iterator': [
        'chainer.iterators._statemachine',
        'chainer.iterators.SerialIterator._previous_epoch_detail',
        'chainer.iterators.SerialIterator._state'],
    'training.divergence': [
        'chainer.Link._params', 'chainer.Link._persistent',
        'chainer.Chain._children'],
    'training.multi_node': [
        'chainer.training.Trainer._extensions'],
    'training.reports': [
        'chainer.training.extensions.LogReport._summary',
        'chainer.DictSummary._summaries', 'chainer.reporter.Summary._n'],
    'training.snapshots': ['chainer.UpdateRule._init_states'],
}


def instances():
    """Returns objects to look attributes up in, by their classes' names."""
    model = L.Classifier(L.Linear(2, 2))
    optimizer = chainer.optimizers.SGD().setup(model)
    iterator = chainer.iterators.SerialIterator([1, 2], 1)
    summary = chainer.DictSummary()
    summary.add({'x': 1.})
    rule = model.predictor.W.update_rule
    return {
        'chainer.GradientMethod': optimizer,
        'chainer.optimizer._OptimizerHookable': optimizer._hookable,
        'chainer.UpdateRule': rule,
        'chainer.optimizer._Hookable': rule._hookable,
        'chainer.iterators.SerialIterator': iterator,
        'chainer.Link': model.predictor,
        'chainer.Chain': model,
        'chainer.training.Trainer': Trainer(
            updaters.StandardUpdater(iterator, optimizer)),
        'chainer.training.extensions.LogReport': extensions.LogReport(),
        'chainer.DictSummary': summary,
        'chainer.reporter.Summary': reporter.Summary(),
    }


@pytest.mark.parametrize(
    'name', sorted({n for names in PRIVATE_NAMES.values() for n in names}))
def test_chainer_has_the_name(name):
    owner, attribute = name.rsplit('.', 1)
    if owner in instances():
        assert hasattr(instances()[owner], attribute)
        return
    try:
        importlib.import_module(name)
    except ImportError:
        assert hasattr(importlib.import_module(owner), attribute)


def private_names(source):
    """Returns the private names that a module takes of others.

    Those of ``self`` and ``cls`` are its own, or inherited.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and not (
                isinstance(node.value, ast.Name)
                and node.value.id in ('self', 'cls')):
            names.add(node.attr)
    return {name for name in names
            if name.startswith('_') and not name.endswith('_')}


def test_private_names_are_found():
    assert private_names('from a import _b\nself._c\nd._e\nf.g._h()\n') == {
        '_b', '_e', '_h'}


def test_no_other_private_name_is_used():
    files = [path for path in program_files()
             if 'kernels' not in path.parts and path.stem != 'chainer_compat']
    assert len(files) >= 45
    for path in files:
        module = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        listed = {name.rsplit('.', 1)[1]
                  for name in PRIVATE_NAMES.get(module, [])}
        used = private_names(path.read_text()) - {'_exit'}  # Python's own
        assert used <= listed, f'{module} uses {used - listed}'


def test_every_listed_name_is_used_where_the_list_says():
    for module, names in PRIVATE_NAMES.items():
        source = (ROOT / f'{module.replace(".", "/")}.py').read_text()
        for name in names:
            assert name.rsplit('.', 1)[1] in source, (module, name)


@pytest.mark.parametrize(('version', 'n_warnings'), [
    ('7.8.1', 0), ('7.8.1.post1', 0), ('8.0.0', 1), ('7.7.0', 1)])
def test_another_version_of_chainer_is_warned_of(
        version, n_warnings, monkeypatch, recwarn):
    monkeypatch.setattr(chainer_compat, '_find_version', lambda: version)
    monkeypatch.setattr(chainer_compat, '_find_shims', dict)
    chainer_compat._install()
    messages = [str(warning.message) for warning in recwarn]
    assert len(messages) == n_warnings
    if messages:
        assert messages == [
            f'chainer_compat is made for Chainer 7.8, not {version}']


def test_the_version_is_found_without_importing_chainer():
    code = ('import sys, chainer_compat; print('
            'chainer_compat._find_version(), "chainer" in sys.modules)')
    process = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
        check=True, timeout=60)
    assert process.stdout == f'{chainer.__version__} False\n'
