import numpy

import kernels
from data import description
from prediction import packed_file, packed_products, packing
from prediction.packed_layers import EPS, PIXEL_MAX
from system.errors import InputError
from system.npz_reader import NpzReader

# Images that convolutions take at once, so that the layers' activations stay
# in the cache.
_IMAGES = 500


class PackedNet:
    """Net of +-1 weights and activations, in bits.

    The net of ``net.py`` after training, with one bit for a weight and one
    for a hidden activation, 64 of them in a word. A hidden layer counts the
    bits in which activations and weights differ,

        s = n_in - 2 popcount(a XOR w),

    and batch normalization followed by the sign is a comparison of the
    integer s with an integer threshold per unit. Thresholds are found with
    Chainer's own float32 formula, so that for the same activations no unit
    decides differently. The first layer takes pixels of 8 bits: with the
    bit-planes x^n,

        s = sum_n 2^n (2 popcount(x^n AND w) - popcount(x^n)),

    which is exact, where Chainer's float32 product of pixels / 255 rounds.
    The last layer's integers pass its batch normalization in float32. Layers
    may begin with convolutions, whose windows are compared in the same way;
    see :class:`~prediction.packed_convolution.ConvolutionLayer`.

    NumPy is all it needs; where Numba can be imported it is fast.

    Args:
        hidden (list of ConvolutionLayer and HiddenLayer): All layers but the
            last.
        output (OutputLayer): The last layer.
        images (Description or None): What the images are, see
            :mod:`data.description`, if known.
        training_set (str or None): Checksum of the set that the net was
            trained on, see :attr:`data.sets.ImageSet.checksum`, if known.

    Attributes:
        sizes (list of int): Size of an input vector, then the number of units
            or channels of each layer.
        image_shape (tuple of int or None): Height and width of the images that
            a first convolution takes.
        pool_sizes (list of int): Height and width of the windows of pooling
            behind each convolution; 1: none.

    Raises:
        InputError: If the layers do not fit each other.

    Reference: Hubara et al., arXiv:1609.07061, Algorithm 4 and the section
    on the first layer.

    .. admonition:: Example

        >>> import numpy as np
        >>> from prediction.packed_net import PackedNet
        >>> net = PackedNet.from_arrays({
        ...     'l1/W': np.array([[.1, -.2], [.3, .4]], np.float32),
        ...     'l2/W': np.array([[.5, .6], [-.7, .8]], np.float32)})
        >>> net.weights(1)
        array([[ 1, -1],
               [ 1,  1]], dtype=int8)
        >>> net.logits(np.array([[0, 255]], np.uint8))
        array([[0.     , 1.99998]], dtype=float32)

    """

    def __init__(self, hidden, output, images=None, training_set=None):
        self.hidden = list(hidden)
        self.output = output
        self.training_set = training_set
        layers = [*self.hidden, output]
        first = layers[0]
        self.image_shape = first.size if first.is_convolution else None
        n_pixels = (first.size[0] * first.size[1] if first.is_convolution
                    else first.n_in)
        self.sizes = [n_pixels, *(layer.n_out for layer in layers)]
        self.pool_sizes = [
            layer.pool for layer in self.hidden if layer.is_convolution]
        _check_together(layers)
        if images is None:
            images = (description.numbered(self.image_shape, self.sizes[-1])
                      if self.image_shape else
                      description.unknown(n_pixels, self.sizes[-1]))
        if self.image_shape not in (None, tuple(images.shape)):
            raise InputError('the first layer takes images of {} x {} '
                             'pixels'.format(*self.image_shape))
        self.images = images
        self._make_products(numpy)

    def _make_products(self, xp):
        self._xp = xp
        self._products = packed_products.make(
            xp, [*self.hidden, self.output])

    @classmethod
    def from_arrays(cls, arrays, eps=EPS, input_range='unit',
                    images=None, training_set=None, pool_sizes=(),
                    image_shape=None):
        """Returns the net with a trained net's parameters.

        Args:
            arrays (dict): Float32 arrays by name, as Chainer names them:
                ``l1/W`` of shape (units, inputs), or of shape (channels,
                inputs, height, width) for a convolution, ``l1/b``,
                ``bn1/gamma``, ``bn1/beta``, ``bn1/avg_mean``,
                ``bn1/avg_var``, ``l2/W`` and so on; ``bn1/avg_inv_std`` in
                the place of ``bn1/avg_var`` is shift-based batch
                normalization. All but the weights may be missing, and then
                are what a new link has. Other names are ignored.
            eps (float or list of float): The batch normalizations' ``eps``,
                one for all or one for each.
            input_range (str): What the pixels were in training: ``unit``, in
                [0, 1], or ``symmetric``, in [-1, 1].
            images (Description or None): What the images are, if known.
            training_set (str or None): Checksum of the training set, if
                known.
            pool_sizes (list of int): For each layer the height and width of
                the windows of max pooling between a convolution and its
                normalization, 1 where there is none; layers beyond the list
                have none.
            image_shape (tuple of int or None): Height and width of an image
                where ``images`` is ``None``; convolutions need it.

        Raises:
            InputError: If a layer is missing, an array does not fit, holds
                NaN or infinity, or a variance is negative.

        """
        hidden, output = packing.layers(
            arrays, eps, input_range,
            images.shape if images else image_shape, pool_sizes)
        return cls(hidden, output, images, training_set)

    @classmethod
    def from_chain(cls, chain, input_range='unit'):
        """Returns the net with the parameters of a Chainer chain.

        Args:
            chain (chainer.Chain): Net whose ``layers()`` are pairs of a
                quantized linear or convolutional link and a normalization,
                such as :class:`~net.MnistMLP`, on the CPU. With convolutions
                it has ``image_shape`` and ``pool_sizes`` as well.
            input_range (str): See :meth:`from_arrays`.

        Raises:
            InputError: See :meth:`from_arrays`; or if bits would not compute
                what the chain computes.

        """
        reason = packing.why_not_binary(chain)
        if reason:
            raise InputError(f'the net cannot be packed: {reason}')
        collector = packing.Collector()
        chain.serialize(collector)
        return cls.from_arrays(
            collector.arrays, [norm.eps for _, norm in chain.layers()],
            input_range, pool_sizes=getattr(chain, 'pool_sizes', ()),
            image_shape=getattr(chain, 'image_shape', None))

    def to(self, xp):
        """Sends the weights to a device.

        Args:
            xp (module): ``numpy`` or ``cupy``; the net then takes and returns
                arrays of this module.

        Returns:
            PackedNet: This net.

        """
        self._make_products(xp)
        for layer in [*self.hidden, self.output]:
            layer.to(xp)
        return self

    def activations(self, x):
        """Returns the hidden layers' outputs.

        Args:
            x (numpy.ndarray): uint8 pixels of shape (N, inputs).

        Returns:
            list of numpy.ndarray: uint64 words of shape
            (N, ceil(units / 64)), see ``kernels.unpack_signs``; of a
            convolution (N, height, width, ceil(channels / 64)).

        """
        self._check_input(x)
        outputs = []
        for product in self._products[:-1]:
            x = product.sign(x)
            outputs.append(x)
        return outputs

    def logits(self, x):
        """Returns the last batch normalization's outputs.

        Args:
            x (numpy.ndarray): uint8 pixels of shape (N, inputs).

        Returns:
            numpy.ndarray: float32 array of shape (N, classes).

        Raises:
            TypeError: If x is not of dtype uint8.
            ValueError: If x is not of that shape.

        """
        self._check_input(x)
        if self.image_shape and len(x) > _IMAGES:
            return self._xp.concatenate([
                self.logits(x[i:i + _IMAGES])
                for i in range(0, len(x), _IMAGES)])
        for product in self._products[:-1]:
            x = product.sign(x)
        s = self._products[-1].dot(x)
        if not self.hidden:
            s = s / PIXEL_MAX
        return self.output.norm(s.astype(numpy.float32))

    def probabilities(self, x):
        """Returns the softmax of :meth:`logits`."""
        y = self.logits(x)
        y -= y.max(axis=1, keepdims=True)
        y = numpy.exp(y)  # CuPy's arrays hand it to CuPy.
        y /= y.sum(axis=1, keepdims=True)
        return y

    def predict(self, x):
        """Returns the class of each image, the first where two are equal.

        Args:
            x (numpy.ndarray): uint8 pixels of shape (N, inputs).

        Returns:
            numpy.ndarray: int64 classes of shape (N,).

        """
        return self.logits(x).argmax(axis=1)

    def weights(self, i):
        """Returns the +-1 weights of layer i (1 is the first) as int8."""
        layer = [*self.hidden, self.output][i - 1]
        if layer.is_convolution:
            return layer.signs
        return kernels.unpack_signs(layer.words, layer.n_in)

    @property
    def nbytes(self):
        """Bytes of the parameters."""
        return sum(layer.nbytes for layer in [*self.hidden, self.output])

    @property
    def float32_nbytes(self):
        """Bytes of the same net in float32: W, b and batch normalization."""
        return sum(4 * (layer.n_in + 5) * layer.n_out
                   for layer in [*self.hidden, self.output])

    def save(self, path):
        """Writes the net to a file that :meth:`load` reads.

        Args:
            path (str): The file; replaced when the new one is complete. Its
                format is that of :mod:`prediction.packed_file`.

        Raises:
            OutputError: If the file cannot be written.

        """
        there = self._xp
        self.to(numpy)
        try:
            packed_file.save(path, self.sizes, self.hidden, self.output,
                             self.images, self.training_set)
        finally:
            self.to(there)

    @classmethod
    def load(cls, path):
        """Reads a net that :meth:`save` has written.

        Args:
            path (str): The file. It may come from anywhere: it is read as
                numbers, and needs no more memory than its size justifies.

        Raises:
            InputError: If the file cannot be read or holds anything else than
                a packed net; the message names the file and what is wrong.

        """
        with NpzReader(path) as npz:
            return cls(*packed_file.read(npz))

    def _check_input(self, x):
        if x.dtype != numpy.uint8:
            raise TypeError(f'pixels must be uint8, got {x.dtype}')
        if x.ndim != 2 or x.shape[1] != self.sizes[0]:
            raise ValueError(f'pixels must be of shape (N, {self.sizes[0]}), '
                             f'got {x.shape}')


def _check_together(layers):
    """Raises an InputError if a layer does not take what the one before gives.
    """
    n_before, before = None, None
    for i, layer in enumerate(layers, 1):
        n_in = layer.n_in
        if layer.is_convolution:
            n_in = layer.n_channels * layer.size[0] * layer.size[1]
            if before and not before.is_convolution:
                raise InputError(f'layer {i} is a convolution behind a layer '
                                 'without images')
        if n_before not in (None, n_in) or (
                layer.is_convolution and before
                and layer.size != before.out_size):
            raise InputError(f'layer {i} takes {n_in} values, the layer '
                             f'before it gives {n_before}')
        if n_in < 1 or layer.n_out < 1:
            raise InputError(f'layer {i} has no inputs or no units')
        n_before, before = layer.n_out, layer
        if layer.is_convolution:
            n_before *= layer.out_size[0] * layer.out_size[1]
            if not n_before:
                raise InputError(f'layer {i} leaves nothing of an image')


# Its name before it took convolutions.
PackedMLP = PackedNet
