import argparse

import numpy
import pytest

from benchmarks import train_speed, variants
from training.array_dataset import get_mnist

ARGS = argparse.Namespace(
    unit=20, layers=2, channels=0, blocks=2, batchsize=100)
CONVOLUTIONS = argparse.Namespace(
    unit=20, layers=1, channels=3, blocks=2, batchsize=10)


@pytest.fixture(scope='module')
def mnist():
    return get_mnist()


@pytest.mark.parametrize('args', [ARGS, CONVOLUTIONS])
@pytest.mark.parametrize('name', ['project-numpy', 'chainer', 'torch'])
def test_all_binary_variants_compute_the_same_step(name, args, mnist):
    if name == 'torch':
        pytest.importorskip('torch', reason='needs PyTorch')
    parameters = train_speed.initial_parameters(args)
    x, t = (array[:args.batchsize] for array in variants.arrays(mnist[0]))
    steps = []
    for variant in (variants.VARIANTS[name](args, *mnist),
                    variants.Project(args, *mnist)):
        variant.set_parameters(parameters)
        with variant.context():
            steps.append(variant.gradients(x, t, parameters))
    (loss, gradients), (expected_loss, expected) = steps
    assert loss == pytest.approx(float(expected_loss), abs=1e-5)
    for key in parameters:
        numpy.testing.assert_allclose(
            gradients[key], expected[key], rtol=0, atol=1e-5)


@pytest.mark.parametrize('name', [
    'stochastic', 'linear:2', 'linear:4', 'log:2', 'log:4', 'none'])
def test_the_other_quantizers_train(name, mnist):
    variant = variants.VARIANTS[name](ARGS, *mnist)
    # With the few units of this test a weight seldom rounds to 1 by log:2.
    beta = variant.model.predictor.bn3.beta.array
    assert not beta.any()
    with variant.context():
        variant.train(1)
    assert beta.any()
    assert variant.title == name
    assert not variant.is_checked
