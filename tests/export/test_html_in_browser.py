"""The page in a real browser, drawn on by mouse and finger."""
import contextlib
import json

import numpy
import pytest

from data import mnist
from data.description import DIGITS, Description
from experiments import browser
from export import canonical, html_page
from prediction.packed_net import PackedNet
from tests.helpers.nets import random_arrays

CHROMIUM = browser.find()

pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    CHROMIUM is None, reason='needs Chromium')]

# Shares of the field's sides.
STROKES = {
    '1': [[(.5, .2), (.5, .35), (.5, .5), (.5, .65), (.5, .8)]],
    '7': [[(.3, .25), (.4, .25), (.55, .25), (.7, .25), (.6, .45),
               (.52, .6), (.45, .8)]],
    '4': [[(.55, .2), (.42, .4), (.3, .58), (.5, .58), (.72, .58)],
             [(.58, .4), (.58, .6), (.58, .82)]],
    '0': [[(.5 + .18 * float(numpy.sin(t)), .5 - .3 * float(numpy.cos(t)))
              for t in numpy.linspace(0, 6.28, 24)]],
}


def trained(images=4000, units=1000):
    """Returns a net that knows most digits, trained in a second.

    The first layer is random, the last one the signs of a least-squares fit.
    """
    random = numpy.random.RandomState(0)
    x, labels = (part[:images] for part in mnist.read('train.npz'))
    W = random.choice([-1., 1.], (units, 784)).astype('f4')
    s = x.astype('f4') / 255 @ W.T
    a = numpy.where(s >= s.mean(axis=0), 1., -1.)
    fit = numpy.linalg.solve(a.T @ a + .3 * images * numpy.eye(units),
                             a.T @ (numpy.eye(10)[labels] - .1))
    sums = a @ numpy.where(fit >= 0, 1, -1)
    return PackedNet.from_arrays({
        'l1/W': W, 'bn1/avg_mean': s.mean(axis=0),
        **{name: array.astype('f4') for name, array in {
            'l2/W': fit.T, 'bn2/avg_mean': sums.mean(axis=0),
            'bn2/avg_var': sums.var(axis=0)}.items()}}, images=DIGITS)


@pytest.fixture(scope='module')
def page():
    with browser.opened(CHROMIUM) as page:
        yield page


@contextlib.contextmanager
def quiet(page):
    """Checks that the page neither complains nor asks for anything."""
    page.events.clear()
    yield
    assert page.complaints() == []
    requested = [event['params']['request']['url'] for event in page.events
                 if event['method'] == 'Network.requestWillBeSent']
    assert len(requested) == 1
    assert requested[0].startswith('file://')


def write(folder, net):
    path = folder / 'net.html'
    path.write_bytes(html_page.write(canonical.fold(net)))
    return path


def make(folder, sizes=(784, 60, 50, 10), images=DIGITS):
    net = PackedNet.from_arrays(random_arrays(sizes), images=images)
    return net, write(folder, net)


def text(page, name):
    return page.run(f'document.getElementById("{name}").textContent')


def shown(page, net):
    """Checks what the page says of its picture; returns the picture."""
    pixels = page.run(
        '(d => Array.from(asImage(page.drawing.ink, d)))'
        '(JSON.parse(document.getElementById("net").textContent))')
    x = numpy.array([pixels], numpy.uint8)
    assert x.any()
    best = int(net.predict(x)[0])
    name, p = net.images.classes[best], float(net.probabilities(x)[0, best])
    assert text(page, 'best') == name
    sure = text(page, 'sure')
    assert sure == '> 99.9 %' or abs(float(sure[:-2]) - 100 * p) <= .051
    assert text(page, 'said') == f'{name}, {sure}'
    # What the canvas shows is the same picture.
    seen = page.run("""(canvas => {
        const {width, height} = canvas, copy = new OffscreenCanvas(
            width, height).getContext('2d', {willReadFrequently: true});
        copy.drawImage(canvas, 0, 0);
        return Array.from(copy.getImageData(0, 0, width, height).data);
    })(document.querySelector('figure canvas'))""")
    assert seen[3::4] == pixels
    # And its bits those of the layers.
    for figure, words, n in zip(
            page.run('Array.from(document.querySelectorAll("figcaption"))'
                     '.slice(1).map(e => e.textContent)'),
            net.activations(x), net.sizes[1:]):
        ones = sum(bin(int(word)).count('1') for word in words[0])
        assert ones <= n
        assert figure == f'{ones} are +1'
    return x


def test_drawn_digits_are_recognized(page, tmp_path):
    net = trained()
    page.resize(390, 800, 2, mobile=True)
    with quiet(page):
        page.open(write(tmp_path, net))
        for name, strokes in STROKES.items():
            for stroke in strokes:
                page.draw(stroke, touch=True)
            page.settle()
            assert text(page, 'best') == name
            shown(page, net)
            page.press('Escape')


@pytest.mark.parametrize('width', [320, 390, 1280])
@pytest.mark.parametrize('touch', [False, True])
def test_what_is_drawn_is_classified_as_by_the_packed_net(
        page, width, touch, tmp_path):
    net, path = make(tmp_path)
    page.resize(width, 800, 2, dark=touch, mobile=touch)
    with quiet(page):
        page.open(path)
        pictures = []
        for strokes in STROKES.values():
            for stroke in strokes:
                page.draw(stroke, touch)
            page.settle()
            pictures.append(shown(page, net))
            assert 'ms' in text(page, 'time')
            page.press('Escape')
            page.settle()
            assert text(page, 'best') == '?'
            assert text(page, 'said') == 'Nothing is drawn.'
        assert len(numpy.unique(numpy.concatenate(pictures), axis=0)) == 4
        # Nothing is wider than the screen.
        assert page.run('document.documentElement.scrollWidth') == width
        assert page.run(
            'document.documentElement.scrollHeight >= innerHeight')


def test_undo_takes_back_strokes_and_clear(page, tmp_path):
    net, path = make(tmp_path)
    page.resize(390, 800)
    with quiet(page):
        page.open(path)
        page.press('Backspace')
        assert page.run('document.getElementById("undo").disabled')
        first, second = STROKES['4']
        page.draw(first)
        page.settle()
        before = shown(page, net)
        page.draw(second)
        page.settle()
        both = shown(page, net)
        assert (before != both).any()
        page.press('Backspace')
        page.settle()
        assert (shown(page, net) == before).all()
        page.run('document.getElementById("clear").click()')
        page.settle()
        assert text(page, 'best') == '?'
        assert page.run('document.getElementById("clear").disabled')
        page.run('document.getElementById("undo").click()')
        page.settle()
        assert (shown(page, net) == before).all()
        page.press('Backspace')
        page.settle()
        assert text(page, 'best') == '?'
        assert page.run('document.getElementById("undo").disabled')


def test_strokes_end_at_the_edge_of_the_field(page, tmp_path):
    net, path = make(tmp_path)
    page.resize(390, 800)
    page.open(path)
    page.draw([(.5, .5), (1.5, .5), (1.5, 1.5), (-.5, 1.5)])
    page.settle()
    shown(page, net)
    points = page.run('page.drawing.strokes[0]')
    assert len(points) >= 4
    assert numpy.min(points) == 11
    assert numpy.max(points) == 269


def test_another_button_or_a_second_finger_draws_nothing(page, tmp_path):
    _, path = make(tmp_path)
    page.resize(390, 800)
    page.open(path)
    page.run('document.getElementById("drawing").dispatchEvent(new '
             'PointerEvent("pointerdown", {button: 2, pointerId: 1}))')
    assert page.run('page.drawing.strokes.length') == 0
    for number in 7, 8:
        page.run('document.getElementById("drawing").dispatchEvent(new '
                 f'PointerEvent("pointerdown", {{pointerId: {number}}}))')
    assert page.run('page.drawing.strokes.length') == 1


@pytest.mark.parametrize(('names', 'sizes', 'shape', 'bars'), [
    (('</script><b>"x"', "Größe & 'Maß' <i>"), (30, 9, 2), (5, 6), 2),
    (tuple(f'a class of a long name, {i}' for i in range(200)),
     (784, 20, 20, 20, 20, 20, 200), (28, 28), 10),
    (tuple(map(chr, range(0x4e00, 0x4e00 + 62))), (784, 30, 62), (28, 28), 62),
    (('a',), (100, 9, 1), (1, 100), 1)])
def test_other_classes_and_sizes_are_shown(
        page, names, sizes, shape, bars, tmp_path):
    net, path = make(tmp_path, sizes, Description(shape, names, 'plain'))
    page.resize(320, 800, 1, mobile=True)
    with quiet(page):
        page.open(path)
        page.draw(STROKES['7'][0], touch=True)
        page.settle()
        x = shown(page, net)
        assert page.run('document.documentElement.scrollWidth') == 320
        assert page.run('document.title') == html_page.title(names)
        assert page.run('document.querySelectorAll(".bar").length') == bars
        top = page.run('Array.from(document.querySelectorAll('
                       '".bar.top .name")).map(e => e.textContent)')
        assert top == [names[int(net.predict(x)[0])]]
        lengths = page.run('Array.from(document.querySelectorAll(".fill"))'
                           '.map(e => e.style.transform)')
        p = net.probabilities(x)[0]
        if bars < len(p):
            p = numpy.sort(p)[:-bars - 1:-1]
        numpy.testing.assert_allclose(
            [float(length[7:-1]) for length in lengths], p, atol=6e-5)


def test_the_policy_stops_what_the_page_does_not_hold(page, tmp_path):
    _, path = make(tmp_path)
    page.events.clear()
    page.open(path)
    page.run('document.body.append(Object.assign(document.createElement('
             '"script"), {textContent: "window.injected = 1"}))')
    page.run('document.body.append(Object.assign(document.createElement('
             '"img"), {src: "http://localhost:9/x.png"}))')
    page.settle()
    assert page.run('typeof injected') == 'undefined'
    found = json.dumps(page.complaints())
    assert found.count('Content Security Policy') >= 2
