"""The trained nets in models/: they load, and are as good as is said."""
import re

import pytest

from data import mnist
from export import canonical, html_page
from prediction import model_file
from prediction.packed_net import PackedNet
from tests.helpers import ROOT

MODELS = ROOT / 'models'
PAGE = (ROOT / 'docs' / 'exports.md').read_text(encoding='utf-8')


def n_wrong(net):
    x, labels = mnist.read('test.npz')
    return int((net.predict(x) != labels).sum())


@pytest.mark.parametrize(('name', 'sizes'), [
    ('mnist', [784, 1000, 1000, 10]), ('mnist_256', [784, 256, 256, 10])])
def test_a_model_is_as_accurate_as_the_documents_say(name, sizes):
    model = model_file.read(str(MODELS / f'{name}.npz'))
    assert model.packed.sizes == sizes
    assert model.training_set == mnist.CHECKSUM
    said, = re.findall(rf'^\| `models/{name}\.npz` \| ([\d.]+) % \|', PAGE,
                       re.MULTILINE)
    assert said == f'{100 - n_wrong(model.packed) / 100:.2f}'
    assert float(said) > 97


def test_the_page_is_that_of_the_small_net():
    net = PackedNet.load(str(MODELS / 'mnist_256.npz'))
    accuracy = canonical.Accuracy(10000 - n_wrong(net), 10000, 'MNIST')
    assert (MODELS / 'mnist_256.html').read_bytes() == html_page.write(
        canonical.fold(net, accuracy))


def test_there_is_nothing_else_in_the_folder():
    assert sorted(path.name for path in MODELS.iterdir()) == [
        'mnist.npz', 'mnist_256.html', 'mnist_256.npz']


def test_a_picture_is_classified_right_after_the_clone(
        tmp_path, monkeypatch, capsys):
    Image = pytest.importorskip('PIL.Image')
    import predict_mnist
    monkeypatch.chdir(tmp_path)
    x, labels = mnist.read('test.npz')
    large = Image.fromarray(255 - x[0].reshape(28, 28)).resize((600, 600))
    large.save('photo.jpg')
    for name in 'mnist', 'mnist_256':
        predict_mnist.main([str(MODELS / f'{name}.npz'),
                            '--image', 'photo.jpg'])
        assert capsys.readouterr().out.split()[:2] == [
            'photo.jpg', str(labels[0])]
