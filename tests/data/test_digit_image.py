import numpy
import pytest

from data import digit_image
from data import mnist

Image = pytest.importorskip('PIL.Image', reason='needs Pillow')
ImageDraw = pytest.importorskip('PIL.ImageDraw', reason='needs Pillow')


def draw_seven(size=(200, 200), ink='black', paper='white', mode='RGB',
               at=(0, 0), width=18):
    """A 7 of 100 x 140 pixels, in the middle of the picture or beside it."""
    image = Image.new(mode, size, paper)
    left = (size[0] - 100) // 2 + at[0]
    top = (size[1] - 140) // 2 + at[1]
    ImageDraw.Draw(image).line(
        [(left, top), (left + 100, top), (left + 40, top + 140)],
        fill=ink, width=width, joint='curve')
    return image


def read(image, tmp_path, name='digit.png', **options):
    path = tmp_path / name
    image.save(path, **options)
    return digit_image.read(path).astype(int)


@pytest.fixture
def seven(tmp_path):
    return read(draw_seven(), tmp_path)


def off_centre(field):
    field = field.reshape(28, 28)
    total = field.sum()
    return [(field.sum(axis=1 - axis) * numpy.arange(28)).sum() / total - 13.5
            for axis in (0, 1)]


def close(a, b):
    assert numpy.abs(a - b).mean() < 6


def test_a_digit_has_the_size_and_the_centre_of_mnists(seven):
    assert seven.shape == (784,)
    field = seven.reshape(28, 28)
    rows, columns = field.any(axis=1), field.any(axis=0)
    assert 18 <= rows.sum() <= 20
    assert columns.sum() <= 20
    assert field.max() == 255
    assert max(map(abs, off_centre(field))) <= .6


@pytest.mark.parametrize(('ink', 'paper'), [
    ('white', 'black'), ('red', 'white'), ('yellow', 'blue'),
    ('#204080', '#e0d0c0'), ('#808080', '#c0c0c0'), ('#ff0000', '#008000')])
def test_colours_do_not_matter(seven, tmp_path, ink, paper):
    close(read(draw_seven(ink=ink, paper=paper), tmp_path), seven)


@pytest.mark.parametrize('mode', ['L', '1', 'P', 'I;16', 'I', 'F', 'CMYK',
                                  'LA', 'RGBA'])
def test_every_kind_of_picture_is_read(seven, tmp_path, mode):
    grey = draw_seven(ink=0, paper=255, mode='L')
    if mode == 'I;16':
        image = Image.fromarray(numpy.asarray(grey).astype(numpy.uint16) * 99)
    else:
        image = grey.convert(mode)
    name = 'digit.tif' if mode in ('I;16', 'I', 'F', 'CMYK') else 'digit.png'
    close(read(image, tmp_path, name), seven)


@pytest.mark.parametrize('ink', ['black', 'white'])
def test_paper_may_be_transparent(seven, tmp_path, ink):
    image = draw_seven(ink=ink, paper=(0, 0, 0, 0), mode='RGBA')
    close(read(image, tmp_path), seven)


@pytest.mark.parametrize('at', [(-300, 0), (0, 250), (290, -250)])
def test_place_and_size_do_not_matter(seven, tmp_path, at):
    close(read(draw_seven((800, 700), at=at), tmp_path), seven)
    image = draw_seven().resize((40, 40), Image.Resampling.LANCZOS)
    assert numpy.abs(read(image, tmp_path) - seven).mean() < 12
    close(read(draw_seven().resize((3000, 3000)), tmp_path), seven)


def test_noise_of_a_photograph_does_not_matter(seven, tmp_path):
    random = numpy.random.RandomState(0)
    pixels = numpy.asarray(draw_seven(ink='#303030', paper='#d0d0d0'), float)
    noisy = numpy.clip(pixels + random.normal(0, 5, pixels.shape), 0, 255)
    image = Image.fromarray(noisy.astype(numpy.uint8))
    close(read(image, tmp_path, 'digit.jpg', quality=80), seven)


def test_a_photograph_that_says_it_is_rotated_is_set_upright(seven, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned by 90 degrees.
    image = draw_seven().transpose(Image.Transpose.ROTATE_90)
    close(read(image, tmp_path, 'digit.jpg', exif=exif), seven)


def test_mnists_own_pictures_stay_as_they_are(tmp_path):
    images, _ = mnist.read('test.npz')
    same = 0
    for pixels in images[:100]:
        actual = read(Image.fromarray(pixels.reshape(28, 28)), tmp_path)
        expected = pixels * (255. / pixels.max())
        same += numpy.abs(actual - expected).max() <= 1
    assert same > 95


def test_a_line_of_one_pixel_is_a_digit(tmp_path):
    pixels = numpy.full((300, 50), 255, numpy.uint8)
    pixels[10:290, 25] = 0
    field = read(Image.fromarray(pixels), tmp_path).reshape(28, 28)
    assert field.max() == 255
    assert (field.sum(axis=1) > 0).sum() == 20


def test_a_picture_of_one_colour_is_refused(tmp_path):
    for size in (28, 28), (1, 1), (300, 200):
        with pytest.raises(ValueError, match=r'digit.png shows no digit'):
            read(Image.new('L', size, 200), tmp_path)


def test_a_file_that_is_no_picture_is_refused(tmp_path):
    path = tmp_path / 'digit.png'
    with pytest.raises(ValueError, match=r'cannot read .* No such'):
        digit_image.read(path)
    with pytest.raises(ValueError, match='cannot read '):
        digit_image.read(tmp_path)
    path.write_text('a seven')
    with pytest.raises(ValueError, match='no picture that Pillow can read'):
        digit_image.read(path)


@pytest.mark.parametrize('name', ['digit.png', 'digit.jpg', 'digit.gif',
                                  'digit.bmp', 'digit.tif'])
def test_a_damaged_picture_is_refused_or_read(tmp_path, name):
    path = tmp_path / name
    draw_seven().save(path)
    data = path.read_bytes()
    random = numpy.random.RandomState(0)
    refused = 0
    for length in random.randint(0, len(data), 20):
        path.write_bytes(data[:length])
        refused += is_refused(path)
    assert refused >= 18
    for position in random.randint(0, min(len(data), 600), 40):
        bad = bytearray(data)
        bad[position] ^= 1 << random.randint(8)
        path.write_bytes(bad)
        is_refused(path)


def is_refused(path):
    try:
        pixels = digit_image.read(path)
    except ValueError as e:
        return str(path) in str(e)
    assert pixels.shape == (784,)
    return False


def test_a_png_chunk_that_claims_gigabytes_takes_no_memory(tmp_path):
    import tracemalloc
    path = tmp_path / 'digit.png'
    draw_seven().save(path)
    data = bytearray(path.read_bytes())
    at = data.index(b'IDAT')
    data[at - 4:at] = (0x7fffffff).to_bytes(4, 'big')
    path.write_bytes(data)
    tracemalloc.start()
    is_refused(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 24


def test_a_picture_of_400_million_pixels_is_refused(tmp_path):
    path = tmp_path / 'bomb.png'
    Image.new('1', (20000, 20000)).save(path)
    with pytest.raises(ValueError, match=r'too large: .*pixels'):
        digit_image.read(path)
