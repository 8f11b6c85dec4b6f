import json
import os
import re

import numpy
import pytest

from benchmarks import export_speed
from prediction.packed_net import PackedNet
from tests.helpers import scripts
from tests.helpers.nets import random_arrays

SCRIPT = 'benchmarks/export_speed.py'


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'),
                    reason='a process cannot be kept to one core')
def test_each_format_that_can_be_measured_is_exact(tmp_path):
    PackedNet.from_arrays(random_arrays((784, 33, 20, 10))).save(
        str(tmp_path / 'net.npz'))
    out = scripts.output(
        SCRIPT, 'net.npz', '--rounds', 1, '--images', 50, '--save', 'f.json',
        cwd=tmp_path)
    figures = json.loads((tmp_path / 'f.json').read_text())
    assert list(figures) == ['784-33-20-10']
    rows = figures['784-33-20-10']
    assert '.npz' in rows
    for ending, row in rows.items():
        assert row['classes'] == 0
        assert row['logits'] in (0, None)
        assert row['n'] == 50
        assert row['size'] > 1000
        assert (row['seconds'] or 1) > 0
        assert re.search(rf'^{re.escape(ending)} +{row["size"]:,} ', out,
                         re.MULTILINE)


def test_a_format_that_is_wrong_is_seen(monkeypatch):
    net = PackedNet.from_arrays(random_arrays((784, 33, 10)))
    x = numpy.eye(784, dtype=numpy.uint8)[:20] * 255
    logits = net.logits(x)
    logits[3] = -logits[3]
    logits[4, 0] += 1e-3
    monkeypatch.setattr(export_speed, 'FORMATS', {
        '.x': lambda *args: (5, logits.argmax(axis=1), logits, [2., 4., 3.])})
    row = export_speed.measure(net, x, 3)['.x']
    assert row['classes'] >= 1
    assert row['logits'] == 11
    assert row['seconds'] == pytest.approx(3 / 20)


def test_wrong_arguments_are_refused(tmp_path):
    path = tmp_path / 'net.npz'
    PackedNet.from_arrays(random_arrays((30, 5, 3))).save(str(path))
    assert 'takes 30 pixels' in scripts.error(export_speed.main, path)
