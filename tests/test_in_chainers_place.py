"""The parts that stand in the place of Chainer's: arguments, errors, files."""
import copy
import importlib
import inspect
import pickle
import re

import chainer_compat
import chainer
import chainer.functions as F
import chainer.links as L
import numpy
import pytest
from chainer import datasets, iterators, optimizers
from chainer.training import extensions

from function_quantized_linear import quantized_linear
from layers.batch_normalization import BatchNormalization
from layers.dropout import dropout
from layers.quantized_convolution_2d import (
    QuantizedConvolution2D, quantized_convolution_2d)
from link_quantized_linear import QuantizedLinear
from optimizers.bop import Bop
from optimizers.fused_adam import FusedAdam
from tests.helpers import ROOT, program_files
from training import reports
from training.array_dataset import ArrayDataset
from training.array_iterator import ArrayIterator
from training.exact_evaluator import ExactEvaluator

QUANTIZERS = {'quantizer', 'gradient_quantizer'}
# What Chainer's convolutions take by **kwargs.
KEYWORDS = [(name, inspect.Parameter.KEYWORD_ONLY, 1)
            for name in ('dilate', 'groups')]

# Ours, Chainer's, the arguments that ours has more or has changed.
PAIRS = [
    (BatchNormalization, L.BatchNormalization, {'evaluate_with_batch'}),
    (QuantizedConvolution2D, L.Convolution2D, {*QUANTIZERS, 'pad_value'}),
    (quantized_convolution_2d, F.convolution_2d, {*QUANTIZERS, 'pad_value'}),
    (QuantizedLinear, L.Linear, QUANTIZERS),
    (quantized_linear, F.linear, QUANTIZERS),
    (dropout, F.dropout, set()),
    (FusedAdam, optimizers.Adam, set()),
    (ArrayDataset, datasets.TupleDataset, {'arrays'}),
    (ArrayIterator, iterators.SerialIterator, {'least'}),
    (ExactEvaluator, extensions.Evaluator, set()),
    (reports.LogReport, extensions.LogReport, set()),
    (reports.PrintReport, extensions.PrintReport, {'out'}),
    (reports.DumpGraph, extensions.DumpGraph, set()),
]
NAMES = [ours.__name__ for ours, _, _ in PAIRS]
CLASSES = [pair for pair in PAIRS if inspect.isclass(pair[0])]
# Those whose parts are meant to be used as they are.
PARTS = ('chainer.links', 'chainer.optimizers', 'chainer.iterators',
         'chainer.datasets', 'chainer.training.extensions')


def same(W):
    """A quantizer that rounds nothing."""
    return W


class Linear(QuantizedLinear):
    """A QuantizedLinear that does what Chainer's Linear does."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, quantizer=same, **kwargs)


class Convolution2D(QuantizedConvolution2D):
    """A QuantizedConvolution2D that does what Chainer's Convolution2D does."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, quantizer=same, **kwargs)


def convolution(*args, **kwargs):
    return quantized_convolution_2d(*args, quantizer=same, **kwargs)


def linear(*args, **kwargs):
    return quantized_linear(*args, quantizer=same, **kwargs)


def arguments(function):
    """Returns (name, kind, default) of each argument but self."""
    return [(p.name, p.kind, p.default)
            for p in inspect.signature(function).parameters.values()
            if p.name != 'self']


def test_every_class_that_replaces_one_of_chainers_is_in_the_table():
    found = set()
    paths = [path for path in program_files()
             if path.parent.name in ('layers', 'optimizers', 'training')
             or path.name.startswith(('link_', 'function_'))]
    assert len(paths) >= 24
    for path in paths:
        module = importlib.import_module('.'.join(
            path.relative_to(ROOT).with_suffix('').parts))
        found.update(
            cls for cls in vars(module).values()
            if inspect.isclass(cls) and cls.__module__ == module.__name__
            and not cls.__name__.startswith('_')
            and any(base.__module__.startswith(PARTS) for base in cls.__mro__)
            # An update rule is made by its optimizer alone. Chainer has no
            # Bop, which is Adam for what it does not flip.
            and not issubclass(cls, (chainer.UpdateRule, Bop)))
    assert found == {ours for ours, _, _ in CLASSES}


@pytest.mark.parametrize(('ours', 'chainers', 'changed'), PAIRS, ids=NAMES)
def test_the_arguments_are_chainers(ours, chainers, changed):
    there = arguments(chainers)
    here = arguments(ours)
    if here[0][:2] == ('args', inspect.Parameter.VAR_POSITIONAL):
        # All is handed on, and what is added can be named alone.
        assert here[-1][1] == inspect.Parameter.VAR_KEYWORD
        here = there + here[1:-1]
    if here[0][1] == there[0][1] == inspect.Parameter.VAR_POSITIONAL:
        assert changed == {here[0][0]}  # another name of the same arrays
        return
    if '*, dilate=1, groups=1' in chainers.__doc__:
        there[-1:] = KEYWORDS
    # What is added comes last, so that Chainer's can be given by position.
    names = [name for name, _, _ in there]
    assert [name for name, _, _ in here[:len(there)]] == names
    assert {a[0] for a in here if a not in there} == changed


@pytest.mark.parametrize(('ours', 'chainers', 'changed'), CLASSES,
                         ids=[ours.__name__ for ours, _, _ in CLASSES])
def test_the_methods_take_what_chainers_take(ours, chainers, changed):
    for name, method in inspect.getmembers(ours, inspect.isfunction):
        if name != '__init__' and not name.startswith('_') and (
                method is not getattr(chainers, name, method)):
            assert arguments(method) == arguments(getattr(chainers, name))


@pytest.mark.parametrize(('ours', 'chainers', 'changed'), PAIRS, ids=NAMES)
def test_the_docstring_names_chainers_part_and_what_differs(
        ours, chainers, changed):
    text = ours.__doc__
    assert f'chainer.{chainers.__module__.split(".")[1]}.' in text
    assert chainers.__name__ in text
    for name in changed:
        assert re.search(rf'\b{name}\b.*:', text), name


x = numpy.ones((4, 3), 'f')
W = numpy.ones((2, 3), 'f')
images = numpy.ones((2, 4, 5, 6), 'f')
windows = numpy.ones((6, 4, 3, 3), 'f')


@pytest.mark.parametrize(('ours', 'chainers', 'args', 'kwargs'), [
    (dropout, F.dropout, (x, 1), {}),
    (dropout, F.dropout, (x, -.1), {}),
    (dropout, F.dropout, (x, numpy.nan), {}),
    (dropout, F.dropout, (x, 1), {'mask': x}),
    (dropout, F.dropout, (x.astype('i'),), {}),
    (dropout, F.dropout, (x, .5, x), {}),
    (dropout, F.dropout, ([1, 2],), {}),
    *[(linear, F.linear, *rest) for rest in [
        ((x,), {}), ((x, W, None, 0), {}), ((x, W, None, -1), {}),
        ((x, W, None, 1.5), {}), ((x, W), {'axis': 1}), ((x[0], W), {}),
        ((x[0, 0], W), {}), ((x, W[:, :2]), {}), ((x, W[0]), {}),
        ((x.astype('i'), W), {}), ((x, W.astype('i')), {}),
        ((x, W, W[0]), {}), ((x, W, W[:, :1]), {}),
        ((x, W, numpy.ones(2, 'd')), {}), ((x, W, None, 2), {})]],
    *[(Linear, L.Linear, *rest) for rest in [
        ((), {}), ((3, -2), {}), (('3', 2), {}), ((3, 2), {'axis': 1}),
        ((3, 5), {'initialW': W}), ((3, 2), {'initialW': 'x'}),
        ((3, 2), {'initial_bias': W})]],
    *[(convolution, F.convolution_2d, *rest) for rest in [
        ((images,), {}), ((images[0], windows), {}),
        ((images, windows[0]), {}), ((images, windows[:, :3]), {}),
        ((images.astype('i'), windows), {}),
        ((images, windows.astype('i')), {}), (([1, 2], windows), {}),
        ((images, windows, W), {}), ((images, windows, W[0]), {}),
        ((images, windows, numpy.ones(6, 'd')), {}),
        ((images, windows, None, 1.5), {}),
        ((images, windows, None, (1, 2, 3)), {}),
        ((images, windows, None, 1, -1), {}),
        ((images, windows, None, 1, 1.5), {}),
        ((images, windows, None, 1, None), {}),
        ((images, windows), {'dilate': 0}), ((images, windows), {'axis': 1}),
        ((images, windows), {'groups': 2})]],
    *[(Convolution2D, L.Convolution2D, *rest) for rest in [
        ((), {}), ((4,), {}), ((4, -1, 3), {}), (('4', 2, 3), {}),
        ((4, 6, 3.5), {}), ((4, 6, -1), {}), ((4, 6, 3), {'axis': 1}),
        ((4, 6, 3), {'groups': 4}), ((3, 6, 3), {'groups': 2}),
        ((4, 6, 3), {'initialW': W}), ((4, 6, 3), {'initialW': 'x'}),
        ((4, 6, 3), {'initial_bias': W})]],
    *[(BatchNormalization, L.BatchNormalization, *rest) for rest in [
        ((), {}), ((None,), {}), (({},), {}), ((-1,), {}),
        ((3,), {'size': 3}), ((3,), {'initial_gamma': x}),
        ((3,), {'axes': 0}), ((3,), {'dtype': 'x'})]],
    (FusedAdam, optimizers.Adam, (), {'lr': 1}),
    (FusedAdam, optimizers.Adam, tuple(range(11)), {}),
    (ArrayDataset, datasets.TupleDataset, (), {}),
    (ArrayDataset, datasets.TupleDataset, (x, W), {}),
    (ArrayDataset, datasets.TupleDataset, (x[0, 0],), {}),
    (ExactEvaluator, extensions.Evaluator, (), {}),
    (ExactEvaluator, extensions.Evaluator, ({}, {}), {'hook': 1}),
    (reports.LogReport, extensions.LogReport, (), {'name': 'log'}),
    (reports.LogReport, extensions.LogReport, (), {'trigger': (1, 'day')}),
    (reports.PrintReport, extensions.PrintReport, (3,), {}),
    (reports.DumpGraph, extensions.DumpGraph, (), {}),
    (reports.DumpGraph, extensions.DumpGraph, ('a',), {'style': 'b'}),
])
def test_bad_arguments_have_the_same_errors(ours, chainers, args, kwargs):
    errors = []
    for part in ours, chainers:
        with pytest.raises(Exception) as info:  # noqa: PT011
            part(*args, **kwargs)
        errors.append(info.type)
    assert errors[0] is errors[1], errors


BATCHES = [(4, 3), (1, 3), (0, 3), (4, 2), (4, 3, 2), (0, 3, 2), (3,), ()]


def outcome(action):
    """Returns an action's arrays, or the type of its error."""
    try:
        return [getattr(array, 'array', array) for array in action()]
    except Exception as e:
        return type(e)


def assert_same(ours, theirs):
    if isinstance(theirs, type):
        assert ours is theirs
        return
    for a, b in zip(ours, theirs):
        assert numpy.result_type(a) == numpy.result_type(b)
        numpy.testing.assert_allclose(a, b, rtol=1e-6)  # NaN equals NaN


@pytest.mark.filterwarnings(
    'ignore:A batch with no more', 'ignore:Mean of', 'ignore:invalid value',
    'ignore:divide by zero', 'ignore:Degrees of freedom')
@pytest.mark.parametrize('shape', BATCHES, ids=str)
@pytest.mark.parametrize('train', [False, True])
@pytest.mark.parametrize('dtype', 'efdi')
@pytest.mark.parametrize('default', ['e', 'f', 'd', chainer.mixed16], ids=str)
def test_a_link_gives_what_chainers_gives_for_any_batch(
        shape, train, dtype, default, random):
    x = random.uniform(-9, 9, shape).astype(dtype)
    pairs = [(BatchNormalization, L.BatchNormalization, (3,))]
    if x.size or x.ndim < 3:  # else see the test below
        pairs.append((Linear, L.Linear, (3, 2, False, numpy.eye(2, 3))))
    for ours, chainers, args in pairs:
        results = []
        for cls in ours, chainers:
            with chainer.using_config('dtype', default):
                link = cls(*args)
            with chainer.using_config('train', train):
                results.append(outcome(lambda link=link: (
                    link(x), *(getattr(link, name)
                               for name in sorted(link._persistent)))))
        assert_same(*results)


@pytest.mark.parametrize('shape', [
    (4, 3, 5, 6), (1, 3, 2, 2), (0, 3, 5, 6), (4, 2, 5, 6), (4, 3, 5), (3,),
    ()], ids=str)
@pytest.mark.parametrize('dtype', 'efdi')
@pytest.mark.parametrize('default', ['e', 'f', 'd', chainer.mixed16], ids=str)
def test_a_convolution_gives_what_chainers_gives_for_any_batch(
        shape, dtype, default, random):
    # Integers, whose sums are exact in any order.
    x = numpy.asarray(random.randint(-9, 10, shape)).astype(dtype)
    W = random.randint(-9, 10, (2, 3, 2, 2))
    results = []
    for cls in Convolution2D, L.Convolution2D:
        with chainer.using_config('dtype', default):
            link = cls(3, 2, 2, 1, 1, False, W, numpy.array([5, -7]))
        results.append(outcome(lambda link=link: [link(x)]))
    assert_same(*results)


@pytest.mark.parametrize('n_batch_axes', [1, 2])
def test_an_empty_batch_that_chainers_linear_fails_on_is_empty(n_batch_axes):
    x = numpy.ones((0, 4, 3), 'f')
    W = numpy.ones((2, 3 if n_batch_axes == 2 else 12), 'f')
    with pytest.raises(ValueError, match='cannot reshape'):
        F.linear(x, W, None, n_batch_axes)
    assert linear(x, W, None, n_batch_axes).shape == (
        *x.shape[:n_batch_axes], 2)


def batch_for(cls, random):
    """Returns images of 3 channels for a convolution, else 4 vectors."""
    size = (5, 6) if issubclass(cls, L.Convolution2D) else ()
    return random.standard_normal((4, 3, *size)).astype('f')


@pytest.mark.parametrize(('ours', 'chainers', 'kwargs'), [
    (QuantizedLinear, L.Linear, {'in_size': 3, 'out_size': 2}),
    (QuantizedLinear, L.Linear, {'in_size': 2}),
    (QuantizedLinear, L.Linear, {'in_size': 2, 'nobias': True}),
    (QuantizedConvolution2D, L.Convolution2D, {
        'in_channels': 3, 'out_channels': 2, 'ksize': 3, 'pad': 1}),
    (QuantizedConvolution2D, L.Convolution2D, {
        'in_channels': 2, 'out_channels': (1, 3), 'nobias': True}),
    (BatchNormalization, L.BatchNormalization, {'size': 3, 'dtype': 'd'}),
    (BatchNormalization, L.BatchNormalization, {'size': 3, 'use_beta': False}),
    (BatchNormalization, L.BatchNormalization, {'axis': 0})])
def test_a_links_files_can_be_read_by_chainers_and_the_other_way_round(
        ours, chainers, kwargs, tmp_path, random):
    x = batch_for(ours, random)
    for saver, loader in (ours, chainers), (chainers, ours):
        saved, loaded = saver(**kwargs), loader(**kwargs)
        saved(x)
        chainer.serializers.save_npz(str(tmp_path / 'link'), saved)
        chainer.serializers.load_npz(str(tmp_path / 'link'), loaded)
        states = []
        for link in saved, loaded:
            serializer = chainer.serializers.DictionarySerializer()
            serializer.save(link)
            states.append(serializer.target)
        assert states[0].keys() == states[1].keys()
        for name, array in states[0].items():
            assert array.dtype == states[1][name].dtype
            numpy.testing.assert_array_equal(array, states[1][name])


@pytest.mark.parametrize('make', [
    copy.deepcopy, lambda link: pickle.loads(pickle.dumps(link)),
    lambda link: link.copy('copy'), lambda link: link.copy('share'),
    lambda link: copy.copy(link).to_device('@numpy'), lambda link: (
        chainer.Sequential(link).repeat(2, 'copy')[1][0])],
    ids=['deepcopy', 'pickle', 'copy', 'share', 'device', 'repeat'])
@pytest.mark.parametrize('link', [
    QuantizedLinear(3, 2), QuantizedConvolution2D(3, 2, 3, pad_value=-1),
    BatchNormalization(3), BatchNormalization(3, evaluate_with_batch=True)],
    ids=['linear', 'convolution', 'normalization', 'with batch'])
def test_a_copy_of_a_link_is_one_of_its_class(link, make, random):
    x = batch_for(type(link), random)
    link(x)
    other = make(link)
    assert type(other) is type(link)
    assert other.device == link.device
    for train in False, True:
        with chainer.using_config('train', train):
            numpy.testing.assert_array_equal(other(x).array, link(x).array)
