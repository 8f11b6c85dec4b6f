#!/usr/bin/env python
"""Takes the picture of net.html for the documents, with a digit drawn.

It needs a Chromium. The same net, browser and fonts give the same picture.
"""
import argparse
import io
import pathlib
import sys

import numpy
from PIL import Image

if __name__ == '__main__':
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from experiments import browser
from system import files

# Size of the page in CSS's pixels, and colours of the picture.
WIDTH, HEIGHT, COLOURS = 960, 670, 48


def three():
    """Returns the stroke of a 3, as shares of the field's sides."""
    bow = numpy.linspace(-2.3, 1.5, 24)
    top = numpy.stack([.47 + .16 * numpy.cos(bow), .34 + .14 * numpy.sin(bow)])
    bow = numpy.linspace(-1.5, 2.4, 24)
    low = numpy.stack([.47 + .2 * numpy.cos(bow), .65 + .17 * numpy.sin(bow)])
    return numpy.concatenate([top, low], axis=1).T.tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('page', type=pathlib.Path,
                        help='file that predict_mnist.py --export has written')
    parser.add_argument('picture', help='PNG to write')
    parser.add_argument('--dark', action='store_true', help='the dark theme')
    args = parser.parse_args()
    program = browser.find()
    if program is None:
        parser.error('there is no Chromium')
    with browser.opened(program) as page:
        page.resize(WIDTH, HEIGHT, dark=args.dark)
        page.open(args.page)
        page.draw(three())
        page.settle()
        # A time differs from run to run.
        page.run('document.getElementById("time").textContent = ""')
        page.run('document.querySelector("footer").remove()')
        image = Image.open(io.BytesIO(page.picture())).convert('RGB')
    image = image.quantize(COLOURS, dither=Image.Dither.NONE)
    files.write(args.picture, lambda f: image.save(f, 'PNG', optimize=True))


if __name__ == '__main__':
    main()
