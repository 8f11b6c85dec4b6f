import chainer_compat
import chainer
import chainer.functions as F
import numpy

import kernels
from layers.batch_normalization import BatchNormalization
from layers import summary
from recipes import build, choices
from system.errors import InputError

# Images computed at once: their arrays stay in the cache, as in training.
_BATCHSIZE = 1000


class ChainerNet:
    """The network of a snapshot, computed by Chainer on the CPU.

    Args:
        arrays (dict): Its float32 arrays by name, see
            ``system.snapshot_file.read_net``.
        settings (dict): The settings of its run, see
            ``recipes.choices.check``.

    Attributes:
        sizes (list of int): Size of an input vector, then the number of units
            of each layer.

    Raises:
        InputError: If arrays and settings do not fit each other.

    """

    def __init__(self, arrays, settings):
        n_layers = settings['layers'] + 1
        weights = [arrays.get(f'l{k}/W') for k in range(1, n_layers + 1)]
        if any(W is None for W in weights):
            raise InputError(f'there are not the weights of {n_layers} layers')
        self.sizes = [weights[0].shape[1], *(len(W) for W in weights)]
        # Before memory is taken for what is not in the file.
        if self.sizes[1:-1] != [settings['unit']] * settings['layers']:
            raise InputError(f'unit is {settings["unit"]}, the layers are '
                             f'{self.sizes}')
        with chainer.using_config('dtype', numpy.float32):
            self._net = build.make_net(
                settings, self.sizes[0], self.sizes[-1])
        for name, param in self._net.namedparams():
            array = arrays.get(name.lstrip('/'))
            if array is None or array.shape != param.shape:
                raise InputError(f'{name} is missing or not {param.shape}')
        chainer.serializers.NpzDeserializer(arrays, strict=False).load(
            self._net)
        self._settings = settings
        self._is_symmetric = settings['input_range'] == 'symmetric'
        self._batchsize = _BATCHSIZE
        if settings['evaluation'] == 'batch':
            self._batchsize = settings['batchsize']

    def summary(self):
        """Returns a table of the layers."""
        return summary.table(self.sizes, *choices.bits(self._settings))

    def use_running_statistics(self):
        """Evaluates with running averages whatever the settings say.

        A single image has no statistics of a batch.
        """
        for _, normalization in self._net.layers():
            if isinstance(normalization, BatchNormalization):
                normalization.evaluate_with_batch = False

    def logits(self, x):
        """Returns the last layer's outputs.

        Args:
            x (numpy.ndarray): uint8 pixels of shape (N, inputs).

        Returns:
            numpy.ndarray: float32 array of shape (N, classes).

        """
        batches = []
        with chainer.using_config('train', False), (
                chainer.using_config('dtype', numpy.float32)), (
                chainer.no_backprop_mode()):
            for i in range(0, len(x), self._batchsize):
                # As chainer.datasets.get_mnist scales them.
                batch = x[i:i + self._batchsize].astype(numpy.float32)
                batch *= numpy.float32(1 / 255)
                if self._is_symmetric:
                    batch = 2 * batch - 1
                batches.append(self._net(batch).array)
        return numpy.concatenate(batches)

    def predict(self, x):
        """Returns the class of each image, int64 of shape (N,)."""
        return self.logits(x).argmax(axis=1)

    def probabilities(self, x):
        """Returns the softmax of :meth:`logits`."""
        return F.softmax(self.logits(x)).array

    def weights(self, i):
        """Returns the signs of layer i's weights (1 is the first) as int8."""
        linear, _ = self._net.layers()[i - 1]
        W = linear.W.array
        return kernels.unpack_signs(kernels.pack_signs(W), W.shape[1])
