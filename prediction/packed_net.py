import numpy

import kernels
from data import description
from prediction import packed_file
from prediction.packed_layers import (
    EPS, PIXEL_MAX, BatchNorm, HiddenLayer, OutputLayer, blocks_first,
    get_float32, reorder)
from system.errors import InputError
from system.npz_reader import NpzReader
from system.snapshot_file import PARAMETER


class PackedMLP:
    """Multi-layer perceptron of +-1 weights and activations, in bits.

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
    The last layer's integers pass its batch normalization in float32.

    NumPy is all it needs; where Numba can be imported it is fast.

    Args:
        hidden (list of HiddenLayer): All layers but the last.
        output (OutputLayer): The last layer.
        images (Description or None): What the images are, see
            :mod:`data.description`, if known.
        training_set (str or None): Checksum of the set that the net was
            trained on, see :attr:`data.sets.ImageSet.checksum`, if known.

    Attributes:
        sizes (list of int): Size of an input vector, then the number of units
            of each layer.

    Raises:
        InputError: If the layers do not fit each other.

    Reference: Hubara et al., arXiv:1609.07061, Algorithm 4 and the section
    on the first layer.

    .. admonition:: Example

        >>> import numpy as np
        >>> from prediction.packed_net import PackedMLP
        >>> net = PackedMLP.from_arrays({
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
        self.sizes = [layers[0].n_in, *(layer.n_out for layer in layers)]
        for i, layer in enumerate(layers):
            if layer.n_in != self.sizes[i]:
                raise InputError(
                    f'layer {i + 1} takes {layer.n_in} values, the layer '
                    f'before it gives {self.sizes[i]}')
            if layer.n_in < 1 or layer.n_out < 1:
                raise InputError(f'layer {i + 1} has no inputs or no units')
        self.images = images or description.unknown(
            self.sizes[0], self.sizes[-1])
        self._order = blocks_first(self.sizes[0])
        self._tile(numpy)

    def _tile(self, xp):
        self._xp = xp
        first, *others = [
            layer.words for layer in [*self.hidden, self.output]]
        first = reorder(first, self.sizes[0], self._order)
        self._tiles = [kernels.tile_pixel_weights(xp.asarray(first)), *(
            kernels.tile_weights(xp.asarray(words)) for words in others)]
        self._order_there = xp.asarray(self._order)

    @classmethod
    def from_arrays(cls, arrays, eps=EPS, input_range='unit',
                    images=None, training_set=None):
        """Returns the net with a trained net's parameters.

        Args:
            arrays (dict): Float32 arrays by name, as Chainer names them:
                ``l1/W`` of shape (units, inputs), ``l1/b``, ``bn1/gamma``,
                ``bn1/beta``, ``bn1/avg_mean``, ``bn1/avg_var``, ``l2/W`` and
                so on; ``bn1/avg_inv_std`` in the place of ``bn1/avg_var`` is
                shift-based batch normalization. All but the weights may be
                missing, and then are what a new link has. Other names are
                ignored.
            eps (float or list of float): The batch normalizations' ``eps``,
                one for all or one for each.
            input_range (str): What the pixels were in training: ``unit``, in
                [0, 1], or ``symmetric``, in [-1, 1].
            images (Description or None): What the images are, if known.
            training_set (str or None): Checksum of the training set, if
                known.

        Raises:
            InputError: If a layer is missing, an array does not fit, holds
                NaN or infinity, or a variance is negative.

        """
        n_layers = 0
        while f'l{n_layers + 1}/W' in arrays:
            n_layers += 1
        if not n_layers:
            raise InputError('there are no weights l1/W')
        known = {f'{kind}{i + 1}' for i in range(n_layers)
                 for kind in ('l', 'bn')}
        for name in arrays:
            if PARAMETER.match(name) and name.split('/')[0] not in known:
                raise InputError(f'{name} belongs to no layer: there are '
                                 f'weights up to l{n_layers}/W')
        epsilons = [eps] * n_layers if numpy.isscalar(eps) else list(eps)
        if len(epsilons) != n_layers:
            raise InputError(f'eps must be 1 or {n_layers} numbers, got '
                             f'{len(epsilons)}')
        if input_range == 'symmetric' and n_layers == 1:
            raise InputError('pixels in [-1, 1] need a hidden layer')
        hidden = []
        for i, eps_i in enumerate(epsilons, 1):
            W = get_float32(arrays, f'l{i}/W', None, None)
            norm = BatchNorm.from_arrays(arrays, i, len(W), eps_i)
            if i < n_layers:
                hidden.append(HiddenLayer.from_arrays(
                    W, norm, input_range if i == 1 else None))
        return cls(hidden, OutputLayer(
            W.shape[1], kernels.pack_signs(W), norm), images, training_set)

    @classmethod
    def from_chain(cls, chain, input_range='unit'):
        """Returns the net with the parameters of a Chainer chain.

        Args:
            chain (chainer.Chain): Net whose ``layers()`` are pairs of a
                quantized linear link and a normalization, such as
                :class:`~net.MnistMLP`, on the CPU.
            input_range (str): See :meth:`from_arrays`.

        Raises:
            InputError: See :meth:`from_arrays`; or if bits would not compute
                what the chain computes.

        """
        reason = _why_not_binary(chain)
        if reason:
            raise InputError(f'the net cannot be packed: {reason}')
        collector = _Collector()
        chain.serialize(collector)
        return cls.from_arrays(
            collector.arrays, [norm.eps for _, norm in chain.layers()],
            input_range)

    def to(self, xp):
        """Sends the weights to a device.

        Args:
            xp (module): ``numpy`` or ``cupy``; the net then takes and returns
                arrays of this module.

        Returns:
            PackedMLP: This net.

        """
        self._tile(xp)
        for layer in [*self.hidden, self.output]:
            layer.to(xp)
        return self

    def activations(self, x):
        """Returns the hidden layers' outputs.

        Args:
            x (numpy.ndarray): uint8 pixels of shape (N, inputs).

        Returns:
            list of numpy.ndarray: uint64 words of shape
            (N, ceil(units / 64)), see ``kernels.unpack_signs``.

        """
        self._check_input(x)
        outputs = []
        for i, layer in enumerate(self.hidden):
            if i == 0:
                a = kernels.bitplane_sign(
                    x, self._order_there, self._tiles[0], layer.thresholds,
                    layer.falling)
            else:
                a = kernels.xnor_sign(
                    a, self._tiles[i], layer.n_in, layer.thresholds,
                    layer.falling)
            outputs.append(a)
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
        activations = self.activations(x)
        n_out = self.output.n_out
        if activations:
            s = kernels.xnor_dot(activations[-1], self._tiles[-1],
                                 self.output.n_in, n_out)
            return self.output.norm(s.astype(numpy.float32))
        s = kernels.bitplane_dot(x, self._order_there, self._tiles[0], n_out)
        return self.output.norm((s / PIXEL_MAX).astype(numpy.float32))

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
        return kernels.unpack_signs(layer.words, layer.n_in)

    @property
    def nbytes(self):
        """Bytes of the parameters."""
        return sum(layer.nbytes for layer in [*self.hidden, self.output])

    @property
    def float32_nbytes(self):
        """Bytes of the same net in float32: W, b and batch normalization."""
        return sum(4 * (n_in * n_out + 5 * n_out)
                   for n_in, n_out in zip(self.sizes, self.sizes[1:]))

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
        packed_file.save(path, self.sizes, self.hidden, self.output,
                         self.images, self.training_set)
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


def _why_not_binary(chain):
    """Returns why bits cannot compute what a chain does; None: they can."""
    if not hasattr(chain, 'layers'):
        return (f'{type(chain).__name__} has no layers(), so that neither '
                'their order nor their rounding is known')
    for i, (linear, norm) in enumerate(chain.layers(), 1):
        quantizer = getattr(linear, 'quantizer', 'real numbers')
        if not getattr(quantizer, 'is_binary', False):
            return f'the weights of layer {i} are {quantizer}, not binary'
        if getattr(norm, 'evaluate_with_batch', False):
            return f'layer {i} is evaluated with the statistics of a batch'
        if not (hasattr(norm, 'avg_var') or hasattr(norm, 'avg_inv_std')):
            return f'the normalization of layer {i} has no running averages'
    if not chain.activation_quantizer.is_binary:
        return f'its activations are {chain.activation_quantizer}, not binary'
    if chain.relu:
        return 'a relu follows its activations'
    return None


class _Collector:
    """Chainer serializer that keeps the arrays; needs no Chainer."""

    def __init__(self, arrays=None, path=''):
        self.arrays = {} if arrays is None else arrays
        self._path = path

    def __getitem__(self, name):
        return _Collector(self.arrays, f'{self._path}{name}/')

    def __call__(self, name, value):
        if value is not None:
            self.arrays[self._path + name] = numpy.asarray(value)
        return value
