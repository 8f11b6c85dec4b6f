"""Training by several processes, on one machine or many, through ChainerMN.

Each process has its share of the examples and the same number of them in a
mini-batch; gradients and the statistics of batch normalization are averaged
over all. All draw the same random numbers from the same state, so that the
state of rank 0, which alone prints and saves, is that of all.
"""
import contextlib
import functools
import hashlib
import io
import shutil
import sys
import tempfile
import time
import traceback

import chainer_compat  # noqa: F401  (makes Chainer importable)
from chainer import datasets
from chainer import serializers
from chainer.functions.normalization import batch_normalization
from chainer.training import extension
import numpy

from layers.batch_normalization import BatchNormalization
from training.exact_evaluator import ExactEvaluator

# Extensions that only rank 0 has, by a part of their name.
_WRITERS = ('snapshot', 'report', 'plot', 'graph', 'progress')


class World:
    """The processes of a run: here, one."""

    rank, size = 0, 1

    def scatter(self, dataset):
        """Returns this process's share of the training set.

        All shares are drawn at random, the same in each run, and of one size:
        some examples are in two of them.
        """
        return dataset

    def share(self, dataset):
        """Returns this process's share of a set to evaluate on."""
        return dataset

    def connect(self, trainer):
        """Makes a trainer work with those of the other processes."""

    def synchronize(self, trainer):
        """Copies the state of rank 0's trainer to all."""


class MultiNodeWorld(World):
    """The processes of an MPI run.

    Args:
        communicator (~chainermn.CommunicatorBase): ChainerMN's communicator.

    """

    def __init__(self, communicator):
        self.communicator = communicator
        self.mpi = communicator.mpi_comm
        self.rank, self.size = communicator.rank, communicator.size
        self.is_synchronized = False

    def scatter(self, dataset):
        n = len(dataset)
        # At random: every second image of MNIST is harder to read, and what
        # rank 0 prints of the training is of its share.
        order = numpy.random.RandomState(0).permutation(n)
        indices = order[numpy.arange(-(-n // self.size) * self.size) % n]
        return _take(dataset, indices[self.rank::self.size])

    def share(self, dataset):
        return _take(dataset, slice(self.rank, None, self.size))

    def connect(self, trainer):
        from chainermn import create_multi_node_optimizer

        updater = trainer.updater
        optimizer = updater.get_optimizer('main')
        iterator = updater.get_iterator('main')
        if iterator.batch_size > len(iterator.dataset):
            raise ValueError(
                f'--batchsize must be at most {len(iterator.dataset)}, the '
                f'number of images of each of {self.size} processes, got '
                f'{iterator.batch_size}')
        optimizer = updater._optimizers['main'] = (
            create_multi_node_optimizer(optimizer, self.communicator))
        # Its first update would send the parameters instead; synchronize does.
        optimizer.is_changed(optimizer.target)
        for link in optimizer.target.links():
            if isinstance(link, BatchNormalization):
                link.impl_selector = self._select_impl
        for name, entry in list(trainer._extensions.items()):
            if isinstance(entry.extension, ExactEvaluator):
                entry.extension.evaluate = functools.partial(
                    self._evaluate, entry.extension)
            elif self.rank and any(word in name.lower() for word in _WRITERS):
                del trainer._extensions[name]
        trainer.extend(SameParameters(self.mpi, optimizer.target))

    def synchronize(self, trainer):
        state = None
        if self.rank == 0:
            serializer = serializers.DictionarySerializer()
            _serialize(trainer, serializer)
            state = serializer.target
        state = self.mpi.bcast(state)
        self.is_synchronized = True
        if state is None:  # Rank 0 had nothing to do.
            sys.exit()
        if self.rank:
            sys.stderr = sys.__stderr__
            # Not strict: Adam's moments are missing before the first step.
            _serialize(trainer, serializers.NpzDeserializer(
                state, strict=False))

    def _select_impl(self, function, inputs):
        from chainermn.functions.batch_normalization import _NcclImpl
        if type(inputs[0]) is not numpy.ndarray:
            return _NcclImpl(self.communicator)
        return _MultiNodeImpl(self.mpi)

    def _evaluate(self, evaluator):
        means = ExactEvaluator.evaluate(evaluator)
        n = len(evaluator.get_iterator('main').dataset)
        means = {key: float(value) for key, value in means.items()}
        everyone = [(n, means) for n, means in self.mpi.allgather((n, means))
                    if n]
        total = sum(n for n, _ in everyone)
        return {key: sum(n * means[key] for n, means in everyone) / total
                for key in everyone[0][1]}


def _serialize(trainer, serializer):
    """Serializes what a snapshot holds but the time, which has not begun."""
    trainer.updater.serialize(serializer['updater'])
    for name, entry in trainer._extensions.items():
        for kind, part in (('extensions', entry.extension),
                           ('triggers', entry.trigger)):
            if hasattr(part, 'serialize'):
                part.serialize(serializer[kind][name])


class _NoTerminal:
    """Standard output, which mpiexec makes a terminal even for a file."""

    def __init__(self, stream):
        self._stream = stream

    def isatty(self):
        return False

    def __getattr__(self, name):
        return getattr(self._stream, name)


def _take(dataset, indices):
    return datasets.TupleDataset(
        *(array[indices] for array in dataset._datasets))


class _MultiNodeImpl(batch_normalization.GeneralBatchNormalizationImpl):
    """Batch normalization over the batches of all processes, on the CPU.

    ChainerMN's own subtracts a square in single precision, and takes the
    variance of the running statistics for that of a batch of one process.
    """

    def __init__(self, mpi):
        self.mpi = mpi

    def forward(self, axis, gamma, x, x_layout, xp, expander,
                beta, eps, decay, running_mean, running_var):
        (y, x_layout, _, _, mean, var, inv_std, data) = super().forward(
            axis, gamma, x, x_layout, xp, expander, beta, eps, decay, None,
            None)
        if running_mean is not None:
            n = self.mpi.size * x.size // gamma.size
            adjust = n / max(n - 1., 1.)
            running_mean *= decay
            running_mean += (1 - decay) * mean
            running_var *= decay
            running_var += (1 - decay) * adjust * var
        return (y, x_layout, running_mean, running_var, mean, var, inv_std,
                data)

    def get_mean_and_var(self, axis, gamma, x, xp, interm_dtype):
        mean, square = self._mean(
            x.mean(axis=axis, dtype=numpy.float64),
            numpy.square(x, dtype=numpy.float64).mean(axis=axis))
        return (mean.astype(interm_dtype),
                (square - numpy.square(mean)).clip(0).astype(interm_dtype))

    def get_ggamma_and_gbeta(self, axis, gamma, gy, x_hat, xp):
        gbeta, ggamma = self._mean(
            gy.sum(axis=axis, dtype=numpy.float64),
            (gy * x_hat).sum(axis=axis, dtype=numpy.float64))
        return gbeta.astype(gamma.dtype), ggamma.astype(gamma.dtype)

    def _mean(self, *arrays):
        """Returns the means over the processes, the same bits on each."""
        together = numpy.stack(arrays)
        result = numpy.empty_like(together)
        self.mpi.Allreduce(together, result)
        return result / self.mpi.size


class SameParameters(extension.Extension):
    """Trainer extension that checks that all processes have the same net.

    At the end of each epoch, bit for bit.

    Args:
        mpi (mpi4py.MPI.Comm): The processes.
        model (~chainer.Link): The network.

    """

    name = 'same_parameters'
    priority = extension.PRIORITY_EDITOR

    def __init__(self, mpi, model):
        self._mpi = mpi
        self._model = model

    def trigger(self, trainer):
        return trainer.updater.is_new_epoch

    def __call__(self, trainer):
        digests = self._mpi.allgather(digest(self._model))
        if len(set(digests)) != 1:
            raise RuntimeError(
                'the parameters of the processes differ: '
                + ', '.join(digest[:8] for digest in digests))


def digest(model):
    """Returns the SHA-256 of a network's arrays."""
    serializer = serializers.DictionarySerializer()
    serializer.save(model)
    sha256 = hashlib.sha256()
    for name in sorted(serializer.target):
        sha256.update(name.encode())
        sha256.update(numpy.ascontiguousarray(serializer.target[name]))
    return sha256.hexdigest()


@contextlib.contextmanager
def join(args, parser):
    """Joins the other processes, where ``args.mpi`` asks for it.

    Inside the block, all ranks but 0 print nothing, and work in a folder of
    their own. If one of them leaves it with an error, all are ended.

    Args:
        args (argparse.Namespace): Arguments of the program.
        parser (argparse.ArgumentParser): Whose error ends the program.

    Yields:
        World: The processes.

    """
    if not args.mpi:
        yield World()
        return
    try:
        from mpi4py import MPI
        import chainermn
    except (ImportError, RuntimeError) as e:
        parser.error('--mpi needs mpi4py and an MPI library: install '
                     f'requirements-mpi.txt ({e})')
    world = scratch = None
    try:
        try:
            world = MultiNodeWorld(chainermn.create_communicator(
                'naive' if args.gpu == -1 else 'pure_nccl'))
        except (ImportError, RuntimeError) as e:
            parser.error(f'--mpi with --gpu needs NCCL: {e}')
        if args.gpu >= 0:
            args.gpu += world.communicator.intra_rank
        if world.rank:
            scratch = tempfile.mkdtemp()
            args.out, args.noplot = scratch, True
            args.resume, args.autoload = None, False
            sys.stdout = io.StringIO()
            # What is wrong is mostly wrong everywhere, and rank 0 says it.
            sys.stderr = io.StringIO()
        else:
            sys.stdout = _NoTerminal(sys.stdout)
        yield world
        if not world.is_synchronized:  # There was nothing to train.
            world.mpi.bcast(None)
    except BaseException as e:
        code = (e.code if isinstance(e, SystemExit)
                else 130 if isinstance(e, KeyboardInterrupt) else 1)
        if code:
            _abort(MPI, world, code, e)
        raise
    finally:
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)


def _abort(MPI, world, code, error):
    """Ends all processes; none of them would hear of it otherwise."""
    stderr = sys.__stderr__
    if world and world.rank and not world.is_synchronized:
        time.sleep(2)  # Rank 0 has the first word.
        stderr.write(sys.stderr.getvalue())
    if not isinstance(error, (SystemExit, KeyboardInterrupt)):
        stderr.write(f'rank {MPI.COMM_WORLD.rank}:\n')
        traceback.print_exception(
            type(error), error, error.__traceback__, file=stderr)
    stderr.flush()
    sys.stdout.flush()
    MPI.COMM_WORLD.Abort(code if isinstance(code, int) else 1)
