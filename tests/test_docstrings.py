import doctest
import importlib

import pytest

from tests.helpers import ROOT, program_files

# Modules whose examples run as they stand, imports included.
WITH_EXAMPLES = [
    'function_quantized_linear', 'layers.dropout', 'layers.max_pooling_2d',
    'layers.quantize_gradient', 'layers.quantized_convolution_2d',
    'layers.shift_batch_normalization', 'link_quantized_linear',
    'optimizers.bop', 'optimizers.fused_adam', 'optimizers.shift_adamax',
    'prediction.packed_net', 'qst', 'quantizers', 'training.array_dataset',
    'weight_clip']


def test_the_list_is_that_of_the_modules_with_examples():
    found = ['.'.join(path.relative_to(ROOT).with_suffix('').parts)
             for path in program_files() if '>>> ' in path.read_text()]
    assert sorted(found) == WITH_EXAMPLES


@pytest.mark.parametrize('name', WITH_EXAMPLES)
def test_an_example_gives_what_it_says_when_copied(name):
    module = importlib.import_module(name)
    examples = [test for test in doctest.DocTestFinder().find(module)
                if test.examples]
    assert examples
    runner = doctest.DocTestRunner()
    for example in examples:
        example.globs = {}  # Nothing but what it imports itself
        runner.run(example)
    assert runner.summarize().failed == 0


def test_the_papers_full_citation_stands_in_the_readme_alone():
    authors = 'M. Courbariaux, D. Soudry'
    assert 'Hubara, M. Courbariaux' in (ROOT / 'README.md').read_text()
    for path in program_files():
        assert authors not in path.read_text(), path
