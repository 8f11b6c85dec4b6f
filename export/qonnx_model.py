"""The net as QONNX: a graph of float32 that says which values are bits."""
import numpy

from export.onnx_graph import Graph
from kernels.packed_convolution import border_classes
from system.errors import InputError

# What the file is for: qonnx and Brevitas' readers, FINN, hls4ml.
DIALECTS = 'bipolar', 'finn', 'hls4ml'

_DOMAIN = 'qonnx.custom_op.general'

# float32 holds all integers up to here.
_EXACT = 1 << 24

# A file of protobuf has less, a weight 4 bytes.
_MAX_BYTES = (1 << 31) - (1 << 20)


def write(net, dialect='bipolar'):
    """Returns the file of a net for tools that know QONNX.

    A hidden layer is a product with +1 and -1, or a convolution, from which
    the thresholds are subtracted, and the sign of that. Pooling follows: the
    greatest sign. All values are integers in float32, and all but the last
    layer's normalization is exact.

    Args:
        net (Canonical): The net.
        dialect (str): ``bipolar``: BipolarQuant for weights and activations;
            ``finn``: plain weights and MultiThreshold, from which FINN
            starts; ``hls4ml``: weights as Quant of 2 bits, as hls4ml takes
            BipolarQuant for activations alone.

    Returns:
        bytes: QONNX of the input ``pixels``, float32 (1, inputs) of 0 to 255,
        and the output ``logits``, float32 (1, classes).

    Raises:
        InputError: If there is no onnx, or if float32 or the file is too
            small for the net.

    """
    sizes = net.sizes
    n_pixels = net.hidden[0].weights[0].size
    if 255 * n_pixels >= _EXACT:
        raise InputError(f'QONNX adds pixels in float32, which is exact for '
                         f'{(_EXACT - 1) // 255:,} of them, not for '
                         f'{n_pixels:,}')
    n_weights = net.weights.size + sum(
        layer.weights.size for layer in net.hidden)
    if 4 * n_weights > _MAX_BYTES:
        raise InputError(f'a QONNX file of {n_weights:,} weights would be '
                         'larger than 2 GiB')
    graph = Graph(
        f'Net of +1 and -1, sizes {"-".join(map(str, sizes))}, in the dialect '
        f'{dialect} of QONNX.')
    a = graph.input('pixels', 'FLOAT', [1, sizes[0]], 'an image, 0 to 255')
    graph.annotate(a, 'UINT8')
    if dialect != 'finn':
        graph.constant('one', numpy.array(1, numpy.float32))
    if dialect == 'hls4ml':
        graph.constant('zero', numpy.array(0, numpy.float32))
        graph.constant('two_bits', numpy.array(2, numpy.float32))
    if net.convolutions:
        a = _convolutions(graph, a, net, dialect)
    n_convolutions = len(net.convolutions)
    for i, (weights, thresholds) in enumerate(
            net.hidden[n_convolutions:], n_convolutions + 1):
        s = _product(graph, a, f'l{i}', weights, dialect)
        a = _sign(graph, s, f'l{i}', thresholds.astype(numpy.float32), dialect)
    s = _product(graph, a, f'l{len(sizes) - 1}', net.weights, dialect)
    logits = graph.norm(s, net)
    for name in 'biased', 'centred', 'normal', 'scaled':
        graph.inner(name, 'FLOAT', [1, sizes[-1]])
    graph.output(logits, 'FLOAT', [1, sizes[-1]])
    return graph.to_bytes(net, _DOMAIN)


def _convolutions(graph, a, net, dialect):
    """Adds the convolutions and returns the name of their flat images."""
    size = net.convolutions[0].size
    a = graph.node('Reshape', [a, graph.constant(
        'image', numpy.array([-1, 1, *size], numpy.int64))], 'images')
    graph.inner(a, 'FLOAT', [1, 1, *size])
    graph.annotate(a, 'UINT8')
    for i, (weights, thresholds, size, pool) in enumerate(
            net.convolutions, 1):
        layer, ksize, n_out = f'l{i}', weights.shape[2:], len(weights)
        W = _weights(graph, layer, weights, dialect)
        pad = [n // 2 for n in ksize]
        s = graph.node('Conv', [a, W], f'{layer}_sums', pads=2 * pad,
                       kernel_shape=list(ksize), strides=[1, 1],
                       dilations=[1, 1], group=1)
        graph.inner(s, 'FLOAT', [1, n_out, *size])
        graph.annotate(s, 'INT32')
        thresholds = thresholds.astype(numpy.float32)
        if thresholds.ndim > 1:
            rows, columns = map(border_classes, size, ksize)
            t = graph.constant(f'{layer}_border', numpy.ascontiguousarray(
                thresholds[rows][:, columns].transpose(2, 0, 1)[None]))
            graph.annotate(t, 'INT32')
            s = graph.node('Sub', [s, t], f'{layer}_inside')
            graph.inner(s, 'FLOAT', [1, n_out, *size])
            graph.annotate(s, 'INT32')
            thresholds = numpy.zeros(n_out, numpy.float32)
        a = _sign(graph, s, layer, thresholds, dialect, size)
        if pool > 1:
            a = graph.node('MaxPool', [a], f'{layer}_pooled',
                           kernel_shape=[pool] * 2, strides=[pool] * 2)
            size = [n // pool for n in size]
            graph.inner(a, 'FLOAT', [1, n_out, *size])
            graph.annotate(a, 'BIPOLAR')
    a = graph.node('Flatten', [a], 'features')
    graph.inner(a, 'FLOAT', [1, n_out * size[0] * size[1]])
    graph.annotate(a, 'BIPOLAR')
    return a


def _product(graph, a, layer, weights, dialect):
    """Adds a product with +-1 weights and returns the name of its sums."""
    W = _weights(graph, layer, weights.T, dialect)
    s = graph.node('MatMul', [a, W], f'{layer}_sums')
    graph.inner(s, 'FLOAT', [1, len(weights)])
    graph.annotate(s, 'INT32')
    return s


def _weights(graph, layer, weights, dialect):
    """Adds +-1 weights and returns their name."""
    W = graph.constant(f'{layer}_W', numpy.ascontiguousarray(
        weights, numpy.float32))
    if dialect == 'finn':
        graph.annotate(W, 'BIPOLAR')
        return W
    if dialect == 'bipolar':
        W = graph.node('BipolarQuant', [W, 'one'], f'{layer}_Wq', _DOMAIN)
        graph.annotate(W, 'BIPOLAR')
    else:
        W = graph.node(
            'Quant', [W, 'one', 'zero', 'two_bits'], f'{layer}_Wq', _DOMAIN,
            signed=1, narrow=1, rounding_mode='ROUND')
        graph.annotate(W, 'INT2')
    graph.inner(W, 'FLOAT', weights.shape)
    return W


def _sign(graph, s, layer, thresholds, dialect, size=()):
    """Adds +1 where a sum is at least its threshold, elsewhere -1."""
    name, shape = f'{layer}_activations', [1, len(thresholds), *size]
    if dialect == 'finn':
        t = graph.constant(f'{layer}_thresholds', thresholds[:, None])
        graph.annotate(t, 'INT32')
        a = graph.node('MultiThreshold', [s, t], name, _DOMAIN,
                       out_dtype='BIPOLAR', out_scale=2., out_bias=-1.)
    else:
        t = graph.constant(f'{layer}_thresholds', thresholds.reshape(
            -1, *[1] * len(size)))
        graph.annotate(t, 'INT32')
        margin = graph.node('Sub', [s, t], f'{layer}_margins')
        graph.inner(margin, 'FLOAT', shape)
        graph.annotate(margin, 'INT32')
        a = graph.node('BipolarQuant', [margin, 'one'], name, _DOMAIN)
    graph.inner(a, 'FLOAT', shape)
    graph.annotate(a, 'BIPOLAR')
    return a
