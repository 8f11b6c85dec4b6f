"""What inference_speed.py compares: one net, packed and in float32.

A contender is a function that takes the arrays of a trained net by name, as
:func:`system.snapshot_file.read_net` returns them. It returns a function
from images to classes, and what computes in it, in words.
"""
import math

import numpy

import kernels
from benchmarks import machine
from layers import blocks
from prediction import packed_layers
from prediction.packed_net import PackedNet

# Images that a float32 net takes at a time.
BATCH = 1000

# Height and width of the images of nets with convolutions.
SHAPE = 28, 28


def n_layers(arrays):
    """Returns the number of a net's layers."""
    return sum(name.endswith('/W') for name in arrays)


def pool_sizes(arrays):
    """Returns the pooling behind each convolution of a net, 1 for none."""
    n = sum(name.endswith('/W') and W.ndim == 4 for name, W in arrays.items())
    return blocks.pool_sizes(1, n // 2)


def layer_sizes(arrays):
    """Returns the widths of a net: its pixels, units and classes."""
    weights = [arrays[f'l{i}/W'] for i in range(1, n_layers(arrays) + 1)]
    n_in = (SHAPE[0] * SHAPE[1] if pool_sizes(arrays)
            else weights[0].shape[1])
    return [n_in, *map(len, weights)]


def conv_shapes(channels, unit):
    """Returns the weights' shapes of a net with two blocks of convolutions."""
    return blocks.weight_shapes(channels, 2, SHAPE, [unit, 10])


def linear_shapes(sizes):
    """Returns the shapes of the weights of a net of these widths."""
    return list(zip(sizes[1:], sizes))


def random_arrays(shapes):
    """Returns the arrays of a random net whose units are not constant.

    Args:
        shapes (list of tuple): Those of the layers' weights.

    """
    rng = numpy.random.RandomState(0)
    arrays = {}
    for i, shape in enumerate(shapes, 1):
        n_out, n_in = shape[0], math.prod(shape[1:])

        def normal(scale, n_out=n_out):
            return rng.normal(0, scale, n_out).astype(numpy.float32)

        arrays[f'l{i}/W'] = rng.uniform(-1, 1, shape).astype(numpy.float32)
        arrays[f'l{i}/b'] = normal(.1)
        arrays[f'bn{i}/gamma'] = 1 + normal(.2)
        arrays[f'bn{i}/beta'] = normal(.1)
        arrays[f'bn{i}/avg_mean'] = normal(n_in ** .5 / 4)
        arrays[f'bn{i}/avg_var'] = numpy.full(n_out, n_in, numpy.float32)
    return arrays


def binary_layers(arrays):
    """Yields each layer's weights, +-1, and its normalization.

    Of products s, that is ``scale * s + shift``: shift and scale.
    """
    i = 1
    while f'l{i}/W' in arrays:
        W = numpy.where(arrays[f'l{i}/W'] >= 0, 1, -1).astype(numpy.float32)
        scale = arrays[f'bn{i}/gamma'] / numpy.sqrt(
            arrays[f'bn{i}/avg_var'] + packed_layers.EPS)
        shift = arrays[f'bn{i}/beta'] + scale * (
            arrays[f'l{i}/b'] - arrays[f'bn{i}/avg_mean'])
        yield W, shift.astype(numpy.float32), scale.astype(numpy.float32)
        i += 1


def folded_layers(arrays):
    """Yields each layer's weights and bias, normalization folded in.

    Before a sign that is the whole of it: each hidden layer is one product
    and one comparison, which is the least that float32 can do.
    """
    layers = list(binary_layers(arrays))
    for W, shift, scale in layers[:-1]:
        if W.ndim > 2 and (scale < 0).any():
            # Pooling looks for the greatest sum, of which the sign turns.
            raise ValueError('falling channels are not folded')
        flip = numpy.where(scale < 0, -1, 1).astype(numpy.float32)
        yield W * flip.reshape(-1, *[1] * (W.ndim - 1)), flip * shift / scale
    W, shift, scale = layers[-1]
    yield W * scale[:, None], shift


def make_packed(arrays):
    """Returns the prediction of the net in bits."""
    net = PackedNet.from_arrays(
        arrays, pool_sizes=pool_sizes(arrays), image_shape=SHAPE)
    return net.predict, kernels.description()


def make_numpy(arrays):
    """Returns the prediction of the folded net in NumPy."""
    if pool_sizes(arrays):
        raise ImportError('NumPy has no convolutions')
    layers = [(numpy.ascontiguousarray(W.T), b)
              for W, b in folded_layers(arrays)]

    def predict(x):
        y = numpy.empty(len(x), numpy.int64)
        for start in range(0, len(x), BATCH):
            h = x[start:start + BATCH]
            for i, (W, b) in enumerate(layers):
                h = h @ W
                h += b
                if i < len(layers) - 1:
                    numpy.copysign(numpy.float32(1), h, out=h)
            y[start:start + BATCH] = h.argmax(axis=1)
        return y

    return predict, f'NumPy {numpy.__version__}, {machine.blas()}'


def make_chainer(arrays):
    """Returns the prediction of Chainer's own links."""
    import chainer_compat
    import chainer
    import chainer.functions as F
    import chainer.links as L

    from qst import qst

    chain = chainer.Chain()
    n, pools = n_layers(arrays), pool_sizes(arrays)
    arrays = dict(arrays)
    with chain.init_scope():
        for i in range(1, n + 1):
            W = arrays[f'l{i}/W']
            # Chainer's own product: this project's is one of bits.
            arrays[f'l{i}/W'] = numpy.where(W >= 0, 1, -1).astype(W.dtype)
            setattr(chain, f'l{i}', L.Linear(*W.shape[::-1]) if W.ndim == 2
                    else L.Convolution2D(W.shape[1], len(W), 3, pad=1))
            setattr(chain, f'bn{i}', L.BatchNormalization(len(W)))
    chainer.serializers.NpzDeserializer(arrays, strict=False).load(chain)

    def predict(x):
        y = numpy.empty(len(x), numpy.int64)
        with chainer.using_config('train', False), chainer.no_backprop_mode():
            for start in range(0, len(x), BATCH):
                h = x[start:start + BATCH]
                if pools:
                    h = h.reshape(len(h), 1, *SHAPE)
                for i in range(1, n + 1):
                    h = chain[f'l{i}'](h)
                    if i <= len(pools) and pools[i - 1] > 1:
                        h = F.max_pooling_2d(h, pools[i - 1], cover_all=False)
                    h = chain[f'bn{i}'](h)
                    if i < n:
                        h = qst(h)
                y[start:start + BATCH] = h.array.argmax(axis=1)
        return y

    return predict, f'Chainer {chainer.__version__}'


def make_pytorch(arrays):
    """Returns the prediction of the folded net in PyTorch."""
    import torch

    def tensor(array):
        tensor = torch.from_numpy(array)
        if array.ndim == 4:
            # Up to twice as fast as the default.
            tensor = tensor.to(memory_format=torch.channels_last)
        return tensor

    layers = [tuple(map(tensor, layer)) for layer in folded_layers(arrays)]
    one, pools = torch.ones(()), pool_sizes(arrays)

    def multiply(h, i):
        if i >= len(pools):
            return torch.nn.functional.linear(h.flatten(1), *layers[i])
        h = torch.nn.functional.conv2d(h, *layers[i], padding=1)
        if pools[i] > 1:
            h = torch.nn.functional.max_pool2d(h, pools[i])
        return h

    @torch.inference_mode()
    def predict(x):
        y = []
        for start in range(0, len(x), BATCH):
            h = x[start:start + BATCH]
            h = tensor(h.reshape(-1, 1, *SHAPE) if pools else h)
            for i in range(len(layers)):
                h = multiply(h, i)
                if i < len(layers) - 1:
                    h = torch.copysign(one, h)
            y.append(h.argmax(dim=1))
        return torch.cat(y).numpy()

    return predict, (f'PyTorch {torch.__version__}, '
                     f'{torch.get_num_threads()} threads')


CONTENDERS = {'packed': make_packed, 'NumPy float32': make_numpy,
              'Chainer float32': make_chainer, 'PyTorch float32': make_pytorch}
