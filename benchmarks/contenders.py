"""What inference_speed.py compares: one net, packed and in float32.

A contender is a function that takes the arrays of a trained net by name, as
:func:`system.snapshot_file.read_net` returns them. It returns a function
from images to classes, and what computes in it, in words.
"""
import numpy

import kernels
from benchmarks import machine
from prediction import packed_layers
from prediction.packed_net import PackedMLP

# Images that a float32 net takes at a time.
BATCH = 1000


def layer_sizes(arrays):
    """Returns the widths of a net: its pixels, units and classes."""
    n_layers = sum(name.endswith('/W') for name in arrays)
    weights = [arrays[f'l{i}/W'] for i in range(1, n_layers + 1)]
    return [weights[0].shape[1], *map(len, weights)]


def random_arrays(sizes):
    """Returns the arrays of a random net whose units are not constant."""
    rng = numpy.random.RandomState(0)
    arrays = {}
    for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:]), 1):
        def normal(scale, n_out=n_out):
            return rng.normal(0, scale, n_out).astype(numpy.float32)

        arrays[f'l{i}/W'] = rng.uniform(
            -1, 1, (n_out, n_in)).astype(numpy.float32)
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
        flip = numpy.where(scale < 0, -1, 1).astype(numpy.float32)
        yield W * flip[:, None], flip * shift / scale
    W, shift, scale = layers[-1]
    yield W * scale[:, None], shift


def make_packed(arrays):
    """Returns the prediction of the net in bits."""
    net = PackedMLP.from_arrays(arrays)
    return net.predict, kernels.description()


def make_numpy(arrays):
    """Returns the prediction of the folded net in NumPy."""
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
    import chainer.links as L

    from qst import qst

    chain = chainer.Chain()
    n_layers = sum(name.endswith('/W') for name in arrays)
    arrays = dict(arrays)
    with chain.init_scope():
        for i in range(1, n_layers + 1):
            W = arrays[f'l{i}/W']
            # Chainer's own product: this project's is one of bits.
            arrays[f'l{i}/W'] = numpy.where(W >= 0, 1, -1).astype(W.dtype)
            setattr(chain, f'l{i}', L.Linear(*W.shape[::-1]))
            setattr(chain, f'bn{i}', L.BatchNormalization(len(W)))
    chainer.serializers.NpzDeserializer(arrays, strict=False).load(chain)

    def predict(x):
        y = numpy.empty(len(x), numpy.int64)
        with chainer.using_config('train', False), chainer.no_backprop_mode():
            for start in range(0, len(x), BATCH):
                h = x[start:start + BATCH]
                for i in range(1, n_layers + 1):
                    h = chain[f'bn{i}'](chain[f'l{i}'](h))
                    if i < n_layers:
                        h = qst(h)
                y[start:start + BATCH] = h.array.argmax(axis=1)
        return y

    return predict, f'Chainer {chainer.__version__}'


def make_pytorch(arrays):
    """Returns the prediction of the folded net in PyTorch."""
    import torch

    layers = [(torch.from_numpy(W), torch.from_numpy(b))
              for W, b in folded_layers(arrays)]
    one = torch.ones(())

    @torch.inference_mode()
    def predict(x):
        y = []
        for start in range(0, len(x), BATCH):
            h = torch.from_numpy(x[start:start + BATCH])
            for i, (W, b) in enumerate(layers):
                h = torch.nn.functional.linear(h, W, b)
                if i < len(layers) - 1:
                    h = torch.copysign(one, h)
            y.append(h.argmax(dim=1))
        return torch.cat(y).numpy()

    return predict, (f'PyTorch {torch.__version__}, '
                     f'{torch.get_num_threads()} threads')


CONTENDERS = {'packed': make_packed, 'NumPy float32': make_numpy,
              'Chainer float32': make_chainer, 'PyTorch float32': make_pytorch}
