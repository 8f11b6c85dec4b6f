import sys

import chainer_compat
from chainer.training import extension

from training import priorities


class StopOnSignal(extension.Extension):
    """Trainer extension that ends a run on Ctrl-C, SIGTERM and SIGUSR1.

    After the iteration at hand a snapshot is saved, and the program ends with
    exit status 128 and the signal's number: 130, 143 or 138.

    Args:
        received (list of int): Numbers of the signals received, see
            :func:`system.interruption.remembered_signals`.
        save (callable): Takes the trainer, writes a snapshot and returns its
            path.
        world (~training.world.World): The processes of the run. All stop
            after the same iteration, whichever has got the signal, and rank 0
            saves.

    """

    name = 'stop_on_signal'
    priority = priorities.STOP

    def __init__(self, received, save, world):
        self._received = received
        self._save = save
        self._world = world

    def trigger(self, trainer):
        return True

    def __call__(self, trainer):
        number = self._world.largest(max(self._received, default=0))
        if not number:
            return
        if self._world.rank == 0:
            path = self._save(trainer)
            print(f'interrupted at iteration {trainer.updater.iteration}, '
                  f'{path} is written; the same command with --autoload goes '
                  'on from there', file=sys.stderr)
        self._world.leave()
        sys.exit(128 + number)
