import base64
import hashlib
import html.parser
import json
import shutil
import subprocess
import sys

import numpy
import pytest

import kernels
import predict_mnist
from data import mnist
from data.components import label
from data.description import DIGITS, Description
from export import canonical, formats, html_page
from prediction.packed_net import PackedNet
from tests.helpers import ROOT
from tests.helpers.nets import random_arrays, random_pixels
from tests.helpers.scripts import ENVIRONMENT

needs_node = pytest.mark.skipif(
    shutil.which('node') is None, reason='needs Node.js')

# Names that would do harm if they were not written with care.
NAMES = ('</script><script>alert(1)</script>', '<!--<script>',
         '"\'&amp;{{net}}', 'Größe 猫 \N{PILE OF POO}', '\\u003c')


def make_net(sizes, images=None, seed=0):
    """Returns a net with rising, falling and constant units."""
    arrays = random_arrays(sizes, seed)
    for i in range(1, len(sizes) - 1):
        arrays[f'bn{i}/gamma'][::7] = 0
        arrays[f'bn{i}/beta'][::14] = -1
        arrays[f'bn{i}/beta'][7::14] = 1
    return PackedNet.from_arrays(arrays, images=images)


def centred(sizes, x):
    """Returns such a net whose units decide differently on these images."""
    arrays = random_arrays(sizes)
    a = x / 255
    for i in range(1, len(sizes)):
        s = a @ numpy.where(arrays[f'l{i}/W'] >= 0, 1, -1).T
        arrays.update({f'bn{i}/avg_mean': s.mean(axis=0).astype('f4'),
                       f'bn{i}/avg_var': s.var(axis=0).astype('f4')})
        arrays[f'bn{i}/gamma'][::7] = i == len(sizes) - 1
        a = numpy.where((s - s.mean(axis=0)) * arrays[f'bn{i}/gamma']
                        + arrays[f'bn{i}/beta'] >= 0, 1, -1)
    return PackedNet.from_arrays(arrays)


def in_node(folder, page, task, data, dtype):
    """Returns what a task of page.js makes of some bytes."""
    (folder / 'net.html').write_bytes(page)
    (folder / 'in').write_bytes(data)
    subprocess.run(
        ['node', ROOT / 'tests' / 'helpers' / 'page.js', 'net.html', task,
         'in', 'out'], cwd=folder, check=True, timeout=300)
    return numpy.fromfile(folder / 'out', dtype)


def check_predictions(folder, net, x):
    n_classes = net.sizes[-1]
    results = in_node(folder, html_page.write(canonical.fold(net)),
                      'classify', x.tobytes(), '<f8')
    results = results.reshape(len(x), 1 + 2 * n_classes)
    logits = net.logits(x)
    numpy.testing.assert_array_equal(
        results[:, 1:1 + n_classes].astype(numpy.float32), logits)
    numpy.testing.assert_array_equal(results[:, 0], net.predict(x))
    numpy.testing.assert_allclose(
        results[:, 1 + n_classes:], net.probabilities(x), 2e-5, 1e-30)


# Exactness


@needs_node
def test_the_page_computes_all_test_images_as_the_packed_net(tmp_path):
    x, _ = mnist.read('test.npz')
    assert len(x) == 10000
    net = centred((784, 101, 77, 10), x[:500])
    for layer in net.hidden:
        falling = kernels.unpack_signs(layer.falling[None], layer.n_out)
        assert {-1, 1} == set(falling.reshape(-1))
    ones = sum(kernels.unpack_signs(net.activations(x)[1], 77) > 0)
    assert {0, 10000} < set(ones)
    x = numpy.concatenate(
        [x, numpy.zeros_like(x[:1]), numpy.full_like(x[:1], 255)])
    assert len(numpy.unique(net.predict(x))) >= 5
    check_predictions(tmp_path, net, x)


@needs_node
@pytest.mark.parametrize('sizes', [
    (30, 5, 3), (1, 1, 2), (33, 8, 1), (65, 64, 129, 63, 7), (784, 1000, 10)])
def test_the_page_computes_nets_of_odd_sizes(sizes, tmp_path):
    for seed in range(3):
        x = random_pixels(300, sizes[0], seed)
        x[0], x[1] = 0, 255
        check_predictions(tmp_path, make_net(sizes, seed=seed), x)


@needs_node
def test_of_two_equal_logits_the_first_is_the_class(tmp_path):
    arrays = random_arrays((9, 8, 6))
    for name in arrays:
        if name.startswith(('l2/', 'bn2/')):
            arrays[name][3:] = arrays[name][:3]
    net = PackedNet.from_arrays(arrays)
    x = random_pixels(50, 9)
    assert (net.logits(x)[:, :3] == net.logits(x)[:, 3:]).all()
    check_predictions(tmp_path, net, x)


@needs_node
def test_halves_are_rounded_to_even(tmp_path):
    x = numpy.arange(-40, 40) / 8
    page = html_page.write(canonical.fold(make_net((30, 5, 3))))
    numpy.testing.assert_array_equal(
        in_node(tmp_path, page, 'round', x.tobytes(), '<f8'), numpy.rint(x))


# Pictures


def as_a_pen_draws(digit):
    """Returns a digit's ink, 280 x 280: black, but for the strokes' edges."""
    from PIL import Image
    image = Image.fromarray(digit.reshape(28, 28)).resize(
        (1120, 1120), Image.Resampling.BICUBIC)
    image = image.point([255 * (grey >= 128) for grey in range(256)])
    return numpy.asarray(image.resize((280, 280), Image.Resampling.BOX))


def read_pictures(folder, inks):
    """Returns what predict_mnist.py --image makes of ink on white paper."""
    from PIL import Image
    for i, ink in enumerate(inks):
        Image.fromarray(255 - ink).save(folder / f'{i}.png')
    # In a process of its own, as OpenBLAS's threads are chosen at its start.
    subprocess.run(
        [sys.executable, '-c',
         f'import sys\nsys.path.insert(0, {str(ROOT)!r})\n'
         'import numpy\nfrom data import digit_image\n'
         'numpy.save("read.npy", [digit_image.read(path)'
         f' for path in map("{{}}.png".format, range({len(inks)}))])'],
        cwd=folder, env=ENVIRONMENT, check=True, timeout=300)
    return numpy.load(folder / 'read.npy')


@needs_node
@pytest.mark.slow
def test_300_digits_become_the_same_images_as_their_pictures(tmp_path):
    pytest.importorskip('PIL')
    x, _ = mnist.read('test.npz')
    # All ink counts on the page: of several parts digit_image may drop one.
    inks = [ink for ink in map(as_a_pen_draws, x[:320])
            if label(ink > 0)[1] == 1][:300]
    assert len(inks) == 300
    page = html_page.write(canonical.fold(make_net((784, 8, 10))))
    fields = in_node(tmp_path, page, 'digits', numpy.stack(inks).tobytes(),
                     numpy.uint8).reshape(300, 784)
    numpy.testing.assert_array_equal(fields, read_pictures(tmp_path, inks))


def random_strokes(n, width=280, height=280, seed=0):
    """Returns drawings of one stroke that bends; a dot is among them."""
    random = numpy.random.RandomState(seed)
    drawings = [[[[100., 120.]]]]
    for _ in range(n - 1):
        points = random.uniform(11, (width - 11, height - 11), (4, 2))
        t = numpy.linspace(0, 1, 20)[:, None]
        curve = (points[0] * (1 - t) ** 3 + 3 * points[1] * t * (1 - t) ** 2
                 + 3 * points[2] * t ** 2 * (1 - t) + points[3] * t ** 3)
        drawings.append([curve.tolist()])
    return drawings


@needs_node
def test_drawn_strokes_become_the_same_images_as_their_pictures(tmp_path):
    pytest.importorskip('PIL')
    drawings = random_strokes(60)
    page = html_page.write(canonical.fold(make_net((784, 8, 10))))
    results = in_node(tmp_path, page, 'draw', json.dumps(drawings).encode(),
                      numpy.uint8).reshape(60, -1)
    inks, fields = results[:, :-784].reshape(60, 280, 280), results[:, -784:]
    assert (inks.max(axis=(1, 2)) == 255).all()
    assert ((inks > 0) & (inks < 255)).any(axis=(1, 2)).all()
    numpy.testing.assert_array_equal(fields, read_pictures(tmp_path, inks))


@needs_node
@pytest.mark.parametrize(('shape', 'ink_shape', 'background'), [
    ((28, 28), (280, 280), 0), ((5, 6), (233, 280), 255),
    ((40, 90), (140, 280), 90), ((1, 100), (140, 280), 0),
    ((31, 3), (280, 140), 240), ((300, 300), (280, 280), 0)])
def test_of_a_plain_drawing_all_is_scaled(
        shape, ink_shape, background, tmp_path):
    Image = pytest.importorskip('PIL.Image')
    n = shape[0] * shape[1]
    net = make_net((n, 8, 3), Description(
        shape, ('a', 'b', 'c'), 'plain', background))
    # Where it is light, the images are turned round.
    dark = background if background < 128 else 255 - background
    drawings = random_strokes(5, *ink_shape[::-1])
    results = in_node(
        tmp_path, html_page.write(canonical.fold(net)), 'draw',
        json.dumps(drawings).encode(), numpy.uint8).reshape(5, -1)
    for result in results:
        ink = result[:-n].reshape(ink_shape).astype(numpy.float32)
        scaled = numpy.asarray(Image.fromarray(ink).resize(
            shape[::-1], Image.Resampling.BOX)).astype(numpy.float64)
        expected = numpy.rint(dark + scaled * ((255 - dark) / 255))
        assert (expected > dark).any()
        numpy.testing.assert_array_equal(result[-n:].reshape(shape), expected)


# The page


class Reader(html.parser.HTMLParser):
    """Keeps elements, attributes and texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], {}
        self.key = ''
        self.feed(page.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        self.key = tag + self.attributes[-1].get('type', '')

    def handle_endtag(self, tag):
        self.key = ''

    def handle_data(self, data):
        self.texts[self.key] = self.texts.get(self.key, '') + data


def test_the_page_holds_the_net_whatever_the_classes_are_called():
    images = Description((5, 6), NAMES, 'plain')
    net = canonical.fold(make_net((30, 9, 5), images),
                         canonical.Accuracy(3, 4, '<i>&'))
    page = html_page.write(net)
    assert page == html_page.write(net)
    reader = Reader(page)
    assert json.loads(reader.texts['scriptapplication/json']) == (
        html_page.describe(net))
    plain = Reader(html_page.write(canonical.fold(make_net((30, 9, 5)))))
    assert reader.tags == plain.tags
    assert reader.tags.count('script') == 2
    assert '75.00\xa0% of the 4 test images of <i>& right.' in (
        reader.texts['p'])


def test_the_page_allows_its_own_style_and_program_and_no_request():
    page = html_page.write(canonical.fold(make_net((30, 5, 3))))
    reader = Reader(page)
    policy, = (attributes['content'] for attributes in reader.attributes
               if 'http-equiv' in attributes)
    hashes = [base64.b64encode(hashlib.sha256(
        reader.texts[tag].encode()).digest()).decode()
        for tag in ('script', 'style')]
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; "
        f"style-src 'sha256-{hashes[1]}'; base-uri 'none'; "
        "form-action 'none'")
    for attributes in reader.attributes:
        assert not {'src', 'href', 'style', 'srcset'} & set(attributes)
    assert not any(name.startswith('on') for attributes in reader.attributes
                   for name in attributes)
    assert b'://' not in page
    assert b'\r' not in page


@pytest.mark.parametrize(('names', 'title'), [
    (DIGITS.classes, 'Draw a digit'), ('abc', 'Draw a letter'),
    ('a1', 'Draw a letter or a digit'), (['cat', 'dog'], 'Draw cat or dog'),
    (['cat', 'dog', 'cow'], 'Draw cat, dog or cow'),
    (['10', '11', '12', '13'], 'Draw one of 4 things'),
    (['one'], 'Draw one of 1 things'),
    (['x' * 40, 'y' * 40], 'Draw one of 2 things')])
def test_the_title_says_what_the_net_recognizes(names, title):
    assert html_page.title(names) == title


def test_the_page_says_what_the_net_is():
    net = canonical.fold(make_net((784, 101, 77, 10)))
    assert html_page.about(net) == (
        '784 pixels, 101 and 77 hidden units, 10 classes: 87,731 weights of '
        '+1 or \N{MINUS SIGN}1, one bit each, 11\xa0kB.')


def test_digits_of_another_size_are_plain_drawings():
    for shape, is_digit in ((28, 28), True), ((14, 56), False):
        images = Description(shape, DIGITS.classes, 'digit')
        net = canonical.fold(make_net((784, 8, 10), images))
        assert html_page.describe(net)['isDigit'] is is_digit


def test_the_program_writes_the_page(tmp_path, capsys):
    net = make_net((784, 8, 10))
    net.save(str(tmp_path / 'net.npz'))
    path = tmp_path / 'NET.HTML'
    predict_mnist.main([str(tmp_path / 'net.npz'), '--export', str(path)])
    assert path.read_bytes() == html_page.write(canonical.fold(net))
    assert capsys.readouterr().out.startswith(
        f'exported: {path}, {path.stat().st_size:,} bytes\n')
    assert formats.writer('a.html') is html_page.write


def test_no_file_of_the_page_is_long():
    files = list((ROOT / 'export' / 'page').iterdir())
    assert {path.name for path in files} == {
        'page.html', *html_page._STYLES, *html_page._SCRIPTS}
    for path in files:
        assert len(path.read_text(encoding='utf-8').splitlines()) <= 350, path
