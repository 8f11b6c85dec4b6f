"""Extensions that keep in snapshots what Chainer's trainer does not."""
import json

import chainer_compat
import chainer
from chainer.training import extension
import numpy

from system import snapshot_file
from training import priorities


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

    priority = priorities.RANDOM_STATE

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

    A snapshot of other settings is refused, those named ``free`` aside. A
    setting that the snapshot does not know had its default then.

    Args:
        settings (dict): Values of JSON by name.
        free (sequence of str): Names of those that may differ.
        defaults (dict): Values of those that an older snapshot lacks.

    Attributes:
        loaded (dict or None): The settings of the snapshot that the run goes
            on from.

    """

    def __init__(self, settings, free=(), defaults=None):
        self._settings = settings
        self._free = free
        self._defaults = defaults or {}
        self.loaded = None

    def trigger(self, trainer):
        return False

    def __call__(self, trainer):
        raise NotImplementedError  # never triggered

    def serialize(self, serializer):
        if isinstance(serializer, chainer.Serializer):
            text = json.dumps(self._settings).encode()
            serializer('json', numpy.frombuffer(text, numpy.uint8))
            return
        others = {**self._defaults,
                  **snapshot_file.parse_settings(serializer('json', None))}
        for name, value in self._settings.items():
            if name not in self._free and others.get(name) != value:
                raise ValueError(f'{name} is {others.get(name)} in the file, '
                                 f'{value} here')
        self.loaded = others
