import contextlib
import math

import chainer_compat
import chainer
import chainer.functions as F
import numpy

import kernels
from data import description
from layers import blocks
from recipes import build
from system.errors import InputError


class ChainerNet:
    """The network of a snapshot, computed by Chainer on the CPU.

    Args:
        arrays (dict): Its float32 arrays by name, see
            ``system.snapshot_file.read_net``.
        settings (dict): The settings of its run, see
            ``recipes.choices.check``.
        images: What the images are: a description, or what a file holds of
            one, see ``data.description.parse``.

    Attributes:
        sizes (list of int): Size of an input vector, then the number of units
            or channels of each layer.
        images (Description): What the images are.
        image_shape (tuple of int or None): Height and width of an image that
            is seen as one, by convolutions.

    Raises:
        InputError: If arrays and settings do not fit each other.

    """

    def __init__(self, arrays, settings, images=None):
        channels = blocks.widths(settings['channels'], settings['blocks'])
        n_layers = len(channels) + settings['layers'] + 1
        weights = [arrays.get(f'l{k}/W') for k in range(1, n_layers + 1)]
        if any(W is None for W in weights):
            raise InputError(f'there are not the weights of {n_layers} layers')
        if not isinstance(images, description.Description):
            images = description.parse(
                images, None if channels else weights[0].shape[1],
                len(weights[-1]))
        self.images = images
        self.sizes = [math.prod(images.shape), *(len(W) for W in weights)]
        # Before memory is taken for what is not in the file.
        if self.sizes[1:-1] != (
                channels + [settings['unit']] * settings['layers']):
            raise InputError(
                (f'channels is {settings["channels"]}, ' if channels else '')
                + f'unit is {settings["unit"]}, the layers are {self.sizes}')
        if channels:
            build.check_blocks(settings, images.shape)
            n_features = channels[-1] * math.prod(
                blocks.size_behind(settings['blocks'], images.shape))
            if weights[len(channels)].shape[1] != n_features:
                raise InputError(
                    'the convolutions of images of {} x {} pixels give {} '
                    'values, the next layer takes {}'.format(
                        *images.shape, n_features,
                        weights[len(channels)].shape[1]))
        with chainer.using_config('dtype', numpy.float32):
            self._net = build.make_net(
                settings, self.sizes[0], self.sizes[-1], images.shape)
        for name, param in self._net.namedparams():
            array = arrays.get(name.lstrip('/'))
            if array is None or array.shape != param.shape:
                raise InputError(f'{name} is missing or not {param.shape}')
        chainer.serializers.NpzDeserializer(arrays, strict=False).load(
            self._net)
        self._settings = settings
        self._is_symmetric = settings['input_range'] == 'symmetric'
        self.image_shape = images.shape if channels else None
        self._batchsize, self._least = build.evaluation_batch(
            settings, self._net)

    def summary(self):
        """Returns a table of the layers."""
        return build.summary(self._settings, self.sizes[0], self.sizes[-1],
                             self.images.shape)

    @contextlib.contextmanager
    def running_statistics(self):
        """Evaluates with running averages whatever the settings say.

        In the ``with`` block: a single image has no statistics of a batch.
        """
        links = [link for _, link in self._net.layers()
                 if getattr(link, 'evaluate_with_batch', False)]
        for link in links:
            link.evaluate_with_batch = False
        try:
            yield
        finally:
            for link in links:
                link.evaluate_with_batch = True

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
            end = 0
            while end < len(x):
                start, end = end, end + self._batchsize
                if len(x) - end < self._least:
                    end = len(x)
                # As chainer.datasets.get_mnist scales them.
                batch = x[start:end].astype(numpy.float32)
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
        link, _ = self._net.layers()[i - 1]
        W = link.W.array
        signs = kernels.pack_signs(W.reshape(len(W), -1))
        return kernels.unpack_signs(signs, W[0].size).reshape(W.shape)
