import warnings

import numpy
import pytest

from data.description import Description
from prediction import report

pytest.importorskip('matplotlib')
Image = pytest.importorskip('PIL.Image', reason='needs Pillow')


def some(n_classes, shape, n=200, seed=0):
    """Returns arguments of report.draw: images, labels and so on."""
    random = numpy.random.RandomState(seed)
    p = random.rand(n, n_classes).astype('f')
    p /= p.sum(axis=1, keepdims=True)
    n_in = shape[0] * shape[1]
    return (random.randint(0, 256, (n, n_in)).astype('u1'),
            random.randint(0, n_classes, n), p,
            random.choice([-1, 1], (15, n_in)))


NAMES = ['a', 'a long name of a class that is cut off', '$x$_^{', 'Ähre',
         '日本', 'T-shirt/top', '"q"', '{}', '%s', r'\frac']


@pytest.mark.parametrize('n', [2, 10, 26, 62, 101, 256])
def test_each_number_of_classes_has_its_pictures(n, tmp_path):
    names = tuple(NAMES[:n]) + tuple(f'class {i}' for i in range(10, n))
    with warnings.catch_warnings():
        warnings.filterwarnings('error', 'Glyph|.*layout')
        paths = report.draw(str(tmp_path), Description((6, 5), names, 'plain'),
                            *some(n, (6, 5), 20))
    assert [path.rsplit('/', 1)[1] for path in paths] == [
        'confusion.png', 'mistakes.png', 'first_layer.png']
    for path in paths:
        with Image.open(path) as image:
            assert min(image.size) > 300
            assert max(image.size) < 4000
            assert len(image.convert('L').getcolors()) > 2


def texts(figure):
    from matplotlib.text import Text
    return [text.get_text() for text in figure.findobj(Text)
            if text.get_text()]


def test_names_are_beside_the_matrix_and_above_the_mistakes():
    names = 'zero', 'one', 'x' * 30
    images, labels, p, _ = some(3, (6, 5))
    figure = report._confusion(names, labels, p)
    axes, = figure.axes
    expected = ['zero', 'one', 'x' * 23 + '…']
    for labels_of in axes.get_xticklabels, axes.get_yticklabels:
        assert [text.get_text() for text in labels_of()] == expected
    counts = [int(text.get_text().replace('·', '0')) for text in axes.texts]
    assert numpy.reshape(counts, (3, 3)).tolist() == [
        [int(((labels == i) & (p.argmax(1) == j)).sum()) for j in range(3)]
        for i in range(3)]
    figure = report._mistakes(
        names, images.reshape(-1, 6, 5), labels, p)
    wrong = numpy.flatnonzero(p.argmax(1) != labels)
    surest = wrong[p[wrong].max(1).argmax()]
    short = ['zero', 'one', 'x' * 15 + '…']
    assert figure.axes[0].get_title() == (
        f'{short[labels[surest]]}\n→ {short[p[surest].argmax()]}\n'
        f'{100 * p[surest, labels[surest]]:.0f} / '
        f'{100 * p[surest].max():.0f} %')
    numpy.testing.assert_array_equal(
        figure.axes[0].images[0].get_array(), images[surest].reshape(6, 5))


def test_a_dollar_is_no_formula():
    labels, p = some(2, (2, 2))[1:3]
    figure = report._confusion(('$a$', 'b'), labels, p)
    assert r'\$a\$' in texts(figure)


def test_a_unit_sees_an_image_of_its_shape():
    weights = numpy.ones((3, 4, 6))
    weights[1, 0, 5] = -1
    figure = report._first_layer(weights)
    mosaic = figure.axes[0].images[0].get_array()
    assert mosaic.shape == (4 + 4, 3 * (6 + 2) + 2)
    assert mosaic[2, 2 + 8 + 5] == 0
    assert (numpy.asarray(mosaic) == 1).sum() == 3 * 24 - 1


def test_images_that_are_lines_have_the_matrix_alone(tmp_path):
    paths = report.draw(
        str(tmp_path), Description((1, 30), ('a', 'b'), 'plain'),
        *some(2, (1, 30)))
    assert [path.rsplit('/', 1)[1] for path in paths] == ['confusion.png']


def test_a_net_without_a_mistake_has_a_picture_of_none(tmp_path):
    images, _, p, weights = some(2, (6, 6))
    report.draw(str(tmp_path), Description((6, 6), ('a', 'b'), 'plain'),
                images, p.argmax(1), p, weights)
    assert (tmp_path / 'mistakes.png').stat().st_size > 500
