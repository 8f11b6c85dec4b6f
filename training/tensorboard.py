import os
import pathlib

import chainer_compat
from chainer.training import extension

from system.command_line import make_folder, needed
from system.errors import InputError
from training import latent_weights, priorities, run_folder


def check(folder, out):
    """Makes the folder of TensorBoard's files, unless it is the run's.

    A folder inside that of the results is made with the first file in it: it
    would be a file of somebody else before the run has claimed the folder.

    Args:
        folder (str): The folder, which may be there already.
        out (str): Folder of the results.

    Raises:
        InputError: If it cannot be made or stands in the place of a file of
            the run's, or there is no tensorboardX that works.

    """
    with needed('tensorboardX', '--tensorboard needs tensorboardX'):
        import tensorboardX  # noqa: F401
    real, real_out = (pathlib.Path(path).resolve() for path in (folder, out))
    if real_out not in real.parents:
        make_folder(folder, '--tensorboard')
        return
    name = real.relative_to(real_out).parts[0]
    if run_folder.is_of_a_run(name) or any(
            path.exists() and not path.is_dir()
            for path in (real, *real.parents)):
        raise InputError(f'cannot make the folder {folder}: it is a file of '
                         'the results; choose another one with --tensorboard')


class TensorBoard(extension.Extension):
    """Trainer extension that writes the log's numbers for TensorBoard.

    The steps are epochs. Of a run that goes on from a snapshot, TensorBoard
    forgets what it was told of later epochs. Histograms of the latent weights
    are written as such where the log has them.

    Args:
        folder (str): Folder of TensorBoard's files; each process adds one.

    """

    priority = priorities.PLOT

    def __init__(self, folder):
        self._folder = folder
        self._writer = None

    def trigger(self, trainer):
        return trainer.updater.is_new_epoch

    def initialize(self, trainer):
        from tensorboardX import SummaryWriter

        epoch = trainer.updater.epoch
        # A file's name has the second in it, of which two runs may be.
        self._writer = SummaryWriter(
            self._folder, purge_step=epoch + 1,
            filename_suffix=f'.{epoch:06}.{os.getpid()}')

    def __call__(self, trainer):
        entry = trainer.get_extension('LogReport').log[-1]
        epoch = entry['epoch']
        for key, value in entry.items():
            if key != 'epoch' and not latent_weights.is_of_histogram(key):
                self._writer.add_scalar(key, value, epoch)
        k = 1
        while latent_weights.histogram(entry, k):
            self._add_histogram(
                f'latent weights/layer {k}',
                latent_weights.histogram(entry, k), epoch)
            k += 1
        self._writer.flush()

    def _add_histogram(self, tag, shares, epoch):
        edges = latent_weights.EDGES
        middles = (edges[:-1] + edges[1:]) / 2
        self._writer.add_histogram_raw(
            tag, min=edges[0], max=edges[-1], num=sum(shares),
            sum=(middles * shares).sum(),
            sum_squares=(middles ** 2 * shares).sum(),
            bucket_limits=edges[1:].tolist(), bucket_counts=shares,
            global_step=epoch)

    def finalize(self):
        if self._writer is not None:
            self._writer.close()
