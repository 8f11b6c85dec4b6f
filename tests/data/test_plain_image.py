import numpy
import pytest

from data import description, plain_image, preparation
from system.errors import InputError

Image = pytest.importorskip('PIL.Image', reason='needs Pillow')


def save(tmp_path, pixels, name='a.png'):
    Image.fromarray(numpy.asarray(pixels, numpy.uint8)).save(tmp_path / name)
    return str(tmp_path / name)


def test_a_picture_of_the_images_size_is_the_image(tmp_path, random):
    pixels = random.randint(0, 256, (20, 30))
    path = save(tmp_path, pixels)
    numpy.testing.assert_array_equal(
        plain_image.read(path, (20, 30), 0), pixels.ravel())
    numpy.testing.assert_array_equal(
        plain_image.read(path, (20, 30), 230), 255 - pixels.ravel())


def test_grey_is_the_same_in_colour_and_the_shares_are_those_of_luma(
        tmp_path, random):
    pixels = random.randint(0, 256, (20, 30))
    path = save(tmp_path, numpy.repeat(pixels[..., None], 3, axis=2))
    numpy.testing.assert_array_equal(
        plain_image.read(path, (20, 30), 0), pixels.ravel())
    path = save(tmp_path, [[[100, 0, 0], [0, 100, 0], [0, 0, 100]]])
    assert plain_image.read(path, (1, 3), 0).tolist() == [30, 59, 11]


@pytest.mark.parametrize(('size', 'box'), [
    ((40, 10), (0, 20, 7, 12)),  # tall: scaled by 1/2 to 20 x 5
    ((10, 40), (7, 12, 0, 20)),
    ((5, 5), (0, 20, 0, 20)),  # scaled up
    ((400, 1), (0, 20, 9, 10)),
])
def test_proportions_are_kept_and_the_rest_is_background(tmp_path, size, box):
    path = save(tmp_path, numpy.full(size, 200))
    top, bottom, left, right = box
    expected = numpy.full((20, 20), 90)
    expected[top:bottom, left:right] = 200
    numpy.testing.assert_array_equal(
        plain_image.read(path, (20, 20), 90).reshape(20, 20), expected)
    # A light background: all levels are turned round.
    expected[expected == 90] = 250
    numpy.testing.assert_array_equal(
        plain_image.read(path, (20, 20), 250).reshape(20, 20),
        255 - expected)


def test_a_large_picture_becomes_the_mean_of_what_is_covered(tmp_path):
    halves = numpy.zeros((600, 600))
    halves[:, 300:] = 200
    image = plain_image.read(save(tmp_path, halves), (2, 2), 0)
    assert abs(image.astype(int) - [0, 200, 0, 200]).max() <= 2


def test_transparency_16_bits_and_rotation(tmp_path):
    pixels = numpy.zeros((10, 10, 4), numpy.uint8)
    pixels[2:4, 2:4, 3] = 255  # black on nothing
    image = plain_image.read(save(tmp_path, pixels), (10, 10), 255)
    assert image.reshape(10, 10)[2:4, 2:4].tolist() == [[255, 255]] * 2
    assert image.sum() == 4 * 255
    Image.fromarray(numpy.arange(0, 40000, 10000).astype(
        numpy.uint16).reshape(2, 2)).save(tmp_path / 'b.png')
    assert plain_image.read(str(tmp_path / 'b.png'), (2, 2), 0).tolist() == [
        0, 85, 170, 255]
    exif = Image.Exif()
    exif[0x112] = 6  # a quarter turn clockwise to be looked at
    turned = Image.fromarray(numpy.uint8([[10, 20], [30, 40]]))
    turned.save(tmp_path / 'c.png', exif=exif)
    assert plain_image.read(str(tmp_path / 'c.png'), (2, 2), 0).tolist() == [
        30, 10, 40, 20]


def test_a_picture_of_the_other_polarity_is_doubtful(tmp_path):
    lines = []
    images = description.Description((8, 8), ('a', 'b'), 'plain', 20)
    light = save(tmp_path, numpy.full((8, 8), 240))
    dark = save(tmp_path, numpy.full((8, 8), 30), 'dark.png')
    preparation.read(dark, images, lines.append)
    assert lines == []
    preparation.read(light, images, lines.append)
    assert lines[0].startswith(f'{light} is doubtful: it is light along')
    images = images._replace(background=230)
    preparation.read(dark, images, lines.append)
    assert 'it is dark along' in lines[1]
    preparation.read(light, images, lines.append)
    assert len(lines) == 2


def test_digits_are_prepared_as_digits(tmp_path):
    page = numpy.full((100, 100), 255)
    page[20:80, 45:55] = 0
    path = save(tmp_path, page)
    image = preparation.read(path, description.DIGITS).reshape(28, 28)
    assert (image > 64).any(axis=1).sum() == 20
    plain = description.DIGITS._replace(preparation='plain', background=255)
    # The bar covers rows 5.6 to 22.4 of 28.
    rows = preparation.read(path, plain).reshape(28, 28).max(axis=1)
    assert numpy.flatnonzero(rows).tolist() == list(range(5, 23))
    (tmp_path / 'no.png').write_text('no')
    for images in plain, description.DIGITS:
        with pytest.raises(InputError, match='no picture that Pillow'):
            preparation.read(str(tmp_path / 'no.png'), images)
