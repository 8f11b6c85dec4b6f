"""A trained net as one file of C99 without floating point: net.c."""
import dataclasses
import pathlib
import string
import textwrap

import numpy

from system.errors import InputError

# The code of net.c; what depends on the net stands behind $.
_TEMPLATE = pathlib.Path(__file__).with_name('net_template.c')

WORDS = 8, 16, 32, 64

# Bytes of net.c beside its tables and its vectors, for any compiler.
CODE_MAX, STACK_MAX = 2000, 250

# What is within reach of AVR's pointers to flash, where there is more than
# the tables, and what an array of AVR may have.
_AVR_TABLES, _AVR_TABLE = 65000, 32767

# More classes than these are not listed in the comment on top.
_MAX_LISTED = 100


@dataclasses.dataclass
class _Layer:
    """One layer's tables."""

    n_in: int
    rows: numpy.ndarray  # uint32 (units, words), 1 is +1
    numbers: numpy.ndarray  # thresholds, limits or ranks
    name: str  # of the numbers
    comment: str

    def nbytes(self, bits):
        """Returns the bytes of both tables with words of so many bits."""
        return (len(self.rows) * _n_words(self.n_in, bits) * bits // 8
                + self.numbers.nbytes)


def write(net):
    """Returns a C file that classifies as a net does.

    A vector of +1 and -1 is one of bits. A hidden unit counts the d bits in
    which inputs and weights differ and has a limit: ``n - 2 d >= t`` is
    ``d < floor((n - t) / 2) + 1``. The last layer has a table of ranks: for
    each class and each d that of the float32 logit among all that there are,
    so that logits that are equal stay so.

    Args:
        net (Canonical): The net.

    Returns:
        bytes: The file, in ASCII.

    """
    if net.convolutions:
        raise InputError('net.c takes nets without convolutions')
    layers = _layers(net)
    height, width = net.images.shape
    text = string.Template(_TEMPLATE.read_text(encoding='ascii')).substitute(
        about=_comment(_about(net)), pixels=_comment(_pixels(net), '    '),
        memory=_memory(net.sizes, layers), code_max=f'{CODE_MAX:,}',
        stack_max=STACK_MAX, width=width, height=height,
        n_pixels=net.sizes[0], n_classes=net.sizes[-1], avr=_avr(layers),
        tables=_tables(layers), last=len(layers), before=len(layers) - 1,
        calls=_calls(net.sizes),
        names=',\n'.join(f'    {literal(name)}'
                         for name in net.images.classes))
    return text.encode('ascii')


def literal(text):
    """Returns a C string literal, in ASCII, of text in UTF-8.

    Digits after an octal escape of three digits are no part of it, as they
    would be after a hexadecimal one; an escaped ``?`` begins no trigraph.
    """
    characters = []
    for byte in text.encode('utf-8', 'backslashreplace'):
        if chr(byte) in '"\\?':
            characters.append(f'\\{byte:c}')
        elif 32 <= byte < 127:
            characters.append(chr(byte))
        else:
            characters.append(f'\\{byte:03o}')
    return f'"{"".join(characters)}"'


def n_stack(sizes, bits, planes):
    """Returns the bytes of vectors that net.c has on the stack at most.

    Args:
        sizes (list of int): The net's.
        bits (int): Bits of a word.
        planes (bool): Whether ``QUANTIZED_NET_PLANES`` is 1.

    """
    vectors = sum(_buffers(sizes, bits))
    if planes:
        return (vectors + 8 * _n_words(sizes[0], bits)) * bits // 8
    return vectors * bits // 8 + 4 * bits


def n_flash(net, bits):
    """Returns the bytes of net.c's tables with words of so many bits."""
    return sum(layer.nbytes(bits) for layer in _layers(net))


# Tables


def _layers(net):
    first, *others = net.hidden
    layers = [_Layer(
        net.sizes[0], _pack(first.weights), _shrink(first.thresholds, True),
        'threshold', f'Layer 1: {net.sizes[0]} pixels to {net.sizes[1]} '
        'units, with a row of weights and a threshold each.')]
    for i, (weights, thresholds) in enumerate(others, 2):
        units, n = weights.shape
        layers.append(_Layer(
            n, _pack(weights), (n - thresholds) // 2 + 1, 'limit',
            f'Layer {i}: {n} inputs to {units} units, with a row of weights '
            'and a limit each.'))
    units, n = net.weights.shape
    layers.append(_Layer(
        n, _pack(net.weights), _shrink(_ranks(net).ravel()), 'rank',
        f'Layer {len(layers) + 1}: {n} inputs to {units} classes, with a row '
        f'of weights each, and for 0 to {n} inputs that differ from it the '
        'rank of the output among all outputs that there are.'))
    # One type for the limits of all layers.
    limits = _shrink(numpy.concatenate(
        [layer.numbers for layer in layers[1:-1]] or [numpy.zeros(1, int)]))
    for layer in layers:
        if layer.name == 'limit':
            layer.numbers = layer.numbers.astype(limits.dtype)
    return layers


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


def _n_words(n, bits):
    """Returns the number of words of n bits, as WORDS of the C file does."""
    return (-(-n // 32) * 32 + bits - 1) // bits


def _buffers(sizes, bits):
    """Returns the words of the vectors that hidden layers write by turns."""
    words = [_n_words(n, bits) for n in sizes[1:-1]]
    return [max(words[i::2]) for i in range(min(2, len(words)))]


# Text


def _tables(layers):
    parts = [f'#define LAYERS {len(layers)}']
    parts += [f'#define UNITS_{i} {len(layer.rows)}'
              for i, layer in enumerate(layers[:-1], 1)]
    types = {layer.name: layer.numbers.dtype for layer in layers}
    parts += [f'typedef {dtype}_t {name}_t;' for name, dtype in types.items()]
    for i, layer in enumerate(layers, 1):
        parts += ['', '/* ' + '\n   '.join(
            textwrap.wrap(layer.comment, 72)) + ' */']
        parts.append(f'static const word_t weights_{i}[] FLASH = {{')
        parts += [_row(row) for row in layer.rows.tolist()]
        parts.append('};')
        parts.append(f'static const {layer.name}_t {layer.name}s_{i}[] FLASH '
                     '= {')
        parts.append(_numbers(layer.numbers.tolist()))
        parts.append('};')
    return '\n'.join(parts)


def _row(words):
    items = [f'W64({low:08x},{high:08x}),'
             for low, high in zip(words[::2], words[1::2])]
    if len(words) % 2:
        items.append(f'W32({words[-1]:08x}),')
    return _in_lines(items, 3)


def _numbers(numbers):
    width = max(len(str(number)) for number in numbers)
    return _in_lines([f'{number:{width}},' for number in numbers],
                     76 // (width + 2))


def _in_lines(items, n):
    return '\n'.join('  ' + ' '.join(items[i:i + n])
                     for i in range(0, len(items), n))


def _calls(sizes):
    """Returns the body of the function that calls one layer after another."""
    names = 'ab'[:len(_buffers(sizes, 32))]
    lines = []
    for i, name in enumerate(names):
        n = max(sizes[1:-1][i::2])
        lines.append(f'word_t {name}[WORDS({n})];')
    lines.append('first_layer(pixels, a);')
    for i in range(2, len(sizes) - 1):
        lines.append(f'hidden_layer({names[i % 2]}, WORDS(UNITS_{i - 1}), '
                     f'weights_{i}, limits_{i}, UNITS_{i}, '
                     f'{names[(i + 1) % 2]});')
    lines.append(f'return last_layer({names[len(sizes) % 2 - 1]});')
    return '\n'.join(f'    {line}' for line in lines)


def _avr(layers):
    """Returns a line for AVR, which has no room for some nets."""
    largest = max(max(layer.nbytes(8) - layer.numbers.nbytes,
                      layer.numbers.nbytes) for layer in layers)
    total = sum(layer.nbytes(8) for layer in layers)
    if largest <= _AVR_TABLE and total <= _AVR_TABLES:
        return ''
    return (f'#error "too large for AVR: {total:,} bytes of tables, '
            f'{largest:,} in one"\n')


def _about(net):
    *hidden, last = net.sizes[1:]
    text = (f'{net.sizes[0]} pixels, {" and ".join(map(str, hidden))} hidden '
            f'units, {last} classes')
    if net.accuracy:
        text += f'; {net.accuracy}'
    names = net.images.classes
    if names != tuple(map(str, range(last))):
        text += '. Classes: ' + ', '.join(
            f'{i} "{name}"' for i, name in enumerate(names[:_MAX_LISTED]))
        text += ', ...' * (last > _MAX_LISTED)
    return f'{text}.'


def _pixels(net):
    height, width = net.images.shape
    ink = ' (ink on a background of 0)' * (net.images.preparation == 'digit')
    return (f'takes an image, {width} pixels wide and {height} high, row by '
            f'row from the top, each from 0 to 255{ink}, and returns its '
            f'class, 0 to {net.sizes[-1] - 1}.')


def _memory(sizes, layers):
    rows = [('QUANTIZED_NET_WORD', map(str, WORDS)),
            ('flash for the tables',
             [f'{sum(layer.nbytes(bits) for layer in layers):,}'
              for bits in WORDS])]
    rows += [(f'stack, QUANTIZED_NET_PLANES={planes}',
              [f'{n_stack(sizes, bits, planes):,}' for bits in WORDS])
             for planes in (0, 1)]
    return '\n'.join(' *     ' + f'{what:29}' + ''.join(
        f'{value:>10}' for value in values) for what, values in rows)


def _comment(text, indent=''):
    """Returns lines of a comment that no text can end.

    Whatever is not printable ASCII is escaped as in Python; ``*/``, ``/*``
    and trigraphs get a space.
    """
    text = ''.join(
        c if ' ' <= c <= '~' and c != '\\'
        else c.encode('unicode_escape').decode('ascii') for c in text)
    for pair in '*/', '/*', '??':
        while pair in text:
            text = text.replace(pair, ' '.join(pair))
    return '\n'.join(f' * {indent}{line}' for line in textwrap.wrap(
        text, 75 - len(indent)))
