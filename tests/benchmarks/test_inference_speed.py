import json
import re

import pytest

from benchmarks import inference_speed
from tests.helpers import needs_numba, scripts

SCRIPT = 'benchmarks/inference_speed.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('inference')


@pytest.fixture(scope='module')
def out(folder):
    return scripts.output(
        SCRIPT, '--unit', 64, '--rounds', 1, '--large-rounds', 0,
        '--product-units', 64, '--save', 'medians.json', cwd=folder)


def test_each_contender_has_a_row_and_gives_the_same_classes(out, folder):
    rows = re.findall(r'^(\S+|\S+ float32) +(\S+) ms +\S+ x +(\S+) us '
                      r'+\S+ x +(\d+)   \S', out, re.MULTILINE)
    names = [row[0] for row in rows]
    assert names[:3] == ['packed', 'NumPy float32', 'Chainer float32']
    assert (names[3:] == ['PyTorch float32']
            or 'PyTorch float32: not measured' in out)
    for row in rows:
        assert all(float(number) > 0 for number in row[1:-1])
        # A sum in float32 may be a tie.
        assert int(row[-1]) <= 5
    medians = json.loads((folder / 'medians.json').read_text())
    assert list(medians) == ['2 x 64']
    assert list(medians['2 x 64']) == names


def test_the_title_has_the_widths_of_the_net(out):
    assert '\n784-64-64-10, random weights\n' in out


def test_nets_with_convolutions_have_rows_of_their_own(folder):
    out = scripts.output(
        SCRIPT, '--unit', 8, '--rounds', 1, '--large-rounds', 0,
        '--product-units', 64, '--channels', 2, '--save', 'conv.json',
        cwd=folder)
    _, out = out.split('\n784-2-2-4-4-256-10, convolutions, random weights\n')
    assert 'NumPy float32: not measured, NumPy has no convolutions' in out
    differ = re.findall(r'^(\S+).* us +\S+ x +(\d+)   \S', out, re.MULTILINE)
    assert [name for name, _ in differ][:2] == ['packed', 'Chainer']
    assert all(int(n) <= 5 for _, n in differ)
    medians = json.loads((folder / 'conv.json').read_text())
    assert list(medians) == ['2 x 8', '2 channels, 256']


@needs_numba
def test_the_product_stands_beside_the_popcount_limit(out):
    rows = re.findall(r'^64 x 64: (.*?) +(\S+) ms, +(\d+) % of the popcount '
                      'limit$', out, re.MULTILINE)
    assert [row[0] for row in rows] == [
        'limit', 'product by 1,000', 'product and sign']
    assert all(float(row[1]) > 0 for row in rows)
    assert rows[0][2] == '100'


@pytest.mark.parametrize(('arguments', 'message'), [
    (('--rounds', 0), '--rounds: must be at least 1, got 0'),
    (('--product-units', 65), 'must be a multiple of 64, got 65'),
    (('--snapshot', 'nowhere'), 'cannot read nowhere')])
def test_bad_arguments_are_one_line(arguments, message):
    assert message in scripts.error(inference_speed.main, *arguments)
