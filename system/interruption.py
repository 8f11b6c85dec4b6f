import os
import signal
import sys


def quit_on_signal(message='interrupted before the first iteration'):
    """Lets Ctrl-C and SIGTERM end the program at once, with 130 and 143.

    Python's own KeyboardInterrupt shows a traceback, comes up wherever Python
    is, and is lost where that is a destructor or a callback. Files are whole
    at any moment, so that nothing has to be cleaned up.

    Args:
        message (str): What to say on stderr.

    """
    def handle(number, frame):
        os.write(2, message.encode() + b'\n')
        os._exit(128 + number)

    _set(handle)


def stop_on_signal(trainer, save):
    """Lets Ctrl-C and SIGTERM end a trainer after the iteration at hand.

    A snapshot is saved and the program ends with exit status 130 or 143. A
    second signal ends it at once.

    Args:
        trainer (~chainer.training.Trainer): The trainer.
        save (callable): Takes the trainer, writes a snapshot and returns its
            path.

    """
    received = []

    def remember(number, frame):
        received.append(number)
        quit_on_signal('interrupted again; --autoload goes on from the last '
                       'snapshot')

    def stop(trainer):
        if received:
            path = save(trainer)
            print(f'interrupted at iteration {trainer.updater.iteration}, '
                  f'{path} is written; the same command with --autoload goes '
                  'on from there', file=sys.stderr)
            sys.exit(128 + received[0])

    _set(remember)
    # After everything else of the iteration, with a trigger without state.
    trainer.extend(stop, name='stop_on_signal', trigger=lambda _: True,
                   priority=-1000)


def _set(handler):
    for number in signal.SIGINT, signal.SIGTERM:
        # A shell lets the programs in its background ignore Ctrl-C.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
