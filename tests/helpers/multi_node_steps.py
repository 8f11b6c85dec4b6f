"""Run by mpiexec: steps of the network whose gradients rank 0 writes.

``multi_node_steps.py FILE STEPS FLAG...``: each process takes its rows of the
same batches of 40, images of 5 x 6. The flags are those of train_mnist.py.
"""
import argparse
import sys

import chainer_compat
import numpy
from chainer.training import Trainer, updaters

import train_mnist
from recipes import build, choices
from system.command_line import ArgumentParser
from training import multi_node
from training.array_dataset import ArrayDataset
from training.array_iterator import ArrayIterator, send_arrays
from training.processes import join

BATCH = 40


def main(path, n_steps, flags):
    args = argparse.Namespace(mpi=True, gpu=-1)
    with join(ArgumentParser(), args) as world:
        random = numpy.random.RandomState(0)
        x = random.rand(BATCH * n_steps, 30).astype(numpy.float32)
        t = random.randint(0, 5, len(x)).astype(numpy.int32)
        # The parameters differ, until they are sent.
        numpy.random.seed(world.rank)
        settings = choices.settings(train_mnist.parse_args(
            ['--unit', '20', '--dropout', '0', *flags])[1])
        model = build.make_classifier(settings, 30, 5, (5, 6))
        iterator = ArrayIterator(
            world.scatter(ArrayDataset(x, t)), BATCH // world.size,
            shuffle=False)
        updater = updaters.StandardUpdater(
            iterator,
            world.optimizer(build.make_optimizer(settings, model)),
            converter=send_arrays)
        trainer = Trainer(updater, (n_steps, 'iteration'))
        world.synchronize(trainer)
        digests = world.mpi.allgather(multi_node.digest(model))
        gradients = []
        for _ in range(n_steps):
            updater.update()
            gradients.append({name: param.grad.copy()
                              for name, param in model.namedparams()})
            digests += world.mpi.allgather(multi_node.digest(model))
        if world.rank == 0:
            numpy.savez(
                path, digests=numpy.array(digests).reshape(n_steps + 1, -1),
                mean=model.predictor.bn1.avg_mean,
                var=model.predictor.bn1.avg_var,
                **{f'{i}{name}'.replace('/', '.'): grad
                   for i, step in enumerate(gradients)
                   for name, grad in step.items()})


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
