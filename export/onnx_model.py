"""The net as ONNX: weights as bits in the file, integer products."""
import numpy

from export.onnx_graph import Graph

# Byte -> its bits, the lowest first, as +1 and -1: int8 (256, 8).
_SIGNS = 'signs_of_bytes'


def write(net):
    """Returns the file of a net that any runtime of ONNX computes.

    The file holds one bit for a weight. Nodes on constants make int8 +1 and -1
    of them, which a runtime does once, as it starts. Hidden activations are
    1 and 0 for +1 and -1, so that the sum of a layer is

        s = 2 a . w - sum(w)

    for the integer product a . w, and ``s >= t`` is
    ``a . w >= ceil((t + sum(w)) / 2)``. Nothing is a float before the last
    layer's sums.

    Args:
        net (Canonical): The net.

    Returns:
        bytes: ONNX of the input ``pixels``, uint8 (N, inputs), and the outputs
        ``class``, int64 (N,), the first where two are equal; ``logits``,
        those of :meth:`prediction.packed_net.PackedMLP.logits` to the bit;
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
    bits = numpy.arange(256)[:, None] >> numpy.arange(8) & 1
    graph.constant(_SIGNS, (2 * bits - 1).astype(numpy.int8))
    graph.constant('flat', numpy.array([-1], numpy.int64))
    graph.constant('start', numpy.array([0], numpy.int64))
    for i, (weights, thresholds) in enumerate(net.hidden, 1):
        if i > 1:
            # ceil(x / 2) is -floor(-x / 2)
            thresholds = -(-(thresholds + _total(weights)) // 2)
        s = _product(graph, a, f'l{i}', weights)
        fires = graph.node(
            'GreaterOrEqual', [s, graph.constant(
                f'l{i}_thresholds', thresholds.astype(numpy.int32))],
            f'l{i}_fires')
        a = graph.cast(fires, f'l{i}_activations', 'UINT8')
    last = f'l{len(net.hidden) + 1}'
    # In integers: a product that meets a float is fused with what follows by
    # some runtimes, and then rounded elsewhere.
    s = graph.node('Mul', [
        _product(graph, a, last, net.weights),
        graph.constant('two', numpy.array(2, numpy.int32))], f'{last}_doubled')
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


def _product(graph, a, layer, weights):
    """Adds a product with +-1 weights that the file holds as bits.

    Args:
        graph (Graph): The graph.
        a (str): Name of uint8 (N, inputs).
        layer (str): Beginning of the names.
        weights (numpy.ndarray): int8 +1 and -1 of shape (units, inputs).

    Returns:
        str: Name of the int32 sums (N, units).

    """
    packed = numpy.packbits(weights.T > 0, bitorder='little')
    octets = graph.cast(graph.constant(f'{layer}_bits', packed),
                        f'{layer}_octets', 'INT32')
    signs = graph.node('Gather', [_SIGNS, octets], f'{layer}_signs')
    signs = graph.node('Reshape', [signs, 'flat'], f'{layer}_row')
    end = graph.constant(f'{layer}_size',
                         numpy.array([weights.size], numpy.int64))
    signs = graph.node('Slice', [signs, 'start', end], f'{layer}_weights')
    shape = graph.constant(f'{layer}_shape',
                           numpy.array(weights.T.shape, numpy.int64))
    W = graph.node('Reshape', [signs, shape], f'{layer}_W')
    return graph.node('MatMulInteger', [a, W], f'{layer}_products')
