import doctest
import importlib

import chainer_compat  # noqa: F401  (before chainer)
import chainer
import numpy
import pytest

from quantizers import Log
from weight_clip import WeightClip


@pytest.mark.parametrize('name', [
    'function_quantized_linear', 'layers.dropout', 'layers.quantize_gradient',
    'layers.shift_batch_normalization', 'link_quantized_linear',
    'optimizers.fused_adam', 'optimizers.shift_adamax',
    'prediction.packed_net', 'qst', 'quantizers', 'weight_clip'])
def test_the_examples_give_what_they_say(name):
    module = importlib.import_module(name)
    names = {'chainer': chainer, 'np': numpy,
             'model': chainer.links.Linear(2, 3), 'WeightClip': WeightClip,
             'Log': Log}
    results = doctest.testmod(module, extraglobs=names)
    assert results.attempted > 0
    assert results.failed == 0
