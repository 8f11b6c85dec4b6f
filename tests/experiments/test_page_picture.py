import io

import numpy
import pytest

from data.description import DIGITS
from experiments import browser
from export import canonical, html_page
from prediction.packed_net import PackedNet
from tests.helpers import scripts
from tests.helpers.nets import random_arrays

Image = pytest.importorskip('PIL.Image')


@pytest.mark.skipif(browser.find() is None, reason='needs Chromium')
def test_the_picture_shows_what_is_drawn_in_both_themes(tmp_path):
    net = PackedNet.from_arrays(random_arrays((784, 9, 10)), images=DIGITS)
    (tmp_path / 'net.html').write_bytes(
        html_page.write(canonical.fold(net)))
    means = []
    for theme in [], ['--dark']:
        scripts.output('experiments/page_picture.py', 'net.html', 'page.png',
                       *theme, cwd=tmp_path)
        content = (tmp_path / 'page.png').read_bytes()
        assert len(content) < 60000
        pixels = numpy.asarray(Image.open(io.BytesIO(content)).convert('L'))
        assert pixels.shape == (670, 960)
        # The field: ink on it, a few percent.
        field = pixels[150:550, 60:460].astype(int)
        is_ink = abs(field - field[0, 0]) > 128
        assert .05 < is_ink.mean() < .3
        means.append(pixels.mean())
    assert means[0] > 190
    assert means[1] < 80
