import json
import os
import subprocess
import sys

import chainer_compat
import chainer
import numpy
import pytest

import function_quantized_linear
import net
import quantizers
from experiments import variants
from function_quantized_linear import quantized_linear
from optimizers.fused_adam import FusedAdam
from recipes import build, choices
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
        'rounded-inputs', 'small-gradients', 'rounded-activations']
    for function in variants.VARIANTS.values():
        assert function.__doc__ in out


@pytest.mark.parametrize('name', variants.VARIANTS)
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


def test_rounded_inputs_are_those_of_the_gradient_alone(monkeypatch):
    grad = function_quantized_linear.QuantizedLinearGrad
    monkeypatch.setattr(grad, 'forward', grad.forward)
    variants.rounded_inputs()
    x = chainer.Variable(numpy.float32([[.3, -.7]]))
    W = chainer.Variable(numpy.float32([[.5, -.5]]))
    y = quantized_linear(x, W)
    assert y.array.tolist() == [[1]]
    y.grad = numpy.float32([[2]])
    y.backward()
    assert W.grad.tolist() == [[.5, -1]]
    assert x.grad.tolist() == [[2, -2]]


def test_small_gradients_are_a_large_eps(monkeypatch):
    monkeypatch.setattr(build, 'make_optimizer', build.make_optimizer)
    variants.small_gradients()
    settings = choices.RECIPES['original']
    model = build.make_classifier({**settings, 'unit': 3}, 5, 2)
    assert build.make_optimizer(settings, model).eps == pytest.approx(64e-8)
    # g / 64 with eps is g with 64 eps.
    params = []
    for scale, eps in (1 / 64, 1e-2), (1, 64e-2):
        param = chainer.Parameter(numpy.float64([.1, .2]))
        chain = chainer.Chain()
        with chain.init_scope():
            chain.p = param
        optimizer = FusedAdam(eps=eps).setup(chain)
        for _ in range(3):
            param.grad = numpy.array([.3, -2.]) * scale
            optimizer.update()
        params.append(param.array)
    numpy.testing.assert_allclose(*params, rtol=1e-12)


def test_rounded_activations_round_the_gradient(monkeypatch):
    monkeypatch.setattr(net, 'qst', net.qst)
    variants.rounded_activations()
    x = chainer.Variable(numpy.float32([.5, 3]))
    y = net.qst(x, quantizers.Binary())
    y.grad = numpy.float32([.3, .3])
    y.backward()
    assert x.grad.tolist() == [.25, 0]
