import json
import os
import re
import warnings

import chainer_compat
from chainer import serializers
import numpy

from system import files
from system import snapshot_file
from system.errors import InputError
from training import divergence

# Snapshots that are kept: if the last one is damaged there is another.
_KEPT = 2


def save(trainer):
    """Trainer extension that saves all that decides the rest of the run.

    A file is written whole or not at all. The last two are kept, in the order
    of the iterations. They are not compressed: float32 weights hardly get
    smaller by it, and it would take a good part of an epoch's time. Weights
    that are +1 and -1, as Bop's, are written as bits.

    Args:
        trainer (~chainer.training.Trainer): Trainer, while it runs.

    Returns:
        str: Path of the snapshot.

    Raises:
        OutputError: If it cannot be written; the earlier ones are still there.
        DivergenceError: See :func:`training.divergence.check`.

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
        arrays[snapshot_file.NONE] = numpy.frombuffer(
            json.dumps(none).encode(), numpy.uint8)
    n = trainer.updater.iteration
    path = os.path.join(trainer.out, f'{snapshot_file.PREFIX}{n}')
    files.write_npz(path, snapshot_file.with_signs_as_bits(arrays))
    # One of a later iteration was damaged: this run would not be here.
    found = snapshot_file.find(trainer.out)
    kept = [p for p in found if snapshot_file.iteration(p) <= n][:_KEPT]
    for old in set(found) - set(kept):
        files.remove(old)
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
        InputError: If the newest whole one is that of another network, all
            are damaged, or one cannot be opened, which need not be damaged.

    """
    found = snapshot_file.find(folder)
    for path in found:
        files.open_regular(path).close()
        try:
            arrays = snapshot_file.read(path)
        except InputError as e:
            warn(f'{e}; the snapshot before it is tried')
            continue
        restore(path, arrays, trainer)
        return path
    if found:
        raise InputError(
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
        InputError: If the file cannot be read, is no snapshot, or is that of
            another network; the message names the file.

    """
    restore(path, snapshot_file.read(path), trainer)


def restore(path, arrays, trainer):
    """Brings a trainer into the state of a snapshot.

    Args:
        path (str): Name of the snapshot, for the message.
        arrays (dict): What :func:`system.snapshot_file.read` has returned.
        trainer (~chainer.training.Trainer): Trainer made with the same
            arguments.

    Raises:
        InputError: If it is the state of another network or program; the
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
    raise InputError(f'{path} is no snapshot of this network: {reason}')


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
            and not 0 <= there < snapshot_file.END):
        return f'{there} in the file'
    return None


def _short(name):
    return re.sub('updater/model:main/(predictor/)?', '', name)
