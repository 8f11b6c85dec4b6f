"""Training by several processes, on one machine or many, through ChainerMN.

Each process has its share of the examples and the same number of them in a
mini-batch; gradients and the statistics of batch normalization are averaged
over all, of the shift-based one only the running averages. All draw the same
random numbers from the same state, so that the state of rank 0, which alone
prints and saves, is that of all.
"""
import contextlib
import hashlib
import io
import shutil
import sys
import tempfile
import time
import traceback

import chainer_compat
from chainer import backend
from chainer import serializers
from chainer.functions.normalization import batch_normalization
from chainer.training import extension
import numpy

from layers.batch_normalization import BatchNormalization, update_averages
from layers.shift_batch_normalization import ShiftBatchNormalization
from system.errors import InputError
from training import priorities
from training.exact_evaluator import ExactEvaluator
from training.world import World


class MultiNodeWorld(World):
    """The processes of an MPI run.

    Args:
        communicator (~chainermn.CommunicatorBase): ChainerMN's communicator.
        scratch (str): Folder that all ranks but 0 write to.

    Attributes:
        is_synchronized (bool): Whether all have the state of rank 0.
        may_leave (bool): Whether this process may end without the others.

    """

    def __init__(self, communicator, scratch=None):
        self.communicator = communicator
        self.mpi = communicator.mpi_comm
        self.rank, self.size = communicator.rank, communicator.size
        self.is_synchronized = self.may_leave = False
        self._scratch = scratch

    def gpu(self, gpu):
        return gpu if gpu < 0 else gpu + self.communicator.intra_rank

    def out(self, out):
        return self._scratch if self.rank else out

    def scatter(self, dataset):
        n = len(dataset)
        # At random: every second image of MNIST is harder to read, and what
        # rank 0 prints of the training is of its share.
        order = numpy.random.RandomState(0).permutation(n)
        indices = order[numpy.arange(-(-n // self.size) * self.size) % n]
        return dataset.take(indices[self.rank::self.size])

    def share(self, dataset):
        return dataset.take(slice(self.rank, None, self.size))

    def optimizer(self, optimizer):
        from chainermn import create_multi_node_optimizer

        for link in optimizer.target.links():
            if isinstance(link, BatchNormalization):
                link.impl_selector = self._select_impl
        optimizer = create_multi_node_optimizer(optimizer, self.communicator)
        # Its first update would send the parameters instead; synchronize does.
        optimizer.is_changed(optimizer.target)
        return optimizer

    def _select_impl(self, function, inputs):
        return _MultiNodeImpl(self.mpi)

    def evaluator(self, *args, **kwargs):
        return _MultiNodeEvaluator(self.mpi, *args, **kwargs)

    def extensions(self, model):
        return [*self._common_averages(model),
                SameParameters(self.mpi, model)]

    def _common_averages(self, model):
        """Yields what averages the statistics of shift-based normalization.

        In each iteration, so that any snapshot of rank 0 has those of all.
        """
        from chainermn.extensions import AllreducePersistent

        if any(isinstance(link, ShiftBatchNormalization)
               for link in model.links()):
            averages = AllreducePersistent(model, self.communicator)
            averages.trigger = 1, 'iteration'
            yield averages

    def synchronize(self, trainer):
        state = None
        if self.rank == 0:
            serializer = serializers.DictionarySerializer()
            _serialize(trainer, serializer)
            state = serializer.target
        self.finish_start(state, trainer)

    def finish_start(self, state, trainer=None):
        """Sends the state of rank 0 to all; without one all end."""
        state = self.mpi.bcast(state)
        self.is_synchronized = True
        if self.rank:
            sys.stderr = sys.__stderr__  # From now on each speaks for itself.
        if state is None:  # Rank 0 had nothing to do.
            self.may_leave = True
            if self.rank:
                sys.exit()
        elif self.rank:
            # Not strict: others have no reports, nor Adam's moments before
            # the first step.
            _serialize(trainer, serializers.NpzDeserializer(
                state, strict=False))

    def largest(self, value):
        result = numpy.empty(1, numpy.int64)
        self.mpi.Allreduce(numpy.array([value]), result, _mpi().MAX)
        return int(result[0])

    def leave(self):
        self.mpi.Barrier()
        self.may_leave = True


def _mpi():
    from mpi4py import MPI
    return MPI


def _serialize(trainer, serializer):
    """Serializes what a snapshot holds but the time, which has not begun."""
    trainer.updater.serialize(serializer['updater'])
    for name, entry in trainer._extensions.items():
        for kind, part in (('extensions', entry.extension),
                           ('triggers', entry.trigger)):
            if hasattr(part, 'serialize'):
                part.serialize(serializer[kind][name])


class _MultiNodeEvaluator(ExactEvaluator):
    """Evaluator whose averages are over the examples of all processes."""

    def __init__(self, mpi, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._mpi = mpi

    def evaluate(self):
        n = len(self.get_iterator('main').dataset)
        means = super().evaluate() if n else {}
        means = {key: float(value) for key, value in means.items()}
        everyone = [(n, means) for n, means in self._mpi.allgather((n, means))
                    if n]
        total = sum(n for n, _ in everyone)
        return {key: sum(n * means[key] for n, means in everyone) / total
                for key in everyone[0][1]}


class _MultiNodeImpl(batch_normalization.GeneralBatchNormalizationImpl):
    """Batch normalization over the batches of all processes.

    ChainerMN's own subtracts a square in single precision, and takes the
    variance of the running statistics for that of a batch of one process.
    From a GPU two vectors of doubles come to the CPU and go back.
    """

    def __init__(self, mpi):
        self.mpi = mpi

    def forward(self, axis, gamma, x, x_layout, xp, expander,
                beta, eps, decay, running_mean, running_var):
        (y, x_layout, _, _, mean, var, inv_std, data) = super().forward(
            axis, gamma, x, x_layout, xp, expander, beta, eps, decay, None,
            None)
        if running_mean is not None:
            update_averages(running_mean, running_var, mean, var,
                            self.mpi.size * x.size // gamma.size, decay)
        return (y, x_layout, running_mean, running_var, mean, var, inv_std,
                data)

    def get_mean_and_var(self, axis, gamma, x, xp, interm_dtype):
        mean, square = self._mean(
            x.mean(axis=axis, dtype=numpy.float64),
            xp.square(x, dtype=numpy.float64).mean(axis=axis))
        return (mean.astype(interm_dtype),
                (square - xp.square(mean)).clip(0).astype(interm_dtype))

    def get_ggamma_and_gbeta(self, axis, gamma, gy, x_hat, xp):
        gbeta, ggamma = self._mean(
            gy.sum(axis=axis, dtype=numpy.float64),
            (gy * x_hat).sum(axis=axis, dtype=numpy.float64))
        return gbeta.astype(gamma.dtype), ggamma.astype(gamma.dtype)

    def _mean(self, *arrays):
        """Returns the means over the processes, the same bits on each."""
        xp = backend.get_array_module(*arrays)
        together = numpy.stack([backend.CpuDevice().send(array)
                                for array in arrays])
        result = numpy.empty_like(together)
        self.mpi.Allreduce(together, result)
        return xp.asarray(result / self.mpi.size)


class SameParameters(extension.Extension):
    """Trainer extension that checks that all processes have the same net.

    At the end of each epoch, bit for bit.

    Args:
        mpi (mpi4py.MPI.Comm): The processes.
        model (~chainer.Link): The network.

    """

    name = 'same_parameters'
    priority = priorities.SAME_PARAMETERS

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


class _NoTerminal:
    """Standard output, which mpiexec makes a terminal even for a file."""

    def __init__(self, stream):
        self._stream = stream

    def isatty(self):
        return False

    def __getattr__(self, name):
        return getattr(self._stream, name)


@contextlib.contextmanager
def join(gpu=-1):
    """Joins the other processes.

    Inside the ``with`` block, all ranks but 0 print nothing, and work in a
    folder of their own. If one of them leaves it with an error, all are ended.

    Args:
        gpu (int): Id of the GPU that the user has chosen; -1 is the CPU.

    Yields:
        MultiNodeWorld: The processes.

    Raises:
        InputError: If MPI or NCCL is missing.

    """
    try:
        from mpi4py import MPI
        import chainermn
    except (ImportError, RuntimeError) as e:
        raise InputError('--mpi needs mpi4py and an MPI library: install '
                         f'requirements-mpi.txt ({e})') from e
    try:
        communicator = chainermn.create_communicator(
            'naive' if gpu < 0 else 'pure_nccl')
    except (ImportError, RuntimeError) as e:
        if MPI.COMM_WORLD.rank == 0:
            raise InputError(f'--mpi with --gpu needs NCCL: {e}') from e
        sys.exit(2)
    with contextlib.ExitStack() as stack:
        scratch = None
        # What is wrong is mostly wrong everywhere, and rank 0 says it.
        unsaid = io.StringIO()
        if communicator.rank:
            scratch = tempfile.mkdtemp()
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(unsaid))
        else:
            stack.enter_context(
                contextlib.redirect_stdout(_NoTerminal(sys.stdout)))
        world = MultiNodeWorld(communicator, scratch)
        try:
            yield world
            if not world.is_synchronized:  # There was nothing to train.
                world.finish_start(None)
        except BaseException as e:
            code = (e.code if isinstance(e, SystemExit)
                    else 130 if isinstance(e, KeyboardInterrupt) else 1)
            if code and not world.may_leave:
                _end_all(world, code, e, unsaid)
            raise


def _end_all(world, code, error, unsaid):
    """Ends all processes; none of them would hear of it otherwise."""
    stderr = sys.__stderr__
    if world.rank and not world.is_synchronized:
        time.sleep(2)  # Rank 0 has the first word.
        stderr.write(unsaid.getvalue())
    if not isinstance(error, (SystemExit, KeyboardInterrupt)):
        stderr.write(f'rank {world.rank}:\n')
        traceback.print_exception(
            type(error), error, error.__traceback__, file=stderr)
    stderr.flush()
    sys.stdout.flush()
    _mpi().COMM_WORLD.Abort(code if isinstance(code, int) else 1)
