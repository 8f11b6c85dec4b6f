#!/usr/bin/env python
"""Trains a multi-layer perceptron with binarized weights and activations."""
import argparse
import json
import os
import signal
import sys

import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer
import chainer.links as L
from chainer import training
from chainer.training import extensions
import numpy

import kernels
import mnist
import reports
import snapshots
import summary
from array_iterator import ArrayIterator, send_arrays, send_dataset
from command_line import (
    ArgumentParser, check_gpu, check_matplotlib, integer, make_folder)
from exact_evaluator import ExactEvaluator
from fused_adam import FusedAdam
from net import MnistMLP
from weight_clip import WeightClip

# The evaluation's batch: large enough for the matrix products to run at full
# speed, small enough for their results to stay in the cache.
EVALUATION_BATCHSIZE = 1000


def parse_args(argv=None):
    parser = ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--batchsize', '-b', type=integer(1), default=100,
                        help='number of images in each mini-batch')
    parser.add_argument('--epoch', '-e', type=integer(1), default=20,
                        help='number of sweeps over the training set')
    parser.add_argument('--unit', '-u', type=integer(1), default=1000,
                        help='number of units of a hidden layer')
    parser.add_argument('--gpu', '-g', type=integer(-1), default=-1,
                        metavar='ID',
                        help='id of the GPU; -1 is the CPU')
    parser.add_argument('--data', '-d', metavar='DIR',
                        help="folder of a data set in MNIST's format: the "
                             'four IDX files, gzipped or not; by default the '
                             'MNIST that comes with this project')
    parser.add_argument('--out', '-o', default='result', metavar='DIR',
                        help='folder of the results')
    resume = parser.add_mutually_exclusive_group()
    resume.add_argument('--resume', '-r', metavar='FILE',
                        help='snapshot to go on from')
    resume.add_argument('--autoload', action='store_true',
                        help='go on from the newest snapshot in the folder of '
                             'the results, if there is one')
    parser.add_argument('--frequency', '-f', type=integer(1), default=1,
                        help='number of epochs between snapshots')
    parser.add_argument('--seed', type=integer(0, 2 ** 32 - 1), default=0,
                        help='seed of the random numbers')
    parser.add_argument('--noplot', action='store_true',
                        help='do not draw the curves')
    parser.add_argument('--summary', action='store_true',
                        help='print a table of the layers and stop')
    return parser, parser.parse_args(argv)


def get_device(gpu):
    """Returns Chainer's device; ValueError says why there is none."""
    if gpu == -1:
        return chainer.get_device('@numpy')
    check_gpu(gpu)
    return chainer.get_device(f'@cupy:{gpu}')


def set_seed(seed, device):
    """Seeds NumPy's random numbers, and CuPy's if that is the device's."""
    numpy.random.seed(seed)
    if device.xp is not numpy:
        device.xp.random.seed(seed)


def make_trainer(args, device, train, test):
    n_in, n_out = mnist.sizes(train)
    model = L.Classifier(MnistMLP(n_in, args.unit, n_out))
    model.to_device(device)
    device.use()

    optimizer = FusedAdam()
    optimizer.setup(model)
    optimizer.add_hook(WeightClip())

    train_iter = ArrayIterator(send_dataset(train, device), args.batchsize)
    test_iter = ArrayIterator(send_dataset(test, device),
                              EVALUATION_BATCHSIZE,
                              repeat=False, shuffle=False)
    updater = training.updaters.StandardUpdater(
        train_iter, optimizer, converter=send_arrays, device=device)
    trainer = training.Trainer(updater, (args.epoch, 'epoch'), out=args.out)

    trainer.extend(ExactEvaluator(
        test_iter, model, converter=send_arrays, device=device))
    trainer.extend(extensions.DumpGraph('main/loss'))
    trainer.extend(snapshots.RandomState())
    trainer.extend(snapshots.snapshot(), trigger=(args.frequency, 'epoch'))
    trainer.extend(extensions.LogReport())
    if not args.noplot:
        for value in 'loss', 'accuracy':
            trainer.extend(reports.PlotReport(
                {f'main/{value}': 'training',
                 f'validation/main/{value}': 'test'},
                value, f'{value}.png'))
    trainer.extend(reports.PrintReport(
        ['epoch', 'main/loss', 'validation/main/loss', 'main/accuracy',
         'validation/main/accuracy', 'elapsed_time']))
    if sys.stdout.isatty():
        # A trigger without state, so that the snapshots of a run on a terminal
        # and of one in the background are the same.
        trainer.extend(extensions.ProgressBar(), trigger=lambda _: True)
    return trainer


def stop_on_ctrl_c(trainer):
    """Lets Ctrl-C end the trainer after the iteration, a second one at once.

    Python raises KeyboardInterrupt wherever it is, and loses it where that is
    a destructor or a callback.
    """
    received = []

    def remember(number, frame):
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop(trainer):
        if received:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, remember)
    trainer.extend(stop, name='stop_on_ctrl_c', trigger=lambda _: True,
                   priority=-200)


def main():
    parser, args = parse_args()
    try:
        if args.summary:
            n_in, n_out = (mnist.sizes(mnist.get_idx(args.data)[0])
                           if args.data else (784, 10))
            print(summary.table([n_in, args.unit, args.unit, n_out]))
            return
        device = get_device(args.gpu)
        if not args.noplot:
            check_matplotlib('a run without --noplot')
        train, test = (mnist.get_idx(args.data) if args.data
                       else mnist.get_mnist())
        if args.batchsize > len(train):
            raise ValueError(f'--batchsize must be at most {len(train)}, the '
                             f'number of images, got {args.batchsize}')
        set_seed(args.seed, device)
        trainer = make_trainer(args, device, train, test)
        snapshot = args.resume
        if args.autoload:
            snapshot = snapshots.newest(args.out)
        if snapshot:
            snapshots.load(snapshot, trainer)
        make_folder(args.out, '--out')
    except ValueError as e:
        parser.error(e)
    except MemoryError as e:
        parser.error(
            f'--unit={args.unit} needs more memory than there is: {e}')

    with open(os.path.join(args.out, 'args.json'), 'w') as f:
        json.dump(vars(args), f, indent=4)
        f.write('\n')

    print(f'GPU: {args.gpu}')
    if args.data:
        print('# data: {}, {} pixels, {} classes'.format(
            args.data, *mnist.sizes(train)))
    print(f'# unit: {args.unit}')
    print(f'# Minibatch-size: {args.batchsize}')
    print(f'# epoch: {args.epoch}')
    print(f'# kernels: {kernels.description(device.xp)}')
    print('', flush=True)

    if trainer.updater.epoch >= args.epoch:
        print(f'{snapshot} is at epoch {trainer.updater.epoch} already; '
              'a larger --epoch goes on from there')
        return
    stop_on_ctrl_c(trainer)
    try:
        with kernels.own_cores():
            trainer.run()
    except KeyboardInterrupt:
        print('interrupted; --autoload goes on from the last snapshot',
              file=sys.stderr)
        sys.exit(130)


if __name__ == '__main__':
    main()
