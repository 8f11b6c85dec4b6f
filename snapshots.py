import functools
import json
import os
import re
import zipfile

import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer
from chainer import serializers
from chainer.training import extension
from chainer.training import extensions
from chainer.training.extensions import snapshot_writers
import numpy

_NAME = 'snapshot_iter_{.updater.iteration}'
_PATTERN = re.compile(r'snapshot_iter_(\d+)$')

# Where a trainer's snapshot holds the parameters of its model.
_MODEL = 'updater/model:main/'


def snapshot():
    """Returns the extension that saves the trainer and keeps the last two.

    The files are not compressed: float32 weights hardly get smaller by it,
    and it would take a good part of an epoch's time.
    """
    writer = snapshot_writers.SimpleWriter(
        functools.partial(serializers.save_npz, compression=False))
    return extensions.snapshot(filename=_NAME, writer=writer, n_retains=2)


class RandomState(extension.Extension):
    """Extension that keeps the state of NumPy's random numbers in snapshots.

    It does nothing but that: with it, a run that goes on from a snapshot draws
    the same numbers as one that was never interrupted.
    """

    def trigger(self, trainer):
        return False

    def __call__(self, trainer):
        raise NotImplementedError  # never triggered

    def serialize(self, serializer):
        name, key, position, has_gauss, gauss = numpy.random.get_state()
        numpy.random.set_state((
            name, serializer('key', key), serializer('position', position),
            serializer('has_gauss', has_gauss), serializer('gauss', gauss)))


class Settings(extension.Extension):
    """Extension that keeps a run's settings in snapshots, as JSON.

    A snapshot of other settings is refused, those named ``free`` aside.

    Args:
        settings (dict): Values of JSON by name.
        free (sequence of str): Names of those that may differ.

    """

    def __init__(self, settings, free=()):
        self._settings = settings
        self._free = free

    def trigger(self, trainer):
        return False

    def __call__(self, trainer):
        raise NotImplementedError  # never triggered

    def serialize(self, serializer):
        if isinstance(serializer, chainer.Serializer):
            text = json.dumps(self._settings).encode()
            serializer('json', numpy.frombuffer(text, numpy.uint8))
            return
        others = json.loads(serializer('json', None).tobytes())
        for name, value in self._settings.items():
            if name not in self._free and others.get(name) != value:
                raise ValueError(f'{name} is {others.get(name)} in the file, '
                                 f'{value} here')


def newest(folder):
    """Returns the path of the snapshot of the latest iteration, or ``None``.

    Args:
        folder (str): Folder of the results, which need not exist.

    """
    names = os.listdir(folder) if os.path.isdir(folder) else []
    matches = [_PATTERN.match(name) for name in names]
    iterations = [int(match.group(1)) for match in matches if match]
    if not iterations:
        return None
    return os.path.join(folder, f'snapshot_iter_{max(iterations)}')


def load(path, trainer):
    """Loads a snapshot into a trainer.

    A snapshot is read as data: no object in it is unpickled.

    Args:
        path (str): File that the extension of :func:`snapshot` wrote.
        trainer (~chainer.training.Trainer): Trainer made with the same
            arguments.

    Raises:
        ValueError: If the file cannot be read, is no snapshot, or is that of
            another network; the message names the file.

    """
    try:
        with numpy.load(path, allow_pickle=False) as npz:
            _check_model(npz, trainer.updater.get_optimizer('main').target)
            serializers.NpzDeserializer(npz).load(trainer)
    except OSError as e:
        raise ValueError(
            f'cannot read the snapshot {path}: {e.strerror or e}') from e
    except (AttributeError, EOFError, KeyError, TypeError, ValueError,
            zipfile.BadZipFile) as e:
        raise ValueError(
            f'{path} is no snapshot of this network: {e}') from e


def _check_model(npz, model):
    """Says which parameter differs, where Chainer would broadcast or fail."""
    for name, param in model.namedparams():
        shape = npz[_MODEL + name.lstrip('/')].shape
        if shape != param.shape:
            raise ValueError(
                f'{name} is {shape} in the file, {param.shape} here')
