import json

import pytest

from benchmarks import train_cost
from tests.helpers import scripts

SCRIPT = 'benchmarks/train_cost.py'


def test_each_size_has_a_row_and_a_point_in_the_picture(tmp_path):
    pytest.importorskip('matplotlib')
    out = scripts.output(
        SCRIPT, '--units', 100, '--batchsizes', 50, '--fixed', 200, 100,
        '--rounds', 1, '--work', 0, '--json', 'cost.json', '--draw',
        'cost.png', cwd=tmp_path)
    tables = out.strip().split('\n\n')
    for text, title, x in zip(
            tables, ('units, batch 100', 'batch size, 200 units'),
            ('100', '50')):
        header, _, row = (line.strip('| ').split(' | ')
                          for line in text.splitlines())
        assert header[0] == title
        assert row[0] == x
        assert all(float(number) > 0 for number in row[1:])
    cost = json.loads((tmp_path / 'cost.json').read_text())
    assert [x for x, _ in cost['unit']] == [100]
    assert [x for x, _ in cost['batchsize']] == [50]
    assert (tmp_path / 'cost.png').read_bytes().startswith(b'\x89PNG')


def test_a_batch_larger_than_the_training_set_is_one_line():
    assert '--batchsizes: must be at most 60000, got 60001' in scripts.error(
        train_cost.main, '--batchsizes', 60001)
