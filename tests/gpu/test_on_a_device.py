"""Training and prediction on a GPU: python -m pytest -m gpu -rP."""
import json
import os
import subprocess
import sys
import time

import chainer_compat
import chainer
import chainer.links as L
import numpy
import pytest

import kernels
import train_mnist
from layers.batch_normalization import BatchNormalization
from net import MnistMLP
from optimizers.fused_adam import FusedAdam
from recipes import build, choices
from tests.helpers import ROOT
from tests.helpers.gpu import STAND_IN, small_data
from weight_clip import WeightClip


def twenty_iterations(device, dtype):
    """Returns the losses and the parameters of a training."""
    random = numpy.random.RandomState(0)
    x = random.rand(20, 50, 65).astype(dtype)
    t = random.randint(0, 10, (20, 50)).astype(numpy.int32)
    numpy.random.seed(0)
    with chainer.using_config('dtype', dtype):
        model = L.Classifier(MnistMLP(65, 100, 10))
    model.to_device(device)
    optimizer = FusedAdam().setup(model)
    optimizer.add_hook(WeightClip())
    losses = []
    for batch in zip(x, t):
        optimizer.update(model, *map(device.send, batch))
        losses.append(float(model.loss.array))
    model.to_device('@numpy')
    return losses, dict(model.namedparams())


@pytest.mark.gpu
@pytest.mark.parametrize(('dtype', 'tolerance'), [
    # In double precision no rounding error changes a sign in 20 iterations.
    (numpy.float64, 1e-9),
    # In single precision some do: the parameters go their own ways.
    (numpy.float32, 2e-2),
    (numpy.float16, 2e-1),
])
def test_twenty_iterations_on_a_gpu_are_those_on_the_cpu(dtype, tolerance):
    (expected, params), (actual, gpu_params) = (
        twenty_iterations(chainer.get_device(name), dtype)
        for name in ('@numpy', '@cupy:0'))
    numpy.testing.assert_allclose(actual[0], expected[0], rtol=tolerance / 10)
    numpy.testing.assert_allclose(actual, expected, rtol=tolerance)
    if dtype == numpy.float64:
        for name, param in params.items():
            numpy.testing.assert_allclose(
                gpu_params[name].array, param.array, atol=1e-7, err_msg=name)


@pytest.mark.gpu
@pytest.mark.parametrize('recipe', sorted(choices.RECIPES))
def test_recipes_train_on_a_gpu(recipe):
    settings = {**choices.settings(
        train_mnist.parse_args(['--recipe', recipe])[1]), 'unit': 30}
    settings['channels'] = min(settings['channels'], 2)
    device = chainer.get_device('@cupy:0')
    numpy.random.seed(0)
    model = build.make_classifier(settings, 65, 10, (5, 13))
    model.to_device(device)
    device.use()
    optimizer = build.make_optimizer(settings, model)
    x = device.send(numpy.random.rand(50, 65).astype(numpy.float32))
    t = device.send(numpy.resize(numpy.arange(10), 50).astype(numpy.int32))
    for _ in range(3):
        optimizer.update(model, x, t)
    assert numpy.isfinite(float(model.loss.array))


@pytest.mark.gpu
def test_batch_normalization_of_other_shapes_is_chainers():
    x = numpy.random.RandomState(0).rand(4, 3, 5).astype(numpy.float32)
    results = []
    for name in '@numpy', '@cupy:0':
        link = BatchNormalization(3)
        device = chainer.get_device(name)
        link.to_device(device)
        y = link(device.send(x))
        y.grad = y.array
        y.backward()
        results.append(chainer.get_device('@numpy').send(
            (y.array, link.gamma.grad, link.avg_var)))
    for a, b in zip(*results):
        numpy.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_the_programs_train_and_predict_on_a_gpu(tmp_path):
    import cupy
    if hasattr(cupy, 'is_host_cupy'):
        start = [str(STAND_IN), os.devnull]
        data = ['--data', str(small_data(tmp_path / 'data'))]
        devices, size, least = [0], ['--unit', '8', '--batchsize', '10'], 0
    else:
        devices, start, data, size, least = [0, -1], [], [], [], .95

    def run(program, *arguments):
        process = subprocess.run(
            [sys.executable, *start, str(ROOT / program), *data, *arguments],
            cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert process.returncode == 0, process.stderr
        assert process.stderr == ''
        return process

    name = cupy.cuda.runtime.getDeviceProperties(0)['name'].decode()
    for device in devices:
        begin = time.perf_counter()
        run('train_mnist.py', *size, '--epoch', '2', '--noplot', '--gpu',
            str(device), '--out', str(device))
        end = time.perf_counter()
        log = json.loads((tmp_path / str(device) / 'log').read_text())
        assert log[-1]['validation/main/accuracy'] > least
        print(f'{"the CPU" if device < 0 else name}: '
              f'{log[1]["elapsed_time"] - log[0]["elapsed_time"]:.2f} s/epoch,'
              f' {end - begin:.1f} s in all, {kernels.description(cupy)}')
    snapshot = tmp_path / '0' / f'snapshot_iter_{log[-1]["iteration"]}'
    process = run('predict_mnist.py', str(snapshot), '--gpu', '0')
    print(process.stdout)
    assert 'predictions that differ: ' in process.stdout
