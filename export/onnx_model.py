"""The net as ONNX: weights as bits in the file, integer products."""
import numpy

from export.onnx_graph import Graph
from kernels.packed_convolution import border_classes

_BITS = numpy.arange(256)[:, None] >> numpy.arange(8) & 1

# Byte -> its bits, the lowest first, as +1 and -1: int8 (256, 8).
_SIGNS = 'signs_of_bytes'

# The same as 2 and 0, with the zero point 1: uint8, as older runtimes have no
# convolution of int8.
_POINTED_SIGNS = 'pointed_signs_of_bytes'


def write(net):
    """Returns the file of a net that any runtime of ONNX computes.

    The file holds one bit for a weight. Nodes on constants make int8 +1 and -1
    of them, which a runtime does once, as it starts. Hidden activations are
    1 and 0 for +1 and -1, so that the sum of a layer is

        s = 2 a . w - sum(w)

    for the integer product a . w, and ``s >= t`` is
    ``a . w >= ceil((t + sum(w)) / 2)``. Of a convolution they are 2 and 0 with
    the zero point 1, which is what its zeros around an image are as well.
    Nothing is a float before the last layer's sums.

    Args:
        net (Canonical): The net.

    Returns:
        bytes: ONNX of the input ``pixels``, uint8 (N, inputs), and the outputs
        ``class``, int64 (N,), the first where two are equal; ``logits``,
        those of :meth:`prediction.packed_net.PackedNet.logits` to the bit;
        and ``probabilities``, their softmax; both float32 (N, classes).

    Raises:
        InputError: If there is no onnx.

    """
    n_in, n_out = net.sizes[0], net.sizes[-1]
    graph = Graph(
        f'Net of +1 and -1, sizes {"-".join(map(str, net.sizes))}. A row of '
        f'pixels is an image of {" x ".join(map(str, net.images.shape))} '
        'bytes, row by row; class is an index into the metadata "classes".')
    a = graph.input('pixels', 'UINT8', ['N', n_in], 'images, 0 to 255')
    graph.constant(_SIGNS, (2 * _BITS - 1).astype(numpy.int8))
    graph.constant('flat', numpy.array([-1], numpy.int64))
    graph.constant('start', numpy.array([0], numpy.int64))
    if net.convolutions:
        a = _convolutions(graph, a, net)
    n_convolutions = len(net.convolutions)
    for i, (weights, thresholds) in enumerate(
            net.hidden[n_convolutions:], n_convolutions + 1):
        if i == n_convolutions + 1:
            s = _product(graph, a, f'l{i}', weights, i > 1)
        else:
            # ceil(x / 2) is -floor(-x / 2)
            thresholds = -(-(thresholds + _total(weights)) // 2)
            s = _product(graph, a, f'l{i}', weights)
        fires = graph.node(
            'GreaterOrEqual', [s, graph.constant(
                f'l{i}_thresholds', thresholds.astype(numpy.int32))],
            f'l{i}_fires')
        a = graph.cast(fires, f'l{i}_activations', 'UINT8')
    last = f'l{len(net.hidden) + 1}'
    if n_convolutions == len(net.hidden):
        s = _product(graph, a, last, net.weights, True)
    else:
        # In integers: a product that meets a float is fused with what follows
        # by some runtimes, and then rounded elsewhere.
        s = graph.node('Mul', [
            _product(graph, a, last, net.weights),
            graph.constant('two', numpy.array(2, numpy.int32))],
            f'{last}_doubled')
        s = graph.node('Sub', [
            s, graph.constant(f'{last}_total',
                              _total(net.weights).astype(numpy.int32))],
            f'{last}_sums')
    logits = graph.norm(graph.cast(s, f'{last}_real', 'FLOAT'), net)
    graph.output(graph.node('ArgMax', [logits], 'class', axis=1, keepdims=0),
                 'INT64', ['N'], 'index of the class')
    graph.output(logits, 'FLOAT', ['N', n_out])
    graph.output(graph.node('Softmax', [logits], 'probabilities', axis=1),
                 'FLOAT', ['N', n_out])
    return graph.to_bytes(net)


def _total(weights):
    return weights.sum(axis=1, dtype=numpy.int64)


def _convolutions(graph, a, net):
    """Adds the convolutions, and returns the name of their flat images."""
    for name, value in ('point', 1), ('plus', 2), ('minus', 0):
        graph.constant(name, numpy.array(value, numpy.uint8))
    graph.constant(_POINTED_SIGNS, (2 * _BITS).astype(numpy.uint8))
    size = net.convolutions[0].size
    a = graph.node('Reshape', [a, graph.constant(
        'image', numpy.array([-1, 1, *size], numpy.int64))], 'images')
    for i, (weights, thresholds, size, pool) in enumerate(
            net.convolutions, 1):
        layer, ksize = f'l{i}', weights.shape[2:]
        s = graph.node('ConvInteger', [
            a, _signs(graph, layer, weights, _POINTED_SIGNS),
            'point' if i > 1 else 'minus', 'point'],
            f'{layer}_sums', pads=2 * [n // 2 for n in ksize])
        fires = graph.node('GreaterOrEqual', [
            s, _thresholds(graph, layer, thresholds, size, ksize)],
            f'{layer}_fires')
        a = graph.node('Where', [fires, 'plus', 'minus'], f'{layer}_values')
        if pool > 1:
            a = graph.node('MaxPool', [a], f'{layer}_pooled',
                           kernel_shape=[pool] * 2, strides=[pool] * 2)
    return graph.node('Flatten', [a], 'features')


def _thresholds(graph, layer, thresholds, size, ksize):
    """Adds thresholds that sums (N, channels, height, width) meet."""
    thresholds = numpy.moveaxis(thresholds, -1, 0).astype(numpy.int32)
    if thresholds.ndim == 1:
        return graph.constant(f'{layer}_thresholds', thresholds[:, None, None])
    name = graph.constant(f'{layer}_thresholds', thresholds)
    for axis, what in (1, 'row'), (2, 'column'):
        classes = border_classes(size[axis - 1], ksize[axis - 1])
        name = graph.node('Gather', [name, graph.constant(
            f'{layer}_{what}s', classes.astype(numpy.int64))],
            f'{layer}_thresholds_of_each_{what}', axis=axis)
    return name


def _product(graph, a, layer, weights, has_point=False):
    """Adds a product with +-1 weights that the file holds as bits.

    Args:
        graph (Graph): The graph.
        a (str): Name of uint8 (N, inputs).
        layer (str): Beginning of the names.
        weights (numpy.ndarray): int8 +1 and -1 of shape (units, inputs).
        has_point (bool): Whether the inputs are those of a convolution, with
            the zero point 1.

    Returns:
        str: Name of the int32 sums (N, units).

    """
    return graph.node('MatMulInteger', [
        a, _signs(graph, layer, weights.T), *['point'] * has_point],
        f'{layer}_products')


def _signs(graph, layer, weights, table=_SIGNS):
    """Adds weights +1 and -1, of any shape, that are bits in the file."""
    packed = numpy.packbits(weights > 0, bitorder='little')
    octets = graph.cast(graph.constant(f'{layer}_bits', packed),
                        f'{layer}_octets', 'INT32')
    signs = graph.node('Gather', [table, octets], f'{layer}_signs')
    signs = graph.node('Reshape', [signs, 'flat'], f'{layer}_row')
    end = graph.constant(f'{layer}_size',
                         numpy.array([weights.size], numpy.int64))
    signs = graph.node('Slice', [signs, 'start', end], f'{layer}_weights')
    shape = graph.constant(f'{layer}_shape',
                           numpy.array(weights.shape, numpy.int64))
    return graph.node('Reshape', [signs, shape], f'{layer}_W')
