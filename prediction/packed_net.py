import json
import re

import numpy

import kernels
from system import files
from system.npz_reader import NpzReader

# Pixels are trained as floats in [0, 1].
_PIXEL_MAX = 255

# Default of chainer.links.BatchNormalization; a snapshot does not hold it.
EPS = 2e-5

# Beyond this a sum of +-1 is not exact in float32.
_MAX_IN = 1 << 24

_FORMAT = 'quantized_net packed MLP'
_VERSION = 1

# Where a trainer's snapshot holds the arrays of its net, and its settings.
_SNAPSHOT = 'updater/model:main/predictor/'
_SETTINGS = 'extensions/Settings/json'

_ARRAYS = re.compile(
    r'l[1-9]\d*/(W|b)$|'
    r'bn[1-9]\d*/(gamma|beta|avg_mean|avg_var|avg_inv_std)$')


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

    Attributes:
        sizes (list of int): Size of an input vector, then the number of units
            of each layer.

    Raises:
        ValueError: If the layers do not fit each other.

    Reference: I. Hubara, M. Courbariaux, D. Soudry, R. El-Yaniv, Y. Bengio,
    "Quantized Neural Networks", arXiv:1609.07061, Algorithm 4 and the section
    on the first layer.

    .. admonition:: Example

        >>> net = PackedMLP.from_arrays({
        ...     'l1/W': np.array([[.1, -.2], [.3, .4]], np.float32),
        ...     'l2/W': np.array([[.5, .6], [-.7, .8]], np.float32)})
        >>> net.weights(1)
        array([[ 1, -1],
               [ 1,  1]], dtype=int8)
        >>> net.logits(np.array([[0, 255]], np.uint8))
        array([[0.     , 1.99998]], dtype=float32)

    """

    def __init__(self, hidden, output):
        self.hidden = list(hidden)
        self.output = output
        layers = [*self.hidden, output]
        self.sizes = [layers[0].n_in, *(layer.n_out for layer in layers)]
        for i, layer in enumerate(layers):
            if layer.n_in != self.sizes[i]:
                raise ValueError(
                    f'layer {i + 1} takes {layer.n_in} values, the layer '
                    f'before it gives {self.sizes[i]}')
            if layer.n_in < 1 or layer.n_out < 1:
                raise ValueError(f'layer {i + 1} has no inputs or no units')
        self._order = _blocks_first(self.sizes[0])
        self._tile(numpy)

    def _tile(self, xp):
        first, *others = [
            layer.words for layer in [*self.hidden, self.output]]
        first = _reorder(first, self.sizes[0], self._order)
        self._tiles = [kernels.tile_pixel_weights(xp.asarray(first)), *(
            kernels.tile_weights(xp.asarray(words)) for words in others)]
        self._order_there = xp.asarray(self._order)

    @classmethod
    def from_arrays(cls, arrays, eps=EPS, input_range='unit'):
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

        Raises:
            ValueError: If a layer is missing, an array does not fit, holds
                NaN or infinity, or a variance is negative.

        """
        n_layers = 0
        while f'l{n_layers + 1}/W' in arrays:
            n_layers += 1
        if not n_layers:
            raise ValueError('there are no weights l1/W')
        known = {f'{kind}{i + 1}' for i in range(n_layers)
                 for kind in ('l', 'bn')}
        for name in arrays:
            if _ARRAYS.match(name) and name.split('/')[0] not in known:
                raise ValueError(f'{name} belongs to no layer: there are '
                                 f'weights up to l{n_layers}/W')
        epsilons = [eps] * n_layers if numpy.isscalar(eps) else list(eps)
        if len(epsilons) != n_layers:
            raise ValueError(f'eps must be 1 or {n_layers} numbers, got '
                             f'{len(epsilons)}')
        hidden = []
        if input_range == 'symmetric' and n_layers == 1:
            raise ValueError('pixels in [-1, 1] need a hidden layer')
        for i, eps_i in enumerate(epsilons, 1):
            W = _get_float32(arrays, f'l{i}/W', None, None)
            norm = BatchNorm.from_arrays(arrays, i, len(W), eps_i)
            words = kernels.pack_signs(W)
            if i == n_layers:
                output = OutputLayer(W.shape[1], words, norm)
                continue
            transform = _unchanged
            if i == 1:
                transform = {'unit': _from_pixels,
                             'symmetric': _from_symmetric(W)}[input_range]
            hidden.append(HiddenLayer(
                W.shape[1], words, *norm.fold(
                    W.shape[1] * (_PIXEL_MAX if i == 1 else 1), transform)))
        return cls(hidden, output)

    @classmethod
    def from_chain(cls, chain, input_range='unit'):
        """Returns the net with the parameters of a Chainer chain.

        Args:
            chain (chainer.Chain): Net with the links ``l1``, ``bn1``, ``l2``
                and so on, e.g. :class:`~net.MnistMLP`, on the CPU.
            input_range (str): See :meth:`from_arrays`.

        Raises:
            ValueError: See :meth:`from_arrays`.

        """
        collector = _Collector()
        chain.serialize(collector)
        norms = {name: getattr(chain, name) for name in
                 {key.split('/')[0] for key in collector.arrays}
                 if name.startswith('bn')}
        epsilons = [norms[f'bn{i + 1}'].eps if f'bn{i + 1}' in norms else EPS
                    for i in range(sum(
                        key.endswith('/W') for key in collector.arrays))]
        return cls.from_arrays(collector.arrays, epsilons, input_range)

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
        return self.output.norm((s / _PIXEL_MAX).astype(numpy.float32))

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

        It is NumPy's .npz and holds numbers only: ``format`` (letters as
        bytes), ``version``, ``sizes``, for each layer i ``l<i>/W``, one row of
        words per unit, 1 meaning +1; for a hidden layer ``l<i>/threshold`` and
        ``l<i>/falling``, for the last one ``l<i>/norm``: b, mean, 1 /
        standard deviation, gamma and beta.

        Args:
            path (str): The file; replaced when the new one is complete.

        """
        arrays = {
            'format': numpy.frombuffer(_FORMAT.encode(), numpy.uint8),
            'version': numpy.array([_VERSION], '<i8'),
            'sizes': numpy.array(self.sizes, '<i8'),
        }
        for i, layer in enumerate(self.hidden, 1):
            arrays[f'l{i}/W'] = layer.words.astype('<u8')
            arrays[f'l{i}/threshold'] = layer.thresholds.astype('<i4')
            arrays[f'l{i}/falling'] = layer.falling.astype('<u8')
        i = len(self.sizes) - 1
        arrays[f'l{i}/W'] = self.output.words.astype('<u8')
        arrays[f'l{i}/norm'] = numpy.stack(
            self.output.norm.vectors).astype('<f4')
        files.write_npz(path, arrays)

    @classmethod
    def load(cls, path):
        """Reads a net that :meth:`save` has written.

        Args:
            path (str): The file. It may come from anywhere: it is read as
                numbers, and needs no more memory than its size justifies.

        Raises:
            ValueError: If the file cannot be read or holds anything else than
                a packed net; the message names the file and what is wrong.

        """
        with NpzReader(path) as npz:
            if not is_export(npz):
                raise ValueError(f'{path} holds no packed net')
            return _load(cls, npz, path)

    def _check_input(self, x):
        if x.dtype != numpy.uint8:
            raise TypeError(f'pixels must be uint8, got {x.dtype}')
        if x.ndim != 2 or x.shape[1] != self.sizes[0]:
            raise ValueError(f'pixels must be of shape (N, {self.sizes[0]}), '
                             f'got {x.shape}')


class HiddenLayer:
    """+-1 weights as words and a threshold for each unit.

    A unit gives +1 where its sum is at least the threshold or, where its bit
    of ``falling`` is set, less than it.

    Args:
        n_in (int): Size of an input vector.
        words (numpy.ndarray): uint64 words of shape (units, ceil(n_in / 64)).
        thresholds (numpy.ndarray): int32 thresholds, one a unit.
        falling (numpy.ndarray): uint64 words of shape (ceil(units / 64),).

    """

    def __init__(self, n_in, words, thresholds, falling):
        self.n_in = n_in
        self.n_out = len(words)
        self.words = words
        self.thresholds = thresholds
        self.falling = falling

    def to(self, xp):
        self.thresholds = _send(xp, self.thresholds)
        self.falling = _send(xp, self.falling)

    @property
    def nbytes(self):
        return (self.words.nbytes + self.thresholds.nbytes
                + self.falling.nbytes)


class OutputLayer:
    """+-1 weights as words and a batch normalization.

    Args:
        n_in (int): Size of an input vector.
        words (numpy.ndarray): uint64 words of shape (units, ceil(n_in / 64)).
        norm (BatchNorm): What becomes of the sums.

    """

    def __init__(self, n_in, words, norm):
        self.n_in = n_in
        self.n_out = len(words)
        self.words = words
        self.norm = norm

    def to(self, xp):
        self.norm = BatchNorm(*(_send(xp, v) for v in self.norm.vectors))

    @property
    def nbytes(self):
        return self.words.nbytes + sum(v.nbytes for v in self.norm.vectors)


class BatchNorm:
    """Bias and batch normalization as Chainer evaluates them in float32.

    ``y = ((s + b) - mean) * inv_std * gamma + beta``, each operation rounded,
    in the order of chainer.functions.fixed_batch_normalization on the CPU.

    Args:
        b, mean, inv_std, gamma, beta (numpy.ndarray): float32 vectors.

    """

    def __init__(self, b, mean, inv_std, gamma, beta):
        self.vectors = b, mean, inv_std, gamma, beta

    @classmethod
    def from_arrays(cls, arrays, i, n_out, eps):
        """Returns that of layer i, see :meth:`PackedMLP.from_arrays`."""
        def get(name, default):
            return _get_float32(arrays, name, (n_out,), default)

        b, mean, gamma, beta = (get(name, default) for name, default in (
            (f'l{i}/b', 0), (f'bn{i}/avg_mean', 0), (f'bn{i}/gamma', 1),
            (f'bn{i}/beta', 0)))
        if f'bn{i}/avg_inv_std' in arrays:
            # Shift-based: products with powers of two do not round, so that
            # their order does not matter.
            inv_std = get(f'bn{i}/avg_inv_std', 1)
            if not (inv_std > 0).all():
                raise ValueError(f'bn{i}/avg_inv_std must be more than 0')
            return cls(b, mean, kernels.ap2(inv_std), kernels.ap2(gamma),
                       beta)
        var = get(f'bn{i}/avg_var', 1)
        if (var < 0).any():
            raise ValueError(f'bn{i}/avg_var has negative values')
        # As in chainer/functions/normalization/batch_normalization.py.
        var = var + float(eps)
        if not (var > 0).all():
            raise ValueError(f'bn{i}/avg_var + eps must be more than 0')
        inv_std = numpy.sqrt(numpy.reciprocal(var), dtype=var.dtype)
        if not numpy.isfinite(inv_std).all():
            raise ValueError(f'bn{i}/avg_var is too small for float32')
        return cls(b, mean, inv_std, gamma, beta)

    def __call__(self, s):
        b, mean, inv_std, gamma, beta = self.vectors
        y = s + b
        y -= mean
        y *= inv_std
        y *= gamma
        y += beta
        return y

    def fold(self, bound, transform):
        """Returns thresholds for ``self(s) >= 0`` over the integers.

        Rounding keeps order: every operation above is monotone in s even as
        it is rounded, and so is the whole. So each unit changes its decision
        once at most, at a place that bisection finds.

        Args:
            bound (int): Greatest magnitude of the integers.
            transform (callable): Makes ``s`` of them.

        Returns:
            tuple: int32 thresholds and uint64 words of ``falling``; see
            :class:`HiddenLayer`.

        Raises:
            ValueError: If a result is not a number.

        """
        n_out = len(self.vectors[0])

        def decide(sums):
            s = transform(sums)
            with numpy.errstate(over='ignore', invalid='ignore'):
                y = self(s.astype(numpy.float32))
            if numpy.isnan(y).any():
                raise ValueError('batch normalization gives NaN: its '
                                 'parameters are too large')
            return y >= 0

        low = numpy.full(n_out, -bound, numpy.int64)
        high = numpy.full(n_out, bound, numpy.int64)
        at_low, at_high = decide(low), decide(high)
        changes = at_low != at_high
        # decide(low) is at_low and decide(high) is not, all the time.
        while (high - low > 1).any():
            middle = (low + high) // 2
            is_low = decide(middle) == at_low
            low = numpy.where(is_low, middle, low)
            high = numpy.where(is_low, high, middle)
        constant = numpy.where(at_high, -bound, bound + 1)
        thresholds = numpy.where(changes, high, constant)
        falling = kernels.pack_signs(
            numpy.where(changes & at_low, 1., -1.)[None])[0]
        return thresholds.astype(numpy.int32), falling


def _unchanged(sums):
    return sums


def _from_pixels(sums):
    """Sums of +-pixels in [0, 1], of those of the bytes."""
    return sums / _PIXEL_MAX


def _from_symmetric(W):
    """Sums of +-pixels in [-1, 1]: each is 2 / 255 of the byte, less 1."""
    offset = numpy.where(W >= 0, 1, -1).sum(axis=1)
    return lambda sums: (2 * sums - _PIXEL_MAX * offset) / _PIXEL_MAX


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


def is_export(npz):
    """Tells whether an NpzReader's file says that it is a packed net."""
    return {'format', 'version', 'sizes'} <= npz.names


def is_snapshot(npz):
    """Tells whether an NpzReader's file has the arrays of a trained net."""
    return {f'{_SNAPSHOT}l1/W', _SETTINGS} <= npz.names


def read_settings(npz):
    """Returns the settings of the run that a snapshot is of.

    Args:
        npz (NpzReader): A trainer's snapshot.

    Returns:
        dict: Values by name, as in ``recipes.RECIPES``.

    Raises:
        ValueError: If they are not what such a file has.

    """
    text = npz.read(_SETTINGS, numpy.uint8, 1).tobytes()
    try:
        settings = json.loads(text)
        if not isinstance(settings, dict):
            raise ValueError('no object of JSON')
    except (ValueError, RecursionError) as e:
        raise ValueError(f'the settings cannot be read: {e}') from e
    return settings


def why_not_packed(settings):
    """Returns why the net of these settings is not one of bits, or ``None``.

    Args:
        settings (dict): Settings of a run, see ``recipes.RECIPES``.

    """
    for name in 'weight', 'activation':
        quantizer = settings.get(f'{name}_quantizer')
        if quantizer not in ('binary', 'stochastic', 'linear:1'):
            return f'its {name}s are {quantizer}, not binary'
    if settings.get('relu') is not False:
        return 'a relu follows its activations'
    if settings.get('evaluation') != 'running':
        return 'it is evaluated with the statistics of a batch'
    if settings.get('input_range') not in ('unit', 'symmetric'):
        return 'the range of its inputs is not known'
    eps = settings.get('normalization_eps')
    if type(eps) not in (int, float) or not 0 < eps <= 1:
        return 'the eps of its normalization is not known'
    return None


def read_snapshot(npz):
    """Returns the arrays of a snapshot's net by name.

    Args:
        npz (NpzReader): A trainer's snapshot.

    Raises:
        ValueError: If they cannot be read or are not float32.

    """
    names = sorted(name[len(_SNAPSHOT):] for name in npz.names
                   if name.startswith(_SNAPSHOT))
    return {name: npz.read(_SNAPSHOT + name, numpy.float32,
                           2 if name.endswith('/W') else 1)
            for name in names if _ARRAYS.match(name)}


def _load(cls, npz, path):
    def check(condition, name):
        if not condition:
            raise ValueError(f'{name} in {path} is not that of a packed net')

    letters = npz.read('format', numpy.uint8, 1).tobytes()
    check(letters == _FORMAT.encode(), 'format')
    version = npz.read('version', numpy.int64, 1).tolist()
    if version != [_VERSION]:
        raise ValueError(f'{path} is of version {version}, this program reads '
                         f'version {_VERSION}')
    sizes = npz.read('sizes', numpy.int64, 1).tolist()
    check(len(sizes) >= 2 and all(1 <= n < _MAX_IN for n in sizes)
          and sizes[0] * _PIXEL_MAX < 1 << 31, 'sizes')
    hidden = []
    for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:]), 1):
        words = npz.read(f'l{i}/W', numpy.uint64, 2)
        check(words.shape == (n_out, -(-n_in // 64))
              and _padding_is_zero(words, n_in), f'l{i}/W')
        if i == len(sizes) - 1:
            norm = npz.read(f'l{i}/norm', numpy.float32, 2)
            check(norm.shape == (5, n_out) and numpy.isfinite(norm).all()
                  and (norm[2] > 0).all(), f'l{i}/norm')
            output = OutputLayer(n_in, words, BatchNorm(*norm))
            continue
        thresholds = npz.read(f'l{i}/threshold', numpy.int32, 1)
        bound = n_in * _PIXEL_MAX if i == 1 else n_in
        check(thresholds.shape == (n_out,) and (thresholds >= -bound).all()
              and (thresholds <= bound + 1).all(), f'l{i}/threshold')
        falling = npz.read(f'l{i}/falling', numpy.uint64, 1)
        check(falling.shape == (-(-n_out // 64),)
              and _padding_is_zero(falling[None], n_out), f'l{i}/falling')
        hidden.append(HiddenLayer(n_in, words, thresholds, falling))
    return cls(hidden, output)


def _padding_is_zero(words, n):
    used = n % 64
    return not used or not (words[:, -1] >> numpy.uint64(used)).any()


def _get_float32(arrays, name, shape, default):
    if name not in arrays and default is not None:
        return numpy.full(shape, default, numpy.float32)
    array = numpy.asarray(arrays[name])
    if array.dtype != numpy.float32:
        raise ValueError(f'{name} must be float32, got {array.dtype}')
    if shape is None:
        if array.ndim != 2 or not array.size:
            raise ValueError(f'{name} must be of shape (units, inputs), got '
                             f'{array.shape}')
        largest = _PIXEL_MAX if name == 'l1/W' else 1
        if (array.shape[1] >= _MAX_IN
                or array.shape[1] * largest >= 1 << 31):
            raise ValueError(f'{name} has too many inputs: {array.shape[1]}')
    elif array.shape != shape:
        raise ValueError(f'{name} must be of shape {shape}, got '
                         f'{array.shape}')
    if not numpy.isfinite(array).all():
        raise ValueError(f'{name} holds NaN or infinity')
    return array


def _blocks_first(n):
    """Returns an order of a square picture's runs of 4 pixels, by blocks.

    A digit's pixels are neighbours, and so are the black ones: 8 black pixels
    together make octets of zero, which the product skips. In blocks of 4 x 2
    there are more of them than in rows.
    """
    side = round(n ** .5)
    if side * side != n or side % 4:
        return numpy.arange(-(-n // 4))
    y, x = numpy.mgrid[:side, :side // 4].reshape(2, -1)
    return numpy.lexsort((y, x, y // 2))


def _reorder(words, n, order):
    """Returns packed weights with their runs of 4 in this order."""
    signs = numpy.full((len(words), 4 * len(order)), -1, numpy.int8)
    signs[:, :n] = kernels.unpack_signs(words, n)
    runs = signs.reshape(len(words), len(order), 4)[:, order]
    return kernels.pack_signs(runs.reshape(signs.shape))


def _send(xp, array):
    if xp is numpy and not isinstance(array, numpy.ndarray):
        return array.get()
    return xp.asarray(array)
