#!/usr/bin/env python
"""Trains a multi-layer perceptron with binarized weights and activations."""
from system import interruption

if __name__ == '__main__':
    # From here on: the imports below take a second.
    interruption.quit_on_signal()

import argparse
import contextlib
import functools
import json
import os
import sys

import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer
from chainer import training
from chainer.training import extensions
import numpy

import kernels
from recipes import build as recipes
from system import files
from system.command_line import (
    ArgumentParser, check_gpu, check_matplotlib, integer, print_any_name)
from training import array_dataset
from training import divergence
from training import multi_node
from training import reports
from training import run_folder
from training import snapshots
from training.array_iterator import ArrayIterator, send_arrays, send_dataset
from training.exact_evaluator import ExactEvaluator
from training.sign_changes import SignChanges
from training.step_size import StepSize

# The evaluation's batch: large enough for the matrix products to run at full
# speed, small enough for their results to stay in the cache.
EVALUATION_BATCHSIZE = 1000


def parse_args(argv=None):
    # The recipe is read first: the defaults of the others are its own.
    first = ArgumentParser(add_help=False, allow_abbrev=False)
    recipe = first.add_argument(
        '--recipe', choices=recipes.RECIPES, default='binarized',
        help='set of defaults for what follows')
    defaults = recipes.RECIPES[first.parse_known_args(argv)[0].recipe]

    parser = ArgumentParser(
        description=__doc__, allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--gpu', '-g', type=integer(-1), default=-1,
                        metavar='ID',
                        help='id of the GPU; -1 is the CPU')
    parser.add_argument('--mpi', action='store_true',
                        help='be one of several processes, under mpiexec; '
                             'the mini-batch is that of each')
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
    settings = parser.add_argument_group('the recipe and its choices')
    settings._add_action(recipe)
    recipes.add_arguments(settings)
    parser.set_defaults(**defaults)
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


def get_data(settings, folder=None):
    """Returns the data as a run takes it: the sets to train and to test on.

    Args:
        settings (dict): The choices of the recipe.
        folder (str): Folder of the data set, ``None`` for MNIST.

    Returns:
        tuple: The training set, and a dictionary of the sets to evaluate on:
        ``validation`` is the last part of the training images or, where none
        are held out, the test images; else these are ``test``.

    """
    train, test = (array_dataset.get_idx(folder) if folder
                   else array_dataset.get_mnist())
    n_held_out = settings['validation']
    n = len(train) - n_held_out
    if n < 1:
        raise ValueError(f'--validation must be less than {len(train)}, the '
                         f'number of images, got {n_held_out}')
    if settings['batchsize'] > n:
        raise ValueError(f'--batchsize must be at most {n}, the number of '
                         f'images, got {settings["batchsize"]}')
    if settings['input_range'] == 'symmetric':
        train, test = map(array_dataset.symmetric, (train, test))
    if not n_held_out:
        return train, {'validation': test}
    train, held_out = array_dataset.split(train, n)
    return train, {'validation': held_out, 'test': test}


def make_trainer(args, device, train, evaluated, world):
    settings = recipes.settings(args)
    model = recipes.make_classifier(
        settings, *array_dataset.sizes(train, *evaluated.values()))
    model.to_device(device)
    device.use()
    optimizer = recipes.make_optimizer(settings, model)

    train_iter = ArrayIterator(
        send_dataset(world.scatter(train), device), args.batchsize)
    updater = training.updaters.StandardUpdater(
        train_iter, optimizer, converter=send_arrays, device=device)
    trainer = training.Trainer(updater, (args.epoch, 'epoch'), out=args.out)

    for name, dataset in evaluated.items():
        # Where a batch's own statistics count, it is of the training's size.
        iterator = ArrayIterator(
            send_dataset(world.share(dataset), device),
            args.batchsize if args.evaluation == 'batch'
            else EVALUATION_BATCHSIZE, repeat=False, shuffle=False)
        trainer.extend(ExactEvaluator(
            iterator, model, converter=send_arrays, device=device), name=name)
    trainer.extend(SignChanges(model.predictor))
    trainer.extend(StepSize(functools.partial(recipes.step_size, settings)))
    trainer.extend(divergence.watch, name='divergence',
                   trigger=divergence.is_due, priority=divergence.PRIORITY)
    trainer.extend(reports.DumpGraph('main/loss'))
    trainer.extend(snapshots.RandomState(args.seed, device.xp))
    trainer.extend(snapshots.Settings(settings, free=('recipe', 'epoch')))
    trainer.extend(snapshots.save, name='snapshot', priority=-100,
                   trigger=snapshots.every(args.frequency, args.epoch))
    trainer.extend(reports.LogReport())
    if not args.noplot:
        for plot in make_plots(args.layers, evaluated):
            trainer.extend(plot)
    columns = ['epoch', 'main/loss', 'validation/main/loss', 'main/accuracy',
               'validation/main/accuracy', 'test/main/accuracy',
               'elapsed_time']
    if 'test' not in evaluated:
        columns.remove('test/main/accuracy')
    trainer.extend(reports.PrintReport(columns))
    if sys.stdout.isatty():
        # A trigger without state, so that the snapshots of a run on a terminal
        # and of one in the background are the same.
        trainer.extend(extensions.ProgressBar(), trigger=lambda _: True)
    return trainer


def make_plots(n_hidden, evaluated):
    """Yields the extensions that draw the curves of a run."""
    for value in 'loss', 'accuracy':
        curves = {f'main/{value}': 'training'}
        for name in evaluated:
            # Without images held out, those to validate on are the test's.
            label = name if 'test' in evaluated else 'test'
            curves[f'{name}/main/{value}'] = label
        yield reports.PlotReport(curves, value, f'{value}.png')
    net = 'main/predictor'
    yield reports.PlotReport(
        {f'{net}/sign_changes{k}': f'layer {k}'
         for k in range(1, n_hidden + 2)},
        'share of weights that changed sign', 'sign_changes.png')
    yield reports.PlotReport(
        {f'{net}/blocked{k}': f'layer {k}' for k in range(1, n_hidden + 1)},
        'share of blocked activation gradients', 'blocked.png')


def print_best(log):
    """Prints the test error at the best validation epoch and at the last."""
    best = max(log, key=lambda entry: entry['validation/main/accuracy'])
    best, last = ((entry['epoch'], 100 * (1 - entry['test/main/accuracy']))
                  for entry in (best, log[-1]))
    print(f'test error: {best[1]:.2f} % at the best validation epoch, '
          f'{best[0]}; {last[1]:.2f} % at the last, {last[0]}')


def main():
    print_any_name()
    parser, args = parse_args()
    with multi_node.join(args, parser) as world, \
            contextlib.ExitStack() as stack:
        run(parser, args, world, stack)


def run(parser, args, world, stack):
    try:
        if args.summary:
            n_in, n_out = (
                array_dataset.sizes(*array_dataset.get_idx(args.data))
                if args.data else (784, 10))
            print(recipes.summarize(recipes.settings(args), n_in, n_out))
            return
        device = get_device(args.gpu)
        if not args.noplot:
            check_matplotlib('a run without --noplot')
        train, evaluated = get_data(recipes.settings(args), args.data)
        set_seed(args.seed, device)
        trainer = make_trainer(args, device, train, evaluated, world)
        world.connect(trainer)
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
    world.synchronize(trainer)

    try:
        print_settings(args, device, snapshot, moved, world,
                       array_dataset.sizes(train, *evaluated.values()))
        run_trainer(args, trainer)
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


def print_settings(args, device, snapshot, moved, world, sizes):
    """Prints what the program is about to do."""
    print(f'GPU: {args.gpu}')
    if args.data:
        print('# data: {}, {} pixels, {} classes'.format(args.data, *sizes))
    print(f'# unit: {args.unit}')
    print(f'# Minibatch-size: {args.batchsize}')
    if args.mpi:
        print(f'# processes: {world.size}, '
              f'{world.size * args.batchsize} images in an iteration')
    print(f'# epoch: {args.epoch}')
    if args.recipe != 'binarized':
        print(f'# recipe: {args.recipe}')
    print(f'# kernels: {kernels.description(device.xp)}')
    if snapshot:
        print(f'# going on from: {snapshot}')
    if moved:
        print(f'# earlier run: renamed to {moved}')
    print('', flush=True)


def run_trainer(args, trainer):
    files.write(os.path.join(args.out, 'args.json'), lambda f: f.write(
        (json.dumps(vars(args), indent=4) + '\n').encode()))
    interruption.stop_on_signal(trainer, snapshots.save)
    with kernels.own_cores():
        trainer.run(show_loop_exception_msg=False)
    if args.validation:
        print_best(trainer.get_extension('LogReport').log)


if __name__ == '__main__':
    main()
