import doctest
import importlib

import chainer_compat  # noqa: F401  (before chainer)
import chainer
import numpy
import pytest

from quantizers import Log
from weight_clip import WeightClip


@pytest.mark.parametrize('name', [
    'fused_adam', 'function_dropout', 'function_quantized_linear',
    'function_shift_batch_normalization', 'link_quantized_linear',
    'packed_net', 'qst', 'quantize_gradient', 'quantizers', 'shift_adamax',
    'weight_clip'])
def test_the_examples_give_what_they_say(name):
    module = importlib.import_module(name)
    names = {'chainer': chainer, 'np': numpy,
             'model': chainer.links.Linear(2, 3), 'WeightClip': WeightClip,
             'Log': Log}
    results = doctest.testmod(module, extraglobs=names)
    assert results.attempted > 0
    assert results.failed == 0
