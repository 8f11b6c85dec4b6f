"""Nets with convolutions in the formats of --export."""
import json

import numpy
import pytest

from export import canonical, html_page, onnx_model, qonnx_model
from kernels import numpy_kernels
from kernels.packed_convolution import border_classes
from kernels.window import Window
from prediction.packed_net import PackedNet
from system.errors import InputError
from tests.export.test_onnx_model import RUNTIMES, pixels_of
from tests.helpers.nets import make_conv_net

NETS = [((28, 28), 8, 2, 1, 'unit'), ((13, 11), 5, 1, 2, 'symmetric'),
        ((13, 11), 20, 3, 1, 'unit'), ((4, 5), 3, 2, 1, 'symmetric')]


@pytest.fixture(params=NETS, ids=str)
def packed(request):
    """A net with falling and constant channels."""
    shape, channels, n_blocks, n_hidden, input_range = request.param
    chain = make_conv_net(shape, channels, 30, 10, n_blocks=n_blocks,
                          n_hidden=n_hidden)
    net = PackedNet.from_chain(chain, input_range)
    assert any(layer.falling.any() for layer in net.hidden[1::2])
    assert (net.hidden[0].thresholds.ndim == 3) == (input_range != 'unit')
    return net


def compute(net, x):
    """Returns the logits by the words of the docstrings alone."""
    a = x.reshape(len(x), 1, *net.images.shape).astype(numpy.float64)
    for layer in net.convolutions:
        kh, kw = layer.weights.shape[2:]
        s = numpy_kernels.convolution_2d(
            a, layer.weights.astype(numpy.float64),
            Window(pad=(kh // 2, kw // 2)))
        t = layer.thresholds
        if t.ndim == 3:
            rows, columns = (border_classes(n, k) for n, k in zip(
                layer.size, (kh, kw)))
            t = t[rows][:, columns]
        reaches = s.transpose(0, 2, 3, 1) >= t
        n, p = len(x), layer.pool
        height, width = (side // p for side in layer.size)
        reaches = reaches[:, :height * p, :width * p].reshape(
            n, height, p, width, p, -1).any(axis=(2, 4))
        a = numpy.where(reaches, 1., -1.).transpose(0, 3, 1, 2)
    a = a.reshape(len(x), -1)
    for weights, thresholds in net.hidden[len(net.convolutions):]:
        a = numpy.where(a @ weights.T >= thresholds, 1, -1)
    return net.logits(a @ net.weights.T)


def test_the_canonical_net_computes_what_the_packed_one_does(packed):
    net = canonical.fold(packed)
    assert net.sizes == packed.sizes
    x = pixels_of(packed, 60)
    numpy.testing.assert_array_equal(compute(net, x), packed.logits(x))


@RUNTIMES
def test_onnx_computes_what_the_packed_net_does(packed, run):
    x = pixels_of(packed, 40)
    classes, logits, _ = run(onnx_model.write(canonical.fold(packed)), x)
    numpy.testing.assert_array_equal(logits, packed.logits(x))
    numpy.testing.assert_array_equal(classes, packed.predict(x))


@RUNTIMES
@pytest.mark.parametrize('n', [1, 2, 65])
def test_the_number_of_images_is_free_in_onnx(run, n):
    packed = PackedNet.from_chain(make_conv_net((6, 7), 3, 8, 4))
    x = pixels_of(packed, max(n, 2))[:n]
    _, logits, _ = run(onnx_model.write(canonical.fold(packed)), x)
    numpy.testing.assert_array_equal(logits, packed.logits(x))


@RUNTIMES
def test_a_last_layer_behind_a_convolution_is_exact_in_onnx(run):
    chain = make_conv_net((6, 7), 3, 8, 4, n_blocks=1)
    arrays = {}
    for name, param in make_conv_net(
            (6, 7), 3, 8, 4, n_blocks=1, n_hidden=0).namedparams():
        arrays[name[1:]] = param.array
    assert chain.pool_sizes[:2] == [1, 2]
    packed = PackedNet.from_arrays(
        arrays, pool_sizes=[1, 2], image_shape=(6, 7))
    assert packed.sizes == [42, 3, 3, 4]
    x = pixels_of(packed)
    net = canonical.fold(packed)
    numpy.testing.assert_array_equal(compute(net, x), packed.logits(x))
    _, logits, _ = run(onnx_model.write(net), x)
    numpy.testing.assert_array_equal(logits, packed.logits(x))


def test_an_onnx_file_is_valid_and_holds_bits():
    onnx = pytest.importorskip('onnx')
    chain = make_conv_net((28, 28), 64, 256, 10)
    packed = PackedNet.from_chain(chain)
    content = onnx_model.write(canonical.fold(packed))
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    about = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert about['sizes'] == packed.sizes
    n_weights = sum(link.W.size for link, _ in chain.layers())
    assert len(content) < n_weights / 8 + 30000


def run_qonnx(content, x):
    """Returns the logits, by the executor of qonnx."""
    onnx = pytest.importorskip('onnx', reason='needs onnx')
    pytest.importorskip('qonnx', reason='needs qonnx')
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.change_batchsize import ChangeBatchSize
    from qonnx.transformation.infer_shapes import InferShapes
    model = ModelWrapper(onnx.load_from_string(content))
    if len(x) > 1:
        model = model.transform(ChangeBatchSize(len(x)))
        model = model.transform(InferShapes())
    logits, = execute_onnx(
        model, {'pixels': x.astype(numpy.float32)}).values()
    return logits


@pytest.mark.parametrize('dialect', qonnx_model.DIALECTS)
@pytest.mark.parametrize('n', [1, 30])
def test_qonnx_computes_what_the_packed_net_does(packed, dialect, n):
    x = pixels_of(packed, 30)[-n:]
    pytest.importorskip('onnx', reason='needs onnx')
    content = qonnx_model.write(canonical.fold(packed), dialect)
    numpy.testing.assert_array_equal(run_qonnx(content, x), packed.logits(x))


def test_a_page_refuses_convolutions():
    net = canonical.fold(PackedNet.from_chain(make_conv_net((6, 7), 3, 8, 4)))
    with pytest.raises(InputError, match=(
            'a page takes nets without convolutions')):
        html_page.write(net)
