"""net.html: one page to draw on, which classifies what is drawn."""
import base64
import hashlib
import html
import json
import os
import re

import numpy

from data.description import DIGITS
from system.errors import InputError

_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'page')
_STYLES = 'page.css', 'answer.css'
_SCRIPTS = 'net.js', 'picture.js', 'answer.js', 'drawing.js'


def write(net):
    """Returns a net as a page of HTML.

    The page holds all that it needs: net, style and program. Its Content
    Security Policy allows these by their checksums and nothing else, no
    request least of all. The same net gives the same bytes.

    Args:
        net (Canonical): The net; the names of its classes may be any text.

    Returns:
        bytes: UTF-8 text.

    Raises:
        InputError: If the net has convolutions.

    """
    if net.convolutions:
        raise InputError('a page takes nets without convolutions')
    style = '\n'.join(map(_read, _STYLES))
    script = '\n'.join(map(_read, _SCRIPTS))
    parts = {
        'title': html.escape(title(net.images.classes)),
        'about': html.escape(about(net)),
        'style': style,
        'style_hash': _hash(style),
        'script': script,
        'script_hash': _hash(script),
        # In a script's element "<" alone could end it.
        'net': json.dumps(describe(net), allow_nan=False,
                          separators=(',', ':')).replace('<', r'\u003c'),
    }
    return re.sub(r'\{\{(\w+)\}\}', lambda match: parts[match[1]],
                  _read('page.html')).encode()


def describe(net):
    """Returns what the page's program reads, of types that JSON has.

    Args:
        net (Canonical): The net.

    Returns:
        dict: ``sizes``; ``weights``, for each layer base64 of its rows of
        bits, 1 is +1, the lowest bit of a byte first, each row in whole bytes;
        ``thresholds`` of the hidden layers; ``norm`` of the last one, see
        :class:`~export.canonical.Canonical`; ``shape`` of the images, height
        and width; ``names`` of the classes; ``isDigit``: whether pictures
        become images as :mod:`data.digit_image` makes them, or as a whole;
        and ``background`` of the images, dark as they all are.

    """
    images = net.images
    return {
        'sizes': net.sizes,
        'weights': [_bits(weights) for weights in (
            *(layer.weights for layer in net.hidden), net.weights)],
        'thresholds': [layer.thresholds.tolist() for layer in net.hidden],
        'norm': [numpy.asarray(vector).tolist() for vector in net.norm],
        'shape': list(images.shape),
        'names': list(images.classes),
        'isDigit': (images.preparation == 'digit'
                    and tuple(images.shape) == DIGITS.shape),
        'background': min(images.background, 255 - images.background),
    }


def about(net):
    """Returns the lines on what a net is."""
    n_weights = sum(n * m for n, m in zip(net.sizes, net.sizes[1:]))
    kilobytes = n_weights / 8000
    text = (f'{net.sizes[0]} pixels, '
            f'{" and ".join(map(str, net.sizes[1:-1]))} hidden units, '
            f'{net.sizes[-1]} classes: {n_weights:,} weights of +1 or '
            f'\N{MINUS SIGN}1, one bit each, '
            f'{kilobytes:,.{0 if kilobytes >= 10 else 1}f} kB.')
    if net.accuracy:
        text = f'{text} {net.accuracy}.'
    return re.sub(' (?=%|kB)', '\N{NO-BREAK SPACE}', text)


def title(names):
    """Returns the page's title, which says what the net recognizes."""
    text = ''.join(names)
    if all(len(name) == 1 for name in names):
        if text.isdecimal():
            return 'Draw a digit'
        if text.isalpha():
            return 'Draw a letter'
        if text.isalnum():
            return 'Draw a letter or a digit'
    *others, last = names
    if others and len(names) <= 3 and len(text) <= 60:
        return f'Draw {", ".join(others)} or {last}'
    return f'Draw one of {len(names):,} things'


def _read(name):
    with open(os.path.join(_FOLDER, name), encoding='utf-8') as f:
        return f.read()


def _hash(text):
    digest = hashlib.sha256(text.encode()).digest()
    return f'sha256-{base64.b64encode(digest).decode()}'


def _bits(weights):
    rows = numpy.packbits(weights > 0, axis=1, bitorder='little')
    return base64.b64encode(rows.tobytes()).decode()
