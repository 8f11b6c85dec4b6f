"""Random nets and pictures, and the nets of Chainer that they are."""
import chainer_compat
import chainer
import hypothesis
import numpy

from net import MnistConvNet, MnistMLP

often = hypothesis.settings(max_examples=60, deadline=None, derandomize=True)


def random_arrays(sizes, seed=0):
    """Parameters whose units change their decision at all kinds of places."""
    random = numpy.random.RandomState(seed)
    arrays = {}
    for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:]), 1):
        arrays.update({
            f'l{i}/W': random.uniform(-1, 1, (n_out, n_in)),
            f'l{i}/b': random.normal(0, 1, n_out),
            f'bn{i}/gamma': random.normal(0, 1, n_out),
            f'bn{i}/beta': random.normal(0, 1, n_out),
            f'bn{i}/avg_mean': random.normal(0, n_in ** .5, n_out),
            f'bn{i}/avg_var': random.uniform(0, n_in, n_out),
        })
    return {name: a.astype(numpy.float32) for name, a in arrays.items()}


def random_pixels(n, n_in, seed=0):
    random = numpy.random.RandomState(seed)
    x = random.randint(0, 256, (n, n_in)) * (random.rand(n, n_in) < .3)
    return x.astype(numpy.uint8)


def make_chain(arrays, n_hidden=2):
    n_units, n_in = arrays['l1/W'].shape
    n_out = len(arrays[f'l{n_hidden + 1}/W'])
    chain = MnistMLP(n_in, n_units, n_out, n_hidden=n_hidden)
    chainer.serializers.NpzDeserializer(arrays, strict=False).load(chain)
    return chain


def evaluate(layer, x):
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        return layer(x).array


def make_conv_net(shape, channels, n_units, n_out, seed=0, **kwargs):
    """A conv net whose channels decide at all kinds of places.

    Some channels of each layer are constant, and some are falling.
    """
    random = numpy.random.RandomState(seed)
    net = MnistConvNet(shape, channels, n_units, n_out, **kwargs)
    for link, norm in net.layers():
        n_in, n = link.W.array[0].size, len(link.W)
        for param, values in (
                (link.W, random.uniform(-1, 1, link.W.shape)),
                (link.b, random.normal(0, 1, n)),
                (norm.gamma, random.normal(0, 1, n)
                 * (random.rand(n) < .9)),
                (norm.beta, random.normal(0, .5, n))):
            param.array[...] = values
        norm.avg_mean[...] = random.normal(0, n_in ** .5, n)
        if hasattr(norm, 'avg_var'):
            norm.avg_var[...] = random.uniform(0, n_in, n)
        else:
            norm.avg_inv_std[...] = random.uniform(.01, 1, n)
    return net


def assert_same_on_a_gpu(net):
    """Asserts that a packed net of 784 inputs gives the same on a GPU."""
    import cupy
    x = random_pixels(50, 784)
    expected, activations = net.logits(x), net.activations(x)
    net.to(cupy)
    for a, b in zip(net.activations(cupy.asarray(x)), activations):
        numpy.testing.assert_array_equal(a.get(), b)
    numpy.testing.assert_allclose(
        net.logits(cupy.asarray(x)).get(), expected, rtol=1e-5)
    numpy.testing.assert_array_equal(net.to(numpy).logits(x), expected)
