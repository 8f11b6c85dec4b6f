import os
import signal
import threading

from system import interruption


def test_signals_are_remembered_and_the_handlers_come_back():
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1
    before = list(map(signal.getsignal, numbers))
    for number in numbers:
        with interruption.remembered_signals() as received:
            os.kill(os.getpid(), number)
            assert received == [number]
        assert list(map(signal.getsignal, numbers)) == before


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruption.remembered_signals() as received:
            os.kill(os.getpid(), signal.SIGINT)
        assert received == []
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_no_handler_is_set():
    results = []

    def run():
        with interruption.remembered_signals() as received:
            results.append((received, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert results == [([], before)]
