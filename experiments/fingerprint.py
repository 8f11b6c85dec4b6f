#!/usr/bin/env python
"""Prints a few numbers that change when an experiment's arithmetic changes.

They are the losses of a small net in 10 iterations. In float64, in which other
machines' sums round no sum across a step of a quantizer.
"""
import json
import pathlib
import shlex
import subprocess
import sys

if __name__ == '__main__':
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import chainer_compat
import chainer
import numpy

import train_mnist
from data import description, mnist
from experiments import variants
from experiments.plan import EXPERIMENTS
from experiments.runs import ROOT
from layers.batch_normalization import population_statistics
from recipes import build, choices, schedule
from training import array_dataset

# Images of a batch, units of a layer, channels of a block.
_N, _UNITS, _CHANNELS, _ITERATIONS = 50, 48, 4, 10

# Relative; the oldest and the newest NumPy, with and without Numba, differ by
# 1e-13.
_TOLERANCE = 1e-9


def compute(arguments):
    """Returns the losses of a small training.

    Args:
        arguments (str): Those of train_mnist.py.

    Returns:
        list of float: Loss of each iteration, then of the images after it in
        evaluation.

    """
    _, args = train_mnist.parse_args(shlex.split(arguments))
    settings = {**choices.settings(args), 'unit': _UNITS, 'batchsize': _N}
    settings['channels'] = min(settings['channels'], _CHANNELS)
    images, labels = mnist.read('test.npz')
    dataset = array_dataset.from_images(images, labels)
    if args.input_range == 'symmetric':
        dataset = array_dataset.symmetric(dataset)
    x, t = dataset.arrays
    x = x.astype(numpy.float64)
    losses = []
    with chainer.using_config('dtype', numpy.float64):
        numpy.random.seed(args.seed)
        model = build.make_classifier(
            settings, x.shape[1], 10, description.DIGITS.shape)
        _make_float64(model.predictor)
        optimizer = build.make_optimizer(settings, model)
        for k in range(_ITERATIONS + 1):
            batch = slice(_N * k, _N * (k + 1))
            if k == _ITERATIONS:
                with chainer.using_config('train', False), (
                        chainer.no_backprop_mode()):
                    if settings['evaluation'] == 'population':
                        with population_statistics(model):
                            for i in range(0, _N * k, _N):
                                model.predictor(x[i:i + _N])
                    model(x[batch], t[batch])
            else:
                # As many epochs as there are in the run.
                epoch = settings['epoch'] * k // _ITERATIONS
                for name, value in schedule.sizes(settings, epoch).items():
                    setattr(optimizer, name, value)
                optimizer.update(model, x[batch], t[batch])
            losses.append(float(model.loss.array))
    return losses


def _make_float64(net):
    # ShiftBatchNormalization is made in float32 whatever Chainer's dtype.
    for param in net.params():
        param.array = param.array.astype(numpy.float64)
    for _, norm in net.layers():
        for name in norm._persistent:
            value = getattr(norm, name)
            if isinstance(value, numpy.ndarray):
                setattr(norm, name, value.astype(numpy.float64))


def measure(names):
    """Returns the fingerprints of experiments, each in a new process.

    Args:
        names (list of str): Names of experiments.

    Returns:
        dict: The fingerprint of each, see :func:`compute`.

    """
    by_variant = {}
    for name in names:
        by_variant.setdefault(EXPERIMENTS[name].variant, []).append(name)
    fingerprints = {}
    for of_variant in by_variant.values():
        process = subprocess.run(
            [sys.executable, str(ROOT / 'experiments' / 'fingerprint.py'),
             *of_variant], capture_output=True, text=True, check=True)
        fingerprints.update(json.loads(process.stdout))
    return fingerprints


def are_equal(one, other):
    """Tells whether two fingerprints are of the same arithmetic."""
    return len(one) == len(other) and numpy.allclose(
        one, other, rtol=_TOLERANCE, atol=0)


def main():
    names = sys.argv[1:]
    variant, = {EXPERIMENTS[name].variant for name in names}
    if variant:
        variants.VARIANTS[variant]()
    print(json.dumps({name: compute(EXPERIMENTS[name].arguments)
                      for name in names}))


if __name__ == '__main__':
    main()
