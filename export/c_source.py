"""A trained net as one file of C99 without floating point: net.c."""
import functools
import itertools
import pathlib
import string
import textwrap
import typing

from export import c_tables

WORDS = 8, 16, 32, 64


class Overhead(typing.NamedTuple):
    """Most bytes of net.c beside its tables and vectors, by any compiler."""

    code: int
    stack: int


# Of nets without convolutions, and of those with them.
LINEAR, CONVOLUTIONS = Overhead(2000, 250), Overhead(3000, 400)

# What is within reach of AVR's pointers to flash, where there is more than
# the tables, and what an array of AVR may have.
_AVR_TABLES, _AVR_TABLE = 65000, 32767

# A macro of nets without convolutions.
_ABOUT_PLANES = """\
 *     QUANTIZED_NET_PLANES  How the first layer adds pixels up. 1: all of
 *                           them at once, bit by bit, for any image in the
 *                           same time. 0: one by one, but for those that are
 *                           0; with less memory.
"""

# More classes than these are not listed in the comment on top.
_MAX_LISTED = 100


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
    layers = c_tables.layers(net)
    overhead = CONVOLUTIONS if net.convolutions else LINEAR
    height, width = net.images.shape
    text = string.Template(_read('template')).substitute(
        about=_comment(_about(net)), pixels=_comment(_pixels(net), '    '),
        memory=_memory(layers), code_max=f'{overhead.code:,}',
        about_first_layer='' if net.convolutions else _ABOUT_PLANES,
        stack_max=overhead.stack, width=width, height=height,
        n_pixels=net.sizes[0], n_classes=net.sizes[-1], avr=_avr(layers),
        tables=_tables(layers), last=len(layers),
        n_ends=max(1, len(net.convolutions)) + 1,
        first_layers=_read(
            'convolutional' if net.convolutions else 'linear'),
        last_words=_n_words(layers, len(layers)),
        last_inputs=_n_inputs(layers, len(layers)), calls=_calls(layers),
        names=',\n'.join(f'    {literal(name)}'
                         for name in net.images.classes))
    return text.encode('ascii')


def _read(name):
    """Returns a part of net.c's code; what depends on the net is behind $."""
    return pathlib.Path(__file__).with_name(f'net_{name}.c').read_text(
        encoding='ascii')


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


def n_stack(layers, bits, planes):
    """Returns the bytes of vectors that net.c has on the stack at most.

    Args:
        layers (list of Layer): The net's.
        bits (int): Bits of a word.
        planes (bool or None): Whether ``QUANTIZED_NET_PLANES`` is 1; ``None``
            for a net with convolutions.

    """
    vectors = sum(c_tables.buffers(layers, bits))
    if planes:
        _, n_pixels = layers[0].inputs
        vectors += 8 * c_tables.n_words(n_pixels, bits)
    sums = 4 * bits if planes is False else 0
    return vectors * bits // 8 + sums


# Text


def _tables(layers):
    parts = [f'#define LAYERS {len(layers)}']
    if layers[0].convolution:
        n = sum(layer.convolution is not None for layer in layers)
        by_class = layers[0].convolution.thresholds.ndim > 1
        parts += [f'#define CONVOLUTIONS {n}',
                  f'#define BY_CLASS {int(by_class)}']
    parts += [f'#define UNITS_{i} {layer.outputs[1]}'
              for i, layer in enumerate(layers[:-1], 1)]
    types = {layer.name: layer.numbers.dtype for layer in layers}
    parts += [f'typedef {dtype}_t {name}_t;' for name, dtype in types.items()]
    for i, layer in enumerate(layers, 1):
        parts += ['', '/* ' + '\n   '.join(
            textwrap.wrap(layer.comment, 72)) + ' */']
        parts.append(f'static const word_t weights_{i}[] FLASH = {{')
        parts += [_row(row, layer.row) for row in layer.rows.tolist()]
        parts.append('};')
        parts.append(f'static const {layer.name}_t {layer.name}s_{i}[] FLASH '
                     '= {')
        parts.append(_numbers(layer.numbers.tolist()))
        parts.append('};')
    return '\n'.join(parts)


def _row(words, n):
    """Returns the words of n weights, no byte more than they need."""
    n_bytes = -(-n // 8)
    digits = [f'{word:0{2 * min(4, n_bytes - 4 * k)}x}'
              for k, word in enumerate(words)]
    pairs = [digits[k:k + 2] for k in range(0, len(digits), 2)]
    return _in_lines([f'W{4 * len("".join(pair))}({",".join(pair)}),'
                      for pair in pairs], 3)


def _numbers(numbers):
    width = max(len(str(number)) for number in numbers)
    return _in_lines([f'{number:{width}},' for number in numbers],
                     76 // (width + 2))


def _in_lines(items, n):
    return '\n'.join('  ' + ' '.join(items[i:i + n])
                     for i in range(0, len(items), n))


def _calls(layers):
    """Returns the body of the function that calls one layer after another."""
    names = 'ab'[:len(layers) - 1]
    lines = []
    for i, name in enumerate(names):
        outputs = [layer.outputs for layer in layers[:-1][i::2]]
        n_units = [values for n, values in outputs if n == 1]
        sizes = [_words(*pair) for pair in outputs if pair[0] > 1]
        if n_units:
            sizes.append(_words(1, max(n_units)))
        # Which is the largest depends on the words.
        largest = functools.reduce(lambda a, b: f'MAX({a}, {b})', sizes)
        lines.append(f'word_t {name}[{largest}];')
    vectors = itertools.cycle(names)
    x = out = None
    for i in range(1, len(layers)):
        x, out = out, next(vectors)
        lines += textwrap.wrap(_call(layers, i, x, out), 75,
                               subsequent_indent='    ')
    lines.append(f'return last_layer({out});')
    return '\n'.join(f'    {line}' for line in lines)


def _call(layers, i, x, out):
    layer = layers[i - 1]
    if layer.convolution:
        weights, _, (height, width), pool = layer.convolution
        kh, kw = weights.shape[2:]
        if i == 1:
            return f'pixel_convolution(pixels, {kh}, {kw}, {pool}, {out});'
        return (f'convolution({x}, {height}, {width}, WORDS(UNITS_{i - 1}), '
                f'UNITS_{i - 1}, {kh}, {kw}, {pool}, weights_{i}, '
                f'thresholds_{i}, UNITS_{i}, {out});')
    if i == 1:
        return f'first_layer(pixels, {out});'
    return (f'hidden_layer({x}, {_n_words(layers, i)}, weights_{i}, '
            f'limits_{i}, UNITS_{i}, {out});')


def _n_inputs(layers, i):
    """Returns the number of inputs of layer i, in C."""
    n, _ = layers[i - 1].inputs
    return f'{n} * UNITS_{i - 1}' if n > 1 else f'UNITS_{i - 1}'


def _n_words(layers, i):
    """Returns the number of words of the inputs of layer i, in C."""
    n, _ = layers[i - 1].inputs
    return _words(n, f'UNITS_{i - 1}')


def _words(n, values):
    """Returns the number of words of n pixels, or of one vector, in C."""
    return f'{n} * WORDS({values})' if n > 1 else f'WORDS({values})'


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
    n_pixels, *hidden, last = net.sizes
    n = len(net.convolutions)
    parts = [f'{n_pixels} pixels']
    if n:
        parts.append('convolutions of {} channels'.format(
            ' and '.join(map(str, hidden[:n]))))
    if hidden[n:]:
        parts.append(f'{" and ".join(map(str, hidden[n:]))} hidden units')
    text = ', '.join([*parts, f'{last} classes'])
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


def _memory(layers):
    rows = [('QUANTIZED_NET_WORD', map(str, WORDS)),
            ('flash for the tables',
             [f'{sum(layer.nbytes(bits) for layer in layers):,}'
              for bits in WORDS])]
    kinds = [('stack', None)] if layers[0].convolution else [
        (f'stack, QUANTIZED_NET_PLANES={int(planes)}', planes)
        for planes in (False, True)]
    rows += [(what, [f'{n_stack(layers, bits, planes):,}' for bits in WORDS])
             for what, planes in kinds]
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
