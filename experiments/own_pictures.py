#!/usr/bin/env python
"""Measures how many pictures of digits a trained net gets right.

Digits of the test set are made into pictures as people have them, spoilt in
one way each, written to a file and read as predict_mnist.py --image reads
them. Of several digits, the answer is right if it is one of them; of a
picture without a digit, if it is refused. Doubtful are the pictures that a
line on stderr warns of.
"""
import argparse
import pathlib
import sys
import tempfile

import numpy
from PIL import Image, ImageDraw, ImageFilter

if __name__ == '__main__':
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from data import digit_image, mnist
from prediction import model_file
from system.errors import InputError

# Pixels of an enlarged picture, ten for each of MNIST's.
SIZE = 280


def enlarged(digit, size=SIZE):
    """Returns a digit of 28 x 28 pixels as a picture, dark on white."""
    image = Image.fromarray(255 - digit.reshape(28, 28))
    return image.resize((size, size), Image.Resampling.BICUBIC)


def on_paper(digit, contrast):
    """Returns a digit as float pixels, dark on a paper of grey 230."""
    return 230 - contrast * (255 - numpy.asarray(enlarged(digit), float))


def picture(pixels):
    return Image.fromarray(numpy.clip(pixels, 0, 255).astype(numpy.uint8))


def clean(digit, random):
    return enlarged(digit)


def light_on_dark(digit, random):
    return enlarged(255 - digit)


def as_mnist(digit, random):
    return Image.fromarray(digit.reshape(28, 28))


def small(digit, random):
    return enlarged(digit, 56)


def frame(digit, random):
    """A dark line of one pixel around the picture."""
    image = enlarged(digit)
    ImageDraw.Draw(image).rectangle((0, 0, SIZE - 1, SIZE - 1), outline=0)
    return image


def speck(digit, random):
    """A speck of 3 x 3 pixels in a corner."""
    image = enlarged(digit)
    left, top = map(int, random.choice([0, SIZE - 3], 2))
    ImageDraw.Draw(image).rectangle((left, top, left + 2, top + 2), fill=0)
    return image


def specks(digit, random):
    """Twenty dark specks of up to 7 x 7 pixels, anywhere."""
    image = enlarged(digit)
    for _ in range(20):
        left, top = random.randint(0, SIZE, 2)
        size = random.randint(7)
        ImageDraw.Draw(image).ellipse(
            (left, top, left + size, top + size), fill=int(random.randint(99)))
    return image


def noise(digit, random):
    """Noise of standard deviation 20, on grey paper in grey ink."""
    return picture(on_paper(digit, .5) + random.normal(0, 20, (SIZE, SIZE)))


def white_noise(digit, random):
    """The same noise on white paper, in black ink, cut off at 255."""
    return picture(numpy.asarray(enlarged(digit), float)
                   + random.normal(0, 20, (SIZE, SIZE)))


def scan(digit, random):
    """The dark, uneven edge of a scan along one side or two."""
    pixels = on_paper(digit, .8)
    for k in random.choice(4, random.randint(1, 3), replace=False):
        pixels = numpy.rot90(pixels, k).copy()
        widths = 4 + random.randint(16) * numpy.linspace(*random.rand(2), SIZE)
        pixels[numpy.arange(SIZE) < widths[:, None]] = random.randint(60)
        pixels = numpy.rot90(pixels, -k)
    return picture(pixels)


def box(digit, random):
    """A drawn box around the digit."""
    image = enlarged(digit)
    left, top, right, bottom = random.randint(8, 24, 4)
    ImageDraw.Draw(image).rectangle(
        (left, top, SIZE - right, SIZE - bottom), outline=0,
        width=int(random.randint(2, 7)))
    return image


def tilted_box(digit, random):
    """A box drawn by hand: not quite upright, its corners open."""
    page = Image.new('L', (400, 400), 255)
    page.paste(enlarged(digit), (60, 60))
    lo, hi = 50, 350
    corners = numpy.array([[lo, lo], [hi, lo], [hi, hi], [lo, hi]])
    for i in range(4):
        a, b = corners[[i, (i + 1) % 4]] + random.randint(-10, 10, (2, 2))
        ImageDraw.Draw(page).line([*map(float, (*a, *b))], fill=30, width=4)
    return page


def uneven_light(digit, random):
    """Light that falls to less than half across the page."""
    angle = random.rand() * 2 * numpy.pi
    y, x = numpy.mgrid[-1:1:SIZE * 1j, -1:1:SIZE * 1j]
    light = .7 + .25 * (x * numpy.cos(angle) + y * numpy.sin(angle))
    return picture(on_paper(digit, .8) * light
                   + random.normal(0, 3, (SIZE, SIZE)))


def photograph(digit, random):
    """Turned, blurred, in pale ink on a larger page lit from one side."""
    page = Image.new('L', (800, 600), 255)
    turned = enlarged(digit).rotate(
        random.uniform(-8, 8), Image.Resampling.BICUBIC, fillcolor=255)
    page.paste(turned, (int(random.randint(40, 480)),
                        int(random.randint(20, 300))))
    page = page.filter(ImageFilter.GaussianBlur(3))
    y, x = numpy.mgrid[-1:1:600j, -1:1:800j]
    light = .75 + .15 * x * random.choice([-1, 1]) - .1 * (x * x + y * y)
    ink = (255 - numpy.asarray(page, float)) * .45
    return picture((215 - ink) * light + random.normal(0, 6, x.shape))


def sheet(digit, random):
    """A sheet of paper, not quite upright, on a dark table."""
    page = Image.new('L', (600, 500), 60)
    width, height = (int(random.randint(300, n)) for n in (480, 400))
    paper = Image.new('L', (width, height), 235)
    paper.paste(enlarged(digit).point(lambda grey: 40 + grey * 195 // 255),
                ((width - SIZE) // 2, (height - SIZE) // 2))
    angle = random.uniform(-8, 8)
    turned = [part.rotate(angle, Image.Resampling.BICUBIC, expand=True)
              for part in (paper, Image.new('L', paper.size, 255))]
    page.paste(turned[0], (int(random.randint(40)), int(random.randint(40))),
               turned[1])
    return page.filter(ImageFilter.GaussianBlur(1))


def shadow(digit, random):
    """The shadow of a hand, with a hard edge, across the digit."""
    y, x = numpy.mgrid[:SIZE, :SIZE] - SIZE / 2
    angle = random.rand() * 2 * numpy.pi
    side = x * numpy.cos(angle) + y * numpy.sin(angle) + random.normal(0, 30)
    return picture(on_paper(digit, .8)
                   * (1 - .4 / (1 + numpy.exp(-numpy.clip(side, -50, 50)))))


def ruled(digit, random):
    """Paper with squares in pale blue, five millimetres to a digit of 20."""
    image = Image.new('RGB', (SIZE, SIZE), 'white')
    draw = ImageDraw.Draw(image)
    for at in range(int(random.randint(50)), SIZE, 50):
        draw.line([(at, 0), (at, SIZE)], fill='#b8c8e8', width=2)
        draw.line([(0, at), (SIZE, at)], fill='#b8c8e8', width=2)
    dark = numpy.asarray(enlarged(digit))[..., None]
    return picture(numpy.minimum(numpy.asarray(image), dark))


def cropped(digit, random):
    """Cut out along the digit."""
    image = enlarged(digit)
    ink = image.point([255 * (grey < 128) for grey in range(256)])
    return image.crop(ink.getbbox())


def several(digit, random, other):
    """Two digits side by side."""
    page = Image.new('L', (2 * SIZE, SIZE), 255)
    page.paste(enlarged(digit), (0, 0))
    page.paste(enlarged(other), (SIZE, 0))
    return page


def nothing(digit, random):
    """Paper with noise and the edge of a scan, no digit."""
    return picture(numpy.asarray(scan(numpy.zeros_like(digit), random), float)
                   + random.normal(0, 10, (SIZE, SIZE)))


KINDS = [as_mnist, small, clean, light_on_dark, frame, speck, specks, noise,
         white_noise, scan, box, tilted_box, uneven_light, photograph,
         shadow, sheet, ruled, cropped, several, nothing]


def measure(net, kind, images, labels, folder):
    """Returns numbers of right answers, of doubtful and refused pictures."""
    random = numpy.random.RandomState(0)
    path = str(folder / 'digit.jpg')
    fields, allowed, lines = [], [], []
    for i, image in enumerate(images):
        others = [images[i - 1]] if kind is several else []
        kind(image, random, *others).save(path, quality=85)
        try:
            fields.append(digit_image.read(path, lines.append))
        except InputError:
            continue
        allowed.append({labels[i], labels[i - 1]} if others else {labels[i]})
    n_refused = len(images) - len(fields)
    if kind is nothing:
        return n_refused, len(lines), n_refused
    if not fields:
        return 0, len(lines), n_refused
    answers = net.predict(numpy.stack(fields))
    right = sum(answer in labels for answer, labels in zip(answers, allowed))
    return right, len(lines), n_refused


def contact_sheet(kind, images, folder):
    """Returns pictures, and below each what is made of it, as one picture."""
    random = numpy.random.RandomState(0)
    sheet = Image.new('RGB', (len(images) * 116, 232), '#406080')
    path = str(folder / 'digit.jpg')
    for i, image in enumerate(images):
        others = [images[i - 1]] if kind is several else []
        kind(image, random, *others).save(path, quality=85)
        with Image.open(path) as shown:
            shown.thumbnail((112, 112))
            sheet.paste(shown, (i * 116, 0))
        try:
            field = digit_image.read(path, lambda line: None)
        except InputError:
            continue
        field = Image.fromarray(field.reshape(28, 28))
        sheet.paste(field.resize((112, 112), Image.Resampling.NEAREST),
                    (i * 116, 116))
    return sheet


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('model', help='snapshot, or file of --export')
    parser.add_argument('--digits', type=int, default=200, metavar='N',
                        help='number of test digits (default: 200)')
    parser.add_argument('--kinds', nargs='+', metavar='KIND',
                        choices=[kind.__name__ for kind in KINDS],
                        help='some of the kinds of spoiling')
    parser.add_argument('--sheets', metavar='DIR', type=pathlib.Path,
                        help='draw pictures and what is made of them')
    args = parser.parse_args()
    model = model_file.read(args.model)
    net = model.packed or model.chainer
    images, labels = mnist.read('test.npz')
    images, labels = images[:args.digits], labels[:args.digits]
    print('| kind | right, % | doubtful, % | refused, % |\n'
          '| --- | --- | --- | --- |')
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            if args.kinds and kind.__name__ not in args.kinds:
                continue
            counts = measure(net, kind, images, labels,
                             pathlib.Path(folder))
            name = kind.__name__.replace('_', ' ')
            print(f'| {name} | ' + ' | '.join(
                f'{100 * n / len(images):.1f}' for n in counts) + ' |',
                flush=True)
            if args.sheets:
                args.sheets.mkdir(exist_ok=True)
                contact_sheet(kind, images[:16], pathlib.Path(folder)).save(
                    args.sheets / f'{kind.__name__}.png')


if __name__ == '__main__':
    main()
