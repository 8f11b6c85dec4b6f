"""What net.c keeps in tables, and how many words its vectors have."""
import dataclasses

import numpy

from export.canonical import Convolution


@dataclasses.dataclass
class Layer:
    """One layer's tables.

    Its inputs and its outputs are ``(n, values)`` each: n pixels of so many
    channels, or one vector, n = 1.
    """

    inputs: tuple
    outputs: tuple
    row: int  # weights in a row
    rows: numpy.ndarray  # uint32 (rows, words), 1 is +1
    numbers: numpy.ndarray  # thresholds, limits or ranks
    name: str  # of the numbers
    comment: str
    convolution: object = None  # The Convolution that it is

    def nbytes(self, bits):
        """Returns the bytes of both tables with words of so many bits."""
        return (len(self.rows) * n_words(self.row, bits) * bits // 8
                + self.numbers.nbytes)


def layers(net):
    """Returns the layers of a canonical net, a list of :class:`Layer`."""
    result, inputs = [], (1, net.sizes[0])
    for i, layer in enumerate(net.hidden, 1):
        make = (_convolution if isinstance(layer, Convolution)
                else _pixels if i == 1 else _hidden)
        result.append(make(i, layer, inputs))
        inputs = result[-1].outputs
    units, n = net.weights.shape
    result.append(Layer(
        inputs, (1, units), inputs[1], _pack(_rows(net.weights, inputs)),
        _shrink(_ranks(net).ravel()), 'rank',
        f'Layer {len(result) + 1}: {n} inputs to {units} classes, with a row '
        f'of weights each, and for 0 to {n} inputs that differ from it the '
        'rank of the output among all outputs that there are.'))
    # One type for all thresholds, and one for all limits.
    for name, signed in ('threshold', True), ('limit', False):
        same = [layer for layer in result if layer.name == name]
        if same:
            dtype = _shrink(numpy.concatenate(
                [layer.numbers for layer in same]), signed).dtype
        for layer in same:
            layer.numbers = layer.numbers.astype(dtype)
    return result


def _pixels(i, layer, inputs):
    units, n = layer.weights.shape
    return Layer(
        inputs, (1, units), n, _pack(layer.weights), layer.thresholds,
        'threshold', f'Layer 1: {n} pixels to {units} units, with a row of '
        'weights and a threshold each.')


def _hidden(i, layer, inputs):
    weights, thresholds = layer
    units, n = weights.shape
    return Layer(
        inputs, (1, units), inputs[1], _pack(_rows(weights, inputs)),
        (n - thresholds) // 2 + 1, 'limit',
        f'Layer {i}: {n} inputs to {units} units, with a row of weights and a '
        'limit each.')


def _convolution(i, layer, inputs):
    weights, thresholds, (height, width), pool = layer
    units, channels, kh, kw = weights.shape
    if i == 1:
        rows = weights.reshape(units, kh * kw)
    else:
        rows = weights.transpose(0, 2, 3, 1).reshape(
            units * kh * kw, channels)
    image = f'{height} x {width} ' + (
        'pixels' if i == 1 else f'pixels of {channels} channels')
    by_class = (', one for each place of its window at the border'
                if thresholds.ndim > 1 else '')
    pooling = (f', the greatest of {pool} x {pool} sums' if pool > 1 else '')
    return Layer(
        inputs, ((height // pool) * (width // pool), units), rows.shape[1],
        _pack(rows), thresholds.ravel(), 'threshold',
        f'Layer {i}: {image} to {units} channels, with a window of {kh} x '
        f'{kw} weights and a threshold each{by_class}{pooling}.', layer)


def _rows(weights, inputs):
    """Returns rows of weights; of an image, a row for each of its pixels."""
    n, values = inputs
    if n == 1:
        return weights
    units = len(weights)
    return weights.reshape(units, values, n).transpose(0, 2, 1).reshape(
        units * n, values)


def _pack(signs):
    """Packs +1 and -1, (units, n), into uint32 words, (units, n / 32)."""
    units, n = signs.shape
    bits = numpy.zeros((units, -(-n // 32) * 32), numpy.uint8)
    bits[:, :n] = signs > 0
    return numpy.packbits(bits, axis=1, bitorder='little').view('<u4')


def _ranks(net):
    """Returns the rank of each logit that there can be, (classes, n + 1)."""
    units, n = net.weights.shape
    sums = n - 2 * numpy.arange(n + 1)
    with numpy.errstate(all='ignore'):
        logits = net.logits(numpy.repeat(sums[:, None], units, axis=1)).T
    return numpy.searchsorted(numpy.unique(logits), logits)


def _shrink(numbers, signed=False):
    """Returns integers in the smallest type of C that holds them."""
    for dtype in ('int8', 'int16', 'int32') if signed else (
            'uint8', 'uint16', 'uint32'):
        info = numpy.iinfo(dtype)
        if info.min <= numbers.min() and numbers.max() <= info.max:
            break
    return numbers.astype(dtype)


def n_words(n, bits):
    """Returns the number of words of n bits, as WORDS of the C file does."""
    return -(-n // bits)


def buffers(layers, bits):
    """Returns the words of the vectors that hidden layers write by turns."""
    words = [n * n_words(values, bits)
             for n, values in (layer.outputs for layer in layers[:-1])]
    return [max(words[i::2]) for i in range(min(2, len(words)))]
