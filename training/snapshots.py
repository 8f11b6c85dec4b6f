import json
import os
import re
import warnings

import chainer_compat  # noqa: F401  (makes Chainer importable)
import chainer
from chainer import serializers
from chainer.training import extension
import numpy

from system import files
from system.npz_reader import NpzReader
from training import divergence

_PATTERN = re.compile(r'snapshot_iter_([0-9]+)')

# Snapshots that are kept: if the last one is damaged there is another.
_KEPT = 2

# Array of a snapshot that lists, as JSON, the names of those that are None:
# NumPy would write these as Python objects.
_NONE = 'none'

# An integer of a training's state is not less than 0 and less than this.
_END = 1 << 53


def save(trainer):
    """Trainer extension that saves all that decides the rest of the run.

    A file is written whole or not at all. The last two are kept, in the order
    of the iterations. They are not compressed: float32 weights hardly get
    smaller by it, and it would take a good part of an epoch's time.

    Args:
        trainer (~chainer.training.Trainer): Trainer, while it runs.

    Returns:
        str: Path of the snapshot.

    Raises:
        OSError: If it cannot be written; the earlier ones are still there.
        FloatingPointError: See :func:`training.divergence.check`.

    """
    divergence.check(trainer)
    _init_states(trainer.updater)
    serializer = serializers.DictionarySerializer()
    trainer.serialize(serializer)
    arrays = serializer.target
    none = [name for name in arrays if arrays[name].dtype.hasobject]
    if any(arrays.pop(name)[()] is not None for name in none):
        raise TypeError('a snapshot holds arrays, no Python objects')
    if none:
        arrays[_NONE] = numpy.frombuffer(json.dumps(none).encode(),
                                         numpy.uint8)
    n = trainer.updater.iteration
    path = os.path.join(trainer.out, f'snapshot_iter_{n}')
    files.write_npz(path, arrays)
    # One of a later iteration was damaged: this run would not be here.
    found = find(trainer.out)
    kept = [p for p in found if _iteration(p) <= n][:_KEPT]
    for old in set(found) - set(kept):
        os.unlink(old)
    return path


def every(frequency, n_epochs):
    """Returns the trigger of the snapshots, which has no state.

    Args:
        frequency (int): Number of epochs between two snapshots.
        n_epochs (int): Number of epochs in all; the last one has a snapshot.

    """
    def trigger(trainer):
        updater = trainer.updater
        return updater.is_new_epoch and (
            updater.epoch % frequency == 0 or updater.epoch >= n_epochs)
    return trigger


class RandomState(extension.Extension):
    """Extension that keeps the state of the random numbers in snapshots.

    With it, a run that goes on from a snapshot draws the same numbers as one
    that was never interrupted. NumPy's state is kept. CuPy does not tell its
    own: on a GPU it is set after each iteration, from the seed and the number
    of the iteration.

    Args:
        seed (int): The run's seed; a snapshot's takes its place.
        xp (module): ``numpy`` or ``cupy``.

    """

    # Before the snapshots.
    priority = 0

    def __init__(self, seed=0, xp=numpy):
        self._seed = seed
        self._xp = xp

    def trigger(self, trainer):
        return self._xp is not numpy

    def __call__(self, trainer):
        self._set(trainer.updater.iteration)

    def initialize(self, trainer):
        if self._xp is not numpy and trainer.updater.iteration:
            self._set(trainer.updater.iteration)

    def _set(self, iteration):
        self._xp.random.seed(self._seed << 32 | iteration & 0xffffffff)

    def serialize(self, serializer):
        self._seed = serializer('seed', self._seed)
        name, key, position, has_gauss, gauss = numpy.random.get_state()
        state = (
            name, serializer('key', key), serializer('position', position),
            serializer('has_gauss', has_gauss), serializer('gauss', gauss))
        # Numbers would be read from beyond the end of the key.
        if not 0 <= state[2] <= len(key) or not 0 <= self._seed < 1 << 32:
            raise ValueError('the state of the random numbers is damaged')
        numpy.random.set_state(state)


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


def find(folder):
    """Returns the paths of a folder's snapshots, the latest iteration first.

    Args:
        folder (str): Folder of the results, which need not exist.

    """
    names = os.listdir(folder) if os.path.isdir(folder) else []
    paths = [os.path.join(folder, name) for name in names
             if _PATTERN.fullmatch(name)]
    return sorted(paths, key=_iteration, reverse=True)


def _iteration(path):
    # By its length and digits: int() refuses a number of 5000 digits.
    digits = _PATTERN.fullmatch(os.path.basename(path)).group(1).lstrip('0')
    return int(digits or '0') if len(digits) < 19 else _END


def is_newest(path, folder):
    """Tells whether a file is a folder's newest snapshot.

    Args:
        path (str or None): The file.
        folder (str): Folder of the results, which need not exist.

    """
    newest = find(folder)[:1]
    return bool(path and newest and os.path.exists(path)
                and os.path.samefile(path, newest[0]))


def load_newest(folder, trainer, warn):
    """Loads the newest whole snapshot of a folder into a trainer.

    Args:
        folder (str): Folder of the results.
        trainer (~chainer.training.Trainer): Trainer made with the same
            arguments.
        warn (callable): Takes a line about a file that is damaged.

    Returns:
        str or None: Path of the snapshot, ``None`` if there are none.

    Raises:
        ValueError: If the newest whole one is that of another network, or all
            are damaged.

    """
    found = find(folder)
    for path in found:
        try:
            arrays = read(path)
        except ValueError as e:
            warn(f'{e}; the snapshot before it is tried')
            continue
        restore(path, arrays, trainer)
        return path
    if found:
        raise ValueError(
            f'no snapshot in {folder} can be read; without --autoload '
            'a new run is begun, and the files of the old one are kept')
    return None


def load(path, trainer):
    """Loads a snapshot into a trainer.

    A snapshot is read as data: no object in it is unpickled.

    Args:
        path (str): File that :func:`save` wrote.
        trainer (~chainer.training.Trainer): Trainer made with the same
            arguments.

    Raises:
        ValueError: If the file cannot be read, is no snapshot, or is that of
            another network; the message names the file.

    """
    restore(path, read(path), trainer)


def read(path):
    """Returns a snapshot's arrays by name, all of them and whole.

    Args:
        path (str): The file, which may come from anywhere.

    Raises:
        ValueError: If it cannot be read, is damaged or holds anything else
            than numbers and text; the message names the file.

    """
    with NpzReader(path) as npz:
        arrays = {name: npz.read(name) for name in npz.names}
    try:
        none = json.loads(arrays.pop(_NONE, numpy.array([91, 93], 'u1'))
                          .tobytes())
        arrays.update((name, numpy.array(None)) for name in none)
    except (RecursionError, TypeError, ValueError) as e:
        raise ValueError(f'{_NONE} in {path} cannot be read: {e}') from e
    return arrays


def restore(path, arrays, trainer):
    """Brings a trainer into the state of a snapshot.

    Args:
        path (str): Name of the snapshot, for the message.
        arrays (dict): The arrays that :func:`read` has returned.
        trainer (~chainer.training.Trainer): Trainer made with the same
            arguments.

    Raises:
        ValueError: If it is the state of another network or program; the
            message says what differs.

    """
    reason = _difference(arrays, trainer.updater)
    if reason is None:
        try:
            with warnings.catch_warnings():
                # Chainer's, about what is missing and has to be guessed.
                warnings.simplefilter('error', UserWarning)
                serializers.NpzDeserializer(arrays).load(trainer)
            return
        except MemoryError:
            raise
        except KeyError as e:
            reason = f'{e.args[0]} is not in the file'
        except Exception as e:  # Whatever Chainer's code meets in the arrays
            reason = e
    raise ValueError(f'{path} is no snapshot of this network: {reason}')


def _difference(arrays, updater):
    """Says which array is not as it is here, or returns None.

    Chainer would broadcast it, fail later, or compute beyond its end.
    """
    _init_states(updater)
    serializer = serializers.DictionarySerializer(path='updater/')
    updater.serialize(serializer)
    here = serializer.target
    # The weights first: they tell most about what the other network is.
    for name in sorted(here, key=lambda name: (
            'updater/model:' not in name, -here[name].ndim, name)):
        reason = _compare(name, arrays.get(name), here[name])
        if reason:
            return f'{_short(name)}: {reason}'
    for name, array in arrays.items():
        if name in here:
            continue
        if name.startswith('updater/model:'):
            return f'{_short(name)}: {array.shape} in the file, not here'
        if name.startswith('updater/optimizer:'):
            # That of a parameter which has its shape from the file.
            param = arrays.get(os.path.dirname(name).replace(
                'updater/optimizer:', 'updater/model:'))
            if param is None or (array.shape, array.dtype.kind) != (
                    param.shape, 'f'):
                return (f'{_short(name)}: {array.dtype} {array.shape} in the '
                        'file, not here')
    return None


def _init_states(updater):
    """Initializes the state of each update rule, as the first update does.

    Chainer refuses to load a parameter that has not been updated yet.
    """
    for optimizer in updater.get_all_optimizers().values():
        for param in optimizer.target.params():
            rule = getattr(param, 'update_rule', None)
            if param.array is not None and rule is not None and (
                    rule.state is None):
                rule._init_states(param)


def _compare(name, there, here):
    if there is None:
        return 'not in the file'
    if here.dtype.hasobject:
        return None  # No value yet: that of the file is taken.
    if there.dtype.hasobject:
        return f'empty in the file, {here.shape} here'
    if there.shape != here.shape:
        return f'{there.shape} in the file, {here.shape} here'
    if here.ndim and there.dtype != here.dtype:
        return f'{there.dtype} in the file, {here.dtype} here'
    if (there.dtype.kind in 'iu' and not here.ndim
            and not name.startswith('updater/model:')
            and not 0 <= there < _END):
        return f'{there} in the file'
    return None


def _short(name):
    return re.sub('updater/model:main/(predictor/)?', '', name)
