"""Runs train_mnist.py on a few images, and kills it at a chosen moment.

    python tests/helpers/small_run.py MOMENT ARGUMENT...

MOMENT is a function and the number of the call that a signal comes before, as
``os.replace:3`` for SIGKILL and ``os.replace:3:2`` for another one, or
``never``. A run takes little longer than its imports.
"""
import importlib
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from system import interruption  # (as the program does)

interruption.quit_on_signal()

import chainer_compat  # noqa: E402

import train_mnist  # noqa: E402
from data import description, mnist, sets  # noqa: E402

# Number of training images. Batches of 70 make no whole epoch.
N_IMAGES = 640


def kill_before(moment):
    """Sends a signal before the n-th call of a function."""
    name, left, number, *_ = f'{moment}:9'.split(':')
    owner, name = name.rsplit('.', 1)
    try:
        owner = importlib.import_module(owner)
    except ImportError:
        module, owner = owner.rsplit('.', 1)
        owner = getattr(importlib.import_module(module), owner)
    function, left = getattr(owner, name), int(left)

    def count(*args, **kwargs):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), int(number))
        return function(*args, **kwargs)

    setattr(owner, name, count)


def small_mnist(path=None, how=None, known=None, say=None):
    """Returns some of the test images, to train and to test on."""
    x, t = mnist.read('test.npz')
    return sets.ImageSet(*(
        (x[part], t[part])
        for part in (slice(N_IMAGES), slice(N_IMAGES, N_IMAGES + 200))),
        description.DIGITS)


if __name__ == '__main__':
    moment = sys.argv.pop(1)
    if moment != 'never':
        kill_before(moment)
    sets.read = small_mnist
    train_mnist.main()
