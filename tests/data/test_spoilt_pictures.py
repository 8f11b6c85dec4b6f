"""Pictures of digits as people have them: spoilt, but readable."""
import hypothesis
import numpy
import pytest
from hypothesis import strategies as st

from data import components, digit_image, mnist, paper
from system.errors import InputError

Image = pytest.importorskip('PIL.Image', reason='needs Pillow')
ImageDraw = pytest.importorskip('PIL.ImageDraw', reason='needs Pillow')

from experiments import own_pictures  # noqa: E402  (needs Pillow)

# What hides neither the digit nor its paper, by its function in the script.
READABLE = ['light_on_dark', 'frame', 'speck', 'specks', 'noise',
            'white_noise', 'scan', 'box', 'tilted_box', 'photograph', 'ruled',
            'small', 'uneven_light']


@pytest.fixture(scope='module')
def digits():
    """30 test images of all classes."""
    images, _ = mnist.read('test.npz')
    return images[:30]


def read(image, folder, lines=None):
    path = str(folder / 'digit.jpg')
    image.save(path, quality=85)
    return digit_image.read(
        path, None if lines is None else lines.append).astype(float)


@pytest.fixture(scope='module')
def clean_fields(digits, tmp_path_factory):
    """What is read of the digits' clean pictures."""
    folder = tmp_path_factory.mktemp('clean')
    return [read(own_pictures.clean(digit, None), folder) for digit in digits]


@pytest.mark.parametrize('name', READABLE)
def test_a_spoilt_picture_is_read_as_the_clean_one(
        name, digits, clean_fields, tmp_path):
    random = numpy.random.RandomState(0)
    spoil = getattr(own_pictures, name)
    near = 0
    for digit, clean in zip(digits, clean_fields):
        spoilt = read(spoil(digit, random), tmp_path)
        # Of these digits, 95 % of all pairs differ by 23 or more.
        near += numpy.abs(clean - spoilt).mean() < 20
    assert near >= 28


def test_what_shows_no_digit_is_refused(digits, tmp_path):
    random = numpy.random.RandomState(0)
    for digit in digits[:10]:
        with pytest.raises(InputError, match=r'digit\.jpg shows no digit'):
            read(own_pictures.nothing(digit, random), tmp_path)


def test_a_doubtful_picture_is_read_and_a_line_names_it(digits, tmp_path):
    lines = []
    for digit, other in zip(digits[:10], digits[1:]):
        field = read(own_pictures.several(digit, None, other), tmp_path, lines)
        assert field.max() == 255
    assert len(lines) == 10
    assert lines[0] == (f'{tmp_path / "digit.jpg"} is doubtful: '
                        '2 things may be the digit')


def test_a_clean_picture_is_not_doubtful(digits, tmp_path):
    lines = []
    for digit in digits:
        rim = digit.reshape(28, 28).copy()
        rim[1:-1, 1:-1] = 0
        if not rim.any():  # MNIST has digits that reach the edge.
            read(own_pictures.clean(digit, None), tmp_path, lines)
    assert lines == []


def test_a_digit_at_the_edge_may_be_cut_off(digits, tmp_path):
    lines = []
    image = own_pictures.clean(digits[0], None).crop((0, 0, 280, 150))
    read(image, tmp_path, lines)
    assert 'it may be cut off at the edge' in lines[0]


@pytest.mark.parametrize('value', [numpy.nan, numpy.inf])
def test_pixels_that_are_no_numbers_are_refused(value, tmp_path):
    pixels = numpy.ones((40, 40), numpy.float32)
    pixels[3, 4] = value
    path = str(tmp_path / 'float.tif')
    Image.fromarray(pixels).save(path)
    with pytest.raises(InputError, match=r'float\.tif has pixels that'):
        digit_image.read(path)


@pytest.mark.parametrize('size', [(1, 1), (1, 50), (50, 1), (2, 300), (5, 5),
                                  (31, 33)])
def test_a_picture_of_any_size_is_read_or_refused(size, tmp_path):
    random = numpy.random.RandomState(0)
    for pixels in (random.randint(0, 256, size), numpy.full(size, 7),
                   random.randint(0, 2, size) * 255):
        is_read_or_refused(pixels, tmp_path)


@pytest.mark.parametrize('width', [1, 16])
def test_a_pattern_of_two_colours_is_read_or_refused(width, tmp_path):
    # As much black as white: neither is the paper.
    rows, columns = numpy.indices((256, 256)) // width
    for pattern in rows % 2, (rows + columns) % 2:
        is_read_or_refused(pattern * 255, tmp_path)


@hypothesis.settings(
    max_examples=50, deadline=None, database=None, derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 256),
                  st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_noise_is_read_or_refused(
        tmp_path, height, width, n_levels, grain, seed):
    random = numpy.random.RandomState(seed)
    levels = random.randint(0, 256, n_levels)
    pixels = levels[random.randint(0, n_levels, (height, width))]
    is_read_or_refused(pixels.repeat(grain, 0), tmp_path)


def is_read_or_refused(pixels, folder):
    path = str(folder / 'any.png')
    Image.fromarray(pixels.astype(numpy.uint8)).save(path)
    try:
        field = digit_image.read(path)
    except InputError as e:
        assert 'any.png' in str(e)  # noqa: PT017
    else:
        assert (field.shape, field.dtype) == ((784,), numpy.uint8)


def test_a_broad_zero_is_not_taken_for_paper_silently(tmp_path):
    images, _ = mnist.read('test.npz')
    lines = []
    read(own_pictures.clean(images[552], None), tmp_path, lines)
    assert 'it lies in a patch' in lines[0]


def test_a_circle_around_a_digit_is_doubtful(digits, tmp_path):
    page = Image.new('L', (400, 400), 255)
    page.paste(own_pictures.clean(digits[2], None), (60, 60))
    ImageDraw.Draw(page).ellipse((20, 20, 380, 380), outline=0, width=5)
    lines = []
    read(page, tmp_path, lines)
    assert 'one part of it is drawn around another' in lines[0]


# Parts of a picture


def test_parts_touch_at_corners_and_are_counted():
    mask = numpy.array([[1, 0, 0, 1, 1],
                        [0, 1, 0, 0, 0],
                        [1, 0, 0, 1, 0],
                        [0, 0, 0, 1, 1]], bool)
    labels, n = components.label(mask)
    assert n == 3
    assert ((labels > 0) == mask).all()
    assert labels[0, 0] == labels[1, 1] == labels[2, 0]
    assert len({labels[0, 0], labels[0, 3], labels[2, 3]}) == 3
    assert components.boxes(labels, n).tolist()[labels[2, 3] - 1] == [
        2, 3, 3, 4]


def test_a_spiral_is_one_part():
    mask = numpy.zeros((41, 41), bool)
    for k in range(0, 20, 2):
        mask[k, k:41 - k] = mask[40 - k, k:41 - k] = True
        mask[k:41 - k, 40 - k] = mask[k + 2:41 - k, k] = True
        if k:
            mask[k, k - 2:k + 1] = True
    labels, n = components.label(mask)
    assert n == 1
    assert ((labels == 1) == mask).all()


@pytest.mark.parametrize('shape', [(0, 0), (0, 5), (3, 4)])
def test_nothing_has_no_parts(shape):
    labels, n = components.label(numpy.zeros(shape, bool))
    assert n == 0
    assert labels.shape == shape


def test_otsus_threshold_parts_two_classes(random):
    values = numpy.concatenate([random.normal(20, 3, 900),
                                random.normal(90, 5, 100)])
    assert 35 < components.otsu(values) < 75


def test_paper_under_uneven_light_is_followed(random):
    y, x = numpy.mgrid[:100, :120] / 100
    page = (120 + 80 * x + 20 * y + random.normal(0, 2, x.shape))[..., None]
    page[40:60, 30:60] = 10  # ink
    error = numpy.abs(paper.estimate(page) - page)
    error[40:60, 30:60] = 0
    assert error.max() < 15
