#!/usr/bin/env python
"""Trains a network with binarized weights and activations."""
import os
import sys

if __name__ == '__main__':
    # Python's options -P and -I leave out the program's own folder.
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from system import interruption
    # From here on: the imports below take a second.
    interruption.quit_on_signal()

import argparse
import contextlib
import functools
import json

import chainer_compat
import chainer
from chainer.training import Trainer, extensions, updaters
import numpy

import kernels
from data import reading, sets
from recipes import build, choices, schedule
from system import command_line, files, interruption, snapshot_file
from system.command_line import integer
from system.errors import InputError
from training import (
    array_dataset, divergence, latent_weights, priorities, reports,
    run_folder, run_state, snapshots, tensorboard)
from training.array_iterator import ArrayIterator, send_arrays
from training.population_statistics import PopulationStatistics
from training.processes import join
from training.sign_changes import SignChanges
from training.step_size import StepSize
from training.stop_on_signal import StopOnSignal


def parse_args(argv=None):
    # The recipe is read first: the defaults of the others are its own.
    first = command_line.ArgumentParser(
        'train_mnist.py', add_help=False, allow_abbrev=False)
    choices.add_recipe(first)
    defaults = choices.RECIPES[first.parse_known_args(argv)[0].recipe]

    parser = command_line.ArgumentParser(
        'train_mnist.py', description=__doc__, allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--gpu', '-g', type=integer(-1), default=-1,
                        metavar='ID',
                        help='id of the GPU; -1 is the CPU')
    parser.add_argument('--mpi', action='store_true',
                        help='be one of several processes, under mpiexec; '
                             'the mini-batch is that of each')
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
    parser.add_argument('--inside', action='store_true',
                        help='log and draw where the latent weights are')
    parser.add_argument('--tensorboard', metavar='DIR',
                        help='folder to write the log to, for TensorBoard')
    parser.add_argument('--summary', action='store_true',
                        help='print a table of the layers and stop')
    reading.add_flags(parser)
    group = parser.add_argument_group('the recipe and its choices')
    choices.add_recipe(group)
    choices.add_arguments(group)
    parser.set_defaults(**defaults)
    return parser, parser.parse_args(argv)


def main(argv=None):
    """Runs the program.

    Args:
        argv (list of str): The arguments, by default those of the command
            line.

    Raises:
        SystemExit: With status 2 where an argument or a file cannot be used,
            with 128 and the number of a signal that ends the run: Ctrl-C,
            SIGTERM, SIGUSR1, and SIGPIPE where the output is closed.

    """
    parser, args = parse_args(argv)
    with join(parser, args) as world:
        settings = choices.settings(args)
        if args.summary:
            images = read_data(args)
            print(build.summary(settings, *images.sizes, images.shape))
            return
        check_needs(args, world)

        # Data
        image_set = read_data(args)
        train, evaluated = array_dataset.for_run(args, image_set)

        # Model
        gpu = world.gpu(args.gpu)
        device = chainer.get_device('@numpy' if gpu < 0 else f'@cupy:{gpu}')
        device.use()
        set_seed(args.seed, device)
        model = build.make_classifier(
            settings, *image_set.sizes, image_set.shape)
        model.to_device(device)

        # Optimizer
        optimizer = world.optimizer(build.make_optimizer(settings, model))

        # Trainer
        trainer = make_trainer(args, device, optimizer, train, world)

        # Extensions
        if args.evaluation == 'population':
            trainer.extend(PopulationStatistics(
                model.predictor, args.batchsize))
        add_evaluators(trainer, args, device, model, evaluated, world)
        add_state(trainer, args, settings, image_set, device, model)
        for extension in world.extensions(model):
            trainer.extend(extension)
        if world.rank == 0:
            add_reports(trainer, args, evaluated, model.predictor)

        # Run
        with start_from(parser, args, trainer, world) as (snapshot, moved):
            if trainer.updater.epoch >= args.epoch:
                print(f'{snapshot} is at epoch {trainer.updater.epoch} '
                      'already; a larger --epoch goes on from there')
                return
            world.synchronize(trainer)
            print_settings(
                args, device, image_set, world, snapshot, moved)
            run(parser, args, image_set, trainer, world)
        if args.validation and world.rank == 0:
            reports.print_best(trainer.get_extension('LogReport').log)


def check_needs(args, world):
    """Raises an InputError, before anything is read, for what is missing."""
    if chainer.config.dtype != numpy.float32:
        dtype = numpy.dtype(chainer.config.dtype)
        raise InputError(f'CHAINER_DTYPE is {dtype}: the program trains in '
                         'float32, unset it')
    if args.gpu >= 0:
        command_line.check_gpu(world.gpu(args.gpu))
    if not args.noplot:
        command_line.check_matplotlib('a run without --noplot')
    if args.tensorboard is not None:
        tensorboard.check(args.tensorboard, args.out)


def read_data(args):
    """Returns the data set that the arguments name."""
    return sets.read(args.data, reading.from_args(args),
                     say=lambda line: command_line.say(f'data: {line}'))


def set_seed(seed, device):
    """Seeds NumPy's random numbers, and CuPy's if that is the device's."""
    numpy.random.seed(seed)
    if device.xp is not numpy:
        device.xp.random.seed(seed)


def make_trainer(args, device, optimizer, train, world):
    """Returns the trainer, which updates the model on batches."""
    share = world.scatter(train)
    # Batch normalization is over the batches of all, the shift-based is not.
    n_together = args.batchsize * (
        world.size if args.normalization == 'batch' else 1)
    if n_together < 2:
        raise InputError('--batchsize must be at least 2, got 1: of a single '
                         'image batch normalization leaves nothing')
    if args.batchsize > len(share):
        raise InputError(
            f'--batchsize must be at most {len(share)}, the number of images '
            f'of each of {world.size} processes, got {args.batchsize}')
    iterator = ArrayIterator(share.send(device), args.batchsize)
    updater = updaters.StandardUpdater(
        iterator, optimizer, converter=send_arrays, device=device)
    return Trainer(updater, (args.epoch, 'epoch'),
                   out=world.out(args.out))


def add_evaluators(trainer, args, device, model, evaluated, world):
    """Adds the evaluation of each set at the end of an epoch."""
    batchsize, least = build.evaluation_batch(vars(args), model.predictor)
    for name, dataset in evaluated.items():
        iterator = ArrayIterator(
            world.share(dataset).send(device), batchsize,
            repeat=False, shuffle=False, least=least)
        trainer.extend(world.evaluator(
            iterator, model, converter=send_arrays, device=device), name=name)


def add_state(trainer, args, settings, image_set, device, model):
    """Adds what decides how the training goes on."""
    settings = {**settings, **image_set.settings}
    trainer.extend(StepSize(functools.partial(schedule.sizes, settings)))
    trainer.extend(divergence.Watch())
    trainer.extend(SignChanges(model.predictor))
    trainer.extend(run_state.RandomState(args.seed, device.xp))
    # What an older snapshot does not know had its default, or is not known.
    trainer.extend(run_state.Settings(
        settings, free=('recipe', 'epoch'),
        defaults={**choices.RECIPES['binarized'], **image_set.settings}))


def add_reports(trainer, args, evaluated, net):
    """Adds what writes to the folder of the results, and prints."""
    trainer.extend(reports.DumpGraph('main/loss'))
    trainer.extend(snapshots.save, name='snapshot',
                   priority=priorities.SNAPSHOT,
                   trigger=snapshots.every(args.frequency, args.epoch))
    trainer.extend(reports.LogReport())
    if not args.noplot:
        for plot in reports.curves(len(net.layers()) - 1, evaluated):
            trainer.extend(plot)
    if args.inside:
        for look in latent_weights.extensions(net, not args.noplot):
            trainer.extend(look)
    if args.tensorboard is not None:
        trainer.extend(tensorboard.TensorBoard(args.tensorboard))
    trainer.extend(reports.PrintReport(reports.columns(evaluated)))
    if reports.has_progress_bar():
        # A trigger without state, so that the snapshots of a run on a terminal
        # and of one in the background are the same.
        trainer.extend(extensions.ProgressBar(), trigger=lambda _: True)


@contextlib.contextmanager
def start_from(parser, args, trainer, world):
    """Brings the trainer to the start of the run, in a folder of its own.

    Yields the snapshot that the run goes on from, and the new name of an
    earlier run's folder; ``None`` where there is none.
    """
    if world.rank:
        yield None, None  # It gets its state from rank 0.
        return
    snapshot = args.resume
    if snapshot:
        snapshots.load(snapshot, trainer)
        if trainer.updater.epoch >= args.epoch:
            yield snapshot, None
            return
    # What is continued is no earlier run.
    go_on = args.autoload or snapshot_file.is_newest(snapshot, args.out)
    with run_folder.claim(args.out, go_on) as moved:
        if args.autoload:
            snapshot = snapshots.load_newest(args.out, trainer, parser.warn)
        if snapshot:
            before = trainer.get_extension('Settings').loaded
            other_steps = schedule.difference(vars(args), before)
            if other_steps and trainer.updater.epoch < args.epoch:
                parser.warn(other_steps)
        yield snapshot, moved


def print_settings(args, device, image_set, world, snapshot, moved):
    """Prints what the program is about to do."""
    print(f'GPU: {args.gpu}')
    if args.data:
        print('# data: {}, {} pixels, {} classes'.format(
            args.data, *image_set.sizes))
    if args.channels:
        print(f'# channels: {args.channels}, blocks: {args.blocks}')
    print(f'# unit: {args.unit}')
    print(f'# Minibatch-size: {args.batchsize}')
    if args.mpi:
        print(f'# processes: {world.size}, '
              f'{world.size * args.batchsize} images in an iteration')
    print(f'# epoch: {args.epoch}')
    if args.recipe != 'binarized':
        print(f'# recipe: {args.recipe}')
    print(f'# kernels: {kernels.description(device.xp)}')
    if moved:
        print(f'# earlier run: renamed to {moved}')
    if snapshot:
        if moved and not os.path.exists(snapshot):
            snapshot = os.path.join(moved, os.path.basename(snapshot))
        print(f'# going on from: {snapshot}')
    print('', flush=True)


def run(parser, args, image_set, trainer, world):
    """Trains, until the last epoch, a signal, or a value that is no number."""
    if world.rank == 0:
        text = json.dumps({**vars(args), **image_set.settings}, indent=4)
        files.write(os.path.join(args.out, 'args.json'),
                    lambda f: f.write(f'{text}\n'.encode()))
    try:
        with interruption.remembered_signals() as received, (
                kernels.own_cores(command_line.say)) as cores:
            trainer.extend(StopOnSignal(received, snapshots.save, world))
            trainer.extend(lambda _: cores.adapt(), 'cores', lambda _: True)
            trainer.run(show_loop_exception_msg=False)
    except divergence.DivergenceError as e:
        newest = next(iter(snapshot_file.find(args.out)), 'none')
        parser.error(f'{e}; the last good snapshot: {newest}')


if __name__ == '__main__':
    main()
