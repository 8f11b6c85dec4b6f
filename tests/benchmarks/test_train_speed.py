import importlib.util
import json
import os

import pytest

from benchmarks import train_speed
from tests.helpers import scripts

SCRIPT = 'benchmarks/train_speed.py'
TINY = '--rounds', 1, '--share', 1e-4, '--unit', 100


def table(text):
    """Returns the rows of numbers after the titles."""
    header, *rows = text.split('\n\n')[1].splitlines()
    assert header.split() == ['s/epoch', 'min', 'max', 'project/it', 'peak',
                              'MB']
    return {row[:40].rstrip(): row[40:].split() for row in rows}


def test_each_variant_has_a_row_with_the_ratio(tmp_path):
    out = scripts.output(
        SCRIPT, '--variants', 'project', 'products', *TINY, '--save',
        tmp_path / 'medians.json', cwd=tmp_path)
    assert '2 x 100 units, batch 100, 1 rounds of 0.0001 epochs each' in out
    rows = table(out)
    assert list(rows) == ['this project', 'the matrix products alone']
    medians = json.loads((tmp_path / 'medians.json').read_text())
    for title, row in rows.items():
        assert all(float(number) > 0 for number in row)
        assert float(row[0]) == pytest.approx(medians[title], abs=.006)
    assert rows['this project'][3] == '1.00'


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'),
                    reason='needs Linux')
def test_one_core_and_all_have_rows_and_the_kernels_their_times(tmp_path):
    out = scripts.output(
        SCRIPT, '--variants', 'project', 'products', '--cores', 'all', 'one',
        '--profile', *TINY, cwd=tmp_path)
    rows = table(out)
    assert list(rows) == [
        'this project', 'this project, one core', 'the matrix products alone',
        'the matrix products alone, one core']
    assert rows['this project'][3] == rows['this project, one core'][3] == (
        '1.00')
    header, *kernels, step = out.split('\n\n')[2].splitlines()
    assert header.split() == ['milliseconds', 'a', 'step', 'all', 'one',
                              'core']
    times = {row[:40].rstrip(): [float(n) for n in row[40:].split()]
             for row in [*kernels, step]}
    assert {'adam', 'batch_normalization', 'multiply_transposed 100 x 784',
            'dot 100 x 100', 'all else: Python'} < set(times)
    for k in 0, 1:
        assert all(row[k] > 0 for row in times.values())
        assert sum(row[k] for row in times.values()) == pytest.approx(
            2 * times['a step'][k], abs=.01)


def test_convolutions_are_compared_as_other_networks(tmp_path):
    out = scripts.output(
        SCRIPT, '--channels', 2, '--layers', 1, '--variants', 'project',
        'project-numpy', '--profile', *TINY, cwd=tmp_path)
    assert out.startswith('2 blocks of 2 channels and more, 1 x 100 units, ')
    assert list(table(out)) == ['this project', 'this project without Numba']
    assert 'convolution_2d_gW' in out.split('\n\n')[2]


def test_without_the_project_there_is_no_ratio(tmp_path):
    rows = table(scripts.output(
        SCRIPT, '--variants', 'products', *TINY, cwd=tmp_path))
    assert list(rows) == ['the matrix products alone']
    seconds, _, _, ratio, memory = rows['the matrix products alone']
    assert float(seconds) > 0
    assert ratio == '-'
    assert float(memory) > 0


@pytest.mark.parametrize(('arguments', 'message'), [
    (('--share', 0), '--share: must be from 1e-06 to 1, got 0'),
    (('--rounds', 0), '--rounds: must be at least 1, got 0'),
    (('--save', 'nowhere/file'), '--save: cannot write nowhere/file'),
    (('--channels', 2, '--variants', 'products'), 'have no --channels')])
def test_bad_arguments_are_one_line(arguments, message):
    assert message in scripts.error(train_speed.main, *arguments)


@pytest.mark.skipif(importlib.util.find_spec('torch') is not None,
                    reason='PyTorch is installed')
def test_pytorch_is_missed_before_the_first_measurement():
    assert 'torch need PyTorch' in scripts.error(
        train_speed.main, '--variants', 'project', 'torch')
