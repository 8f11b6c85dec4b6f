"""Ctrl-C and other signals: an end at once, or after the work at hand."""
import contextlib
import os
import signal
import threading

_QUIT = signal.SIGINT, signal.SIGTERM

# SIGUSR1 is what mpiexec passes on, and batch systems send, without a kill
# that follows within a second.
_STOP = (*_QUIT, *([signal.SIGUSR1] if hasattr(signal, 'SIGUSR1') else []))


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

    _set(handle, _QUIT)


@contextlib.contextmanager
def remembered_signals():
    """Keeps Ctrl-C, SIGTERM and SIGUSR1 in a list inside the ``with`` block.

    A second Ctrl-C or SIGTERM ends the program at once. In a thread that is
    not the main one, which Python gives no signals, the list stays empty. The
    handlers that were there come back at the end.

    Yields:
        list of int: Numbers of the signals received.

    """
    received = []

    def remember(number, frame):
        received.append(number)
        quit_on_signal('interrupted again; --autoload goes on from the last '
                       'snapshot')

    before = _set(remember, _STOP)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _set(handler, numbers):
    """Sets a handler of signals; returns those that were there."""
    before = {}
    if threading.current_thread() is not threading.main_thread():
        return before
    for number in numbers:
        # A shell lets the programs in its background ignore Ctrl-C. None is
        # a handler that was not set by Python.
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, handler)
    return before
