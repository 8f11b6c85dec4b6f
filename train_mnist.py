#!/usr/bin/env python
"""Trains a multi-layer perceptron with binarized weights and activations."""
import interruption

if __name__ == '__main__':
    # From here on: the imports below take a second.
    interruption.quit_on_signal()

import argparse
import contextlib
import json
import os
import sys

import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer
import chainer.links as L
from chainer import training
from chainer.training import extensions
import numpy

import divergence
import files
import kernels
import mnist
import reports
import run_folder
import snapshots
import summary
from array_iterator import ArrayIterator, send_arrays, send_dataset
from command_line import (
    ArgumentParser, check_gpu, check_matplotlib, integer, print_any_name)
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
    model = L.Classifier(MnistMLP(784, args.unit, 10))
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
    trainer.extend(divergence.check, name='divergence',
                   trigger=divergence.is_due, priority=divergence.PRIORITY)
    trainer.extend(reports.DumpGraph('main/loss'))
    trainer.extend(snapshots.RandomState(args.seed, device.xp))
    trainer.extend(snapshots.save, name='snapshot', priority=-100,
                   trigger=snapshots.every(args.frequency, args.epoch))
    trainer.extend(reports.LogReport())
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


def main():
    print_any_name()
    with contextlib.ExitStack() as stack:
        run(stack)


def run(stack):
    parser, args = parse_args()
    if args.summary:
        print(summary.table([784, args.unit, args.unit, 10]))
        return
    try:
        device = get_device(args.gpu)
        if not args.noplot:
            check_matplotlib('a run without --noplot')
        train, test = mnist.get_mnist()
        if args.batchsize > len(train):
            raise ValueError(f'--batchsize must be at most {len(train)}, the '
                             f'number of images, got {args.batchsize}')
        set_seed(args.seed, device)
        trainer = make_trainer(args, device, train, test)
        snapshot = args.resume
        if snapshot:
            snapshots.load(snapshot, trainer)
            if is_finished(args, trainer, snapshot):
                return
        # What is continued is no earlier run.
        go_on = args.autoload or snapshots.is_newest(snapshot, args.out)
        moved = stack.enter_context(run_folder.claim(args.out, go_on))
        if args.autoload:
            snapshot = snapshots.load_newest(
                args.out, trainer, parser.warn)
            if is_finished(args, trainer, snapshot):
                return
    except (OSError, ValueError) as e:
        parser.error(e)
    except MemoryError as e:
        parser.error(
            f'--unit={args.unit} needs more memory than there is: {e}')

    try:
        run_trainer(args, trainer, device, snapshot, moved)
    except FloatingPointError as e:
        newest = next(iter(snapshots.find(args.out)), 'none')
        parser.error(f'{e}; the last good snapshot: {newest}')
    except OSError as e:
        if e.filename is None:
            # Python writes the rest of the output at its end: not again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        parser.error(f'cannot write {e.filename or "the output"}: '
                     f'{e.strerror or e}')


def is_finished(args, trainer, snapshot):
    """Tells, in a line as well, whether there is nothing left to train."""
    if trainer.updater.epoch < args.epoch:
        return False
    print(f'{snapshot} is at epoch {trainer.updater.epoch} already; '
          'a larger --epoch goes on from there', flush=True)
    return True


def run_trainer(args, trainer, device, snapshot, moved):
    print(f'GPU: {args.gpu}')
    print(f'# unit: {args.unit}')
    print(f'# Minibatch-size: {args.batchsize}')
    print(f'# epoch: {args.epoch}')
    print(f'# kernels: {kernels.description(device.xp)}')
    if snapshot:
        print(f'# going on from: {snapshot}')
    if moved:
        print(f'# earlier run: renamed to {moved}')
    print('', flush=True)

    files.write(os.path.join(args.out, 'args.json'), lambda f: f.write(
        (json.dumps(vars(args), indent=4) + '\n').encode()))
    interruption.stop_on_signal(trainer, snapshots.save)
    with kernels.own_cores():
        trainer.run(show_loop_exception_msg=False)


if __name__ == '__main__':
    main()
