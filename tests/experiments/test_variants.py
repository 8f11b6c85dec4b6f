import json
import os
import subprocess
import sys

import chainer_compat
import chainer
import numpy
import pytest

import qst
import weight_clip
from experiments import variants
from tests.helpers import ROOT, scripts

# The variant of the arguments, on the few images of a small run.
SMALL = '''
from experiments import variants
from tests.helpers import small_run
from data import sets
sets.read = small_run.small_mnist
variants.main()
'''


def test_each_variant_is_in_the_help(tmp_path):
    out = ' '.join(scripts.output(
        'experiments/variants.py', '--help', cwd=tmp_path).split())
    assert list(variants.VARIANTS) == [
        'rounded-input', 'rounded-gradient', 'no-mask', 'clip-before']
    for function in variants.VARIANTS.values():
        assert function.__doc__ in out


@pytest.mark.parametrize('name', ['rounded-input', 'rounded-gradient'])
def test_a_variant_trains(name, tmp_path):
    process = subprocess.run(
        [sys.executable, '-c', SMALL, name, '--epoch', '1', '--unit', '20',
         '--noplot', '--out', 'result'], cwd=tmp_path, capture_output=True,
        text=True, timeout=120, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert process.returncode == 0, process.stderr
    assert '# recipe: original\n' in process.stdout
    entry, = json.loads((tmp_path / 'result' / 'log').read_text())
    assert entry['epoch'] == 1
    assert entry['main/loss'] > 0
    args = json.loads((tmp_path / 'result' / 'args.json').read_text())
    assert (args['gradient_quantizer'] == 'log') == (
        name == 'rounded-gradient')


def test_no_mask_passes_every_gradient(monkeypatch):
    monkeypatch.setattr(qst.QSTGrad, 'forward', qst.QSTGrad.forward)
    variants.no_mask()
    x = chainer.Variable(numpy.float32([-3, 0, 3]))
    y = qst.qst(x)
    y.grad = numpy.float32([1, 2, 3])
    y.backward()
    assert x.grad.tolist() == [1, 2, 3]


def test_clip_before_comes_before_the_update(monkeypatch):
    monkeypatch.setattr(weight_clip.WeightClip, 'timing', 'post')
    variants.clip_before()
    assert weight_clip.WeightClip().timing == 'pre'
