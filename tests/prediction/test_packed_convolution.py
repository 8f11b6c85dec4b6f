import tracemalloc

import chainer_compat
import chainer
import chainer.functions as F
import numpy
import pytest

import kernels
import quantizers
from data import description
from kernels.window import Window
from layers.quantized_convolution_2d import QuantizedConvolution2D
from layers.shift_batch_normalization import ShiftBatchNormalization
from net import MnistConvNet
from optimizers.fused_adam import FusedAdam
from prediction.packed_net import PackedNet
from prediction.packing import Collector
from system.errors import InputError
from tests.helpers.nets import (
    assert_same_on_a_gpu, evaluate, make_conv_net, random_pixels)


def arrays_of(net):
    collector = Collector()
    net.serialize(collector)
    return collector.arrays


def as_images(words, n_channels):
    """Returns packed images as Chainer has them, (N, C, height, width)."""
    n, height, width, n_words = words.shape
    signs = kernels.unpack_signs(
        words.reshape(n * height * width, n_words), n_channels)
    return signs.reshape(n, height, width, n_channels).transpose(
        0, 3, 1, 2).astype(numpy.float32)


def first_sums(net, x, input_range):
    """Returns the first layer's sums as Chainer has them, rounded once."""
    scale = {'unit': 1, 'symmetric': 2}[input_range]
    pixels = (scale * x.astype(int) - 255 * (scale - 1)).astype(numpy.float64)
    W = net.l1.W.array
    s = kernels.numpy_kernels.convolution_2d(
        pixels.reshape(len(x), 1, *net.image_shape),
        numpy.where(W >= 0, 1., -1.),
        Window(pad=tuple(n // 2 for n in W.shape[2:])))
    return (s / 255).astype(numpy.float32) + net.l1.b.array[:, None, None]


def normalize(norm, s):
    """Returns the normalization of images, pixel by pixel as vectors."""
    s = chainer.as_array(s)
    if s.ndim == 2:
        return evaluate(norm, s)
    n, n_channels, height, width = s.shape
    y = evaluate(norm, s.transpose(0, 2, 3, 1).reshape(-1, n_channels))
    return y.reshape(n, height, width, n_channels).transpose(0, 3, 1, 2)


def check_layers(net, x, input_range='unit'):
    """Compares what each layer decides, for the same activations."""
    packed = PackedNet.from_chain(net, input_range)
    activations = packed.activations(x)
    before = None
    for words, pool, (link, norm) in zip(
            activations, net.pool_sizes, net.layers()):
        if before is None:
            s = first_sums(net, x, input_range)
        else:
            s = evaluate(link, before)
        if pool > 1:
            s = F.max_pooling_2d(s, pool, cover_all=False)
        y = normalize(norm, s)
        if y.ndim == 4:
            before = as_images(words, y.shape[1])
        else:
            before = kernels.unpack_signs(words, y.shape[1]).astype('f')
        numpy.testing.assert_array_equal(before, numpy.where(y >= 0, 1, -1))
        if y.ndim == 4:
            before = numpy.ascontiguousarray(before)
    link, norm = net.layers()[-1]
    numpy.testing.assert_array_equal(
        packed.logits(x), evaluate(lambda h: norm(link(h)), before))
    return packed


@pytest.mark.parametrize(('shape', 'channels', 'n_blocks', 'n_hidden'), [
    ((28, 28), 16, 2, 1), ((13, 11), 5, 1, 1), ((13, 11), 5, 3, 2),
    ((13, 11), 70, 2, 1), ((2, 3), 1, 1, 1), ((9, 16), 64, 2, 3)], ids=str)
@pytest.mark.parametrize('input_range', ['unit', 'symmetric'])
def test_layers_decide_as_chainer_does(
        shape, channels, n_blocks, n_hidden, input_range, kernel_path):
    net = make_conv_net(shape, channels, 30, 10, n_blocks=n_blocks,
                        n_hidden=n_hidden)
    x = random_pixels(20, shape[0] * shape[1])
    packed = check_layers(net, x, input_range)
    convolutions = packed.hidden[:2 * n_blocks]
    assert [layer.pool for layer in convolutions] == [1, 2] * n_blocks
    if channels > 1:
        assert any(layer.falling.any() for layer in convolutions)


def test_layers_of_a_trained_net_decide_as_chainer_does(random, kernel_path):
    net = MnistConvNet((8, 9), 6, 20, 3)
    optimizer = FusedAdam(alpha=.03).setup(net)
    x = random_pixels(100, 72)
    t = random.randint(0, 3, 100).astype(numpy.int32)
    pixels = x.astype(numpy.float32) * numpy.float32(1 / 255)
    for _ in range(20):
        optimizer.update(
            lambda: F.softmax_cross_entropy(net(pixels), t))
    packed = check_layers(net, x)
    expected = evaluate(net, pixels)
    # The first layer may round to the other side of a threshold.
    assert (packed.predict(x) == expected.argmax(axis=1)).mean() > .95


@pytest.mark.parametrize('input_range', ['unit', 'symmetric'])
def test_predictions_are_those_of_chainer(input_range, kernel_path):
    net = make_conv_net((28, 28), 16, 50, 10)
    x = random_pixels(100, 784)
    pixels = x.astype(numpy.float32) * numpy.float32(1 / 255)
    if input_range == 'symmetric':
        pixels = 2 * pixels - 1
    expected = evaluate(net, pixels)
    packed = PackedNet.from_chain(net, input_range)
    assert (packed.predict(x) == expected.argmax(axis=1)).mean() > .95
    assert (packed.logits(x) == expected).all(axis=1).mean() > .8


def test_shift_based_normalization_decides_as_chainers(kernel_path):
    net = make_conv_net((7, 6), 5, 20, 4,
                        normalization=ShiftBatchNormalization)
    check_layers(net, random_pixels(20, 42))


def test_channels_that_are_constant_at_the_border_alone_decide_right(
        kernel_path):
    # A black image is -1 inside and 0 around it.
    net = make_conv_net((5, 6), 64, 20, 4, n_blocks=1)
    W = net.l1.W.array
    W[...] = numpy.abs(W)
    net.l1.b.array[...] = 0
    net.bn1.avg_var[...] = 1
    net.bn1.beta.array[...] = 0
    net.bn1.gamma.array[:32] = 1
    net.bn1.gamma.array[32:] = -1
    # From sums that a corner cannot have to sums that it always has.
    net.bn1.avg_mean[...] = numpy.tile(numpy.linspace(-9.5, 9.5, 32), 2)
    for x in random_pixels(20, 30), numpy.zeros((1, 30), 'u1'), (
            numpy.full((1, 30), 255, 'u1')):
        check_layers(net, x, 'symmetric')


def test_any_odd_window_and_pooling_are_packed(kernel_path):
    class Net(chainer.Chain):
        activation_quantizer, relu = quantizers.Binary(), False
        image_shape, pool_sizes = (12, 13), [3, 1, 1]

        def layers(self):
            return [(self.l1, self.bn1), (self.l2, self.bn2),
                    (self.l3, self.bn3)]

    parts = make_conv_net((12, 13), 7, 4, 3, n_blocks=1)
    net = Net()
    with net.init_scope():
        net.l1 = QuantizedConvolution2D(1, 7, (5, 1), pad=(2, 0))
        net.l2 = QuantizedConvolution2D(7, 7, (1, 7), pad=(0, 3))
        net.bn1, net.bn2, net.bn3 = parts.bn1, parts.bn2, parts.bn4
        net.l3 = make_conv_net((8, 8), 7, 3, 3, n_blocks=1).l3
    assert net.l3.W.shape == (3, 7 * 4 * 4)
    check_layers(net, random_pixels(9, 156))


def test_many_images_give_what_each_of_them_gives(kernel_path, monkeypatch):
    monkeypatch.setattr('prediction.packed_net._IMAGES', 7)
    net = PackedNet.from_chain(make_conv_net((6, 7), 5, 20, 4))
    x = random_pixels(20, 42)
    logits = net.logits(x)
    assert logits.shape == (20, 4)
    numpy.testing.assert_array_equal(
        logits, numpy.concatenate([net.logits(x[i:i + 1])
                                   for i in range(20)]))
    assert net.predict(x[:0]).shape == (0,)
    assert net.probabilities(x[::2]).shape == (10, 4)


def test_what_a_net_says_of_itself():
    chain = make_conv_net((13, 11), 5, 30, 10, n_blocks=1)
    net = PackedNet.from_chain(chain)
    assert net.sizes == [143, 5, 5, 30, 10]
    assert (net.image_shape, net.pool_sizes) == ((13, 11), [1, 2])
    assert net.images == description.numbered((13, 11), 10)
    n_weights = sum(link.W.size for link, _ in chain.layers())
    assert net.float32_nbytes == 4 * (n_weights + 5 * 50)
    for i, (link, _) in enumerate(chain.layers(), 1):
        numpy.testing.assert_array_equal(
            net.weights(i), numpy.where(link.W.array >= 0, 1, -1))


def test_pixels_that_do_not_fit_are_refused():
    net = PackedNet.from_chain(make_conv_net((4, 5), 2, 5, 3, n_blocks=1))
    with pytest.raises(ValueError, match=r'shape \(N, 20\), got \(1, 4, 5\)'):
        net.predict(numpy.zeros((1, 4, 5), numpy.uint8))
    with pytest.raises(TypeError, match='must be uint8'):
        net.predict(numpy.zeros((1, 20), numpy.float32))


def changed(pool_sizes=(1, 2, 1, 1), image_shape=(4, 5), **changes):
    arrays = arrays_of(make_conv_net((4, 5), 2, 5, 3, n_blocks=1))
    for name, a in changes.items():
        arrays[name.replace('_', '/', 1)] = a
    return arrays, pool_sizes, image_shape


@pytest.mark.parametrize(('given', 'match'), [
    (changed(image_shape=None), 'needs the height and the width'),
    (changed(image_shape=(4, 6)), 'layer 3 takes 8 values, .* gives 12'),
    (changed(pool_sizes=(1, 1, 1, 1)), 'layer 3 takes 8 values.* gives 40'),
    (changed(pool_sizes=(1, 5)), 'layer 2 leaves nothing of an image'),
    (changed(pool_sizes=(1, 2, 2)), 'layer 3 has pooling, but no images'),
    (changed(pool_sizes=[1] * 5), '5 sizes of pooling for 4 layers'),
    (changed(l1_W=numpy.ones((2, 1, 2, 3), 'f')), 'of 2 x 3: they must be od'),
    (changed(l1_W=numpy.ones((2, 1, 3, 13), 'f')), 'of 3 x 13: they must be'),
    (changed(l1_W=numpy.ones((2, 3, 3, 3), 'f')), '3 channels, there are 1'),
    (changed(l2_W=numpy.ones((2, 3, 3, 3), 'f')), 'l2/W .* there are 2'),
    (changed(l1_W=numpy.ones((2, 1, 3), 'f')), 'l1/W must be of shape'),
    (changed(l1_W=numpy.ones((2, 1, 3, 0), 'f')), 'l1/W must be of shape'),
    (changed(l3_W=numpy.ones((5, 2, 1, 3), 'f')), 'layer 4 takes 5 values'),
    (changed(l4_W=numpy.ones((3, 5, 1, 1), 'f')), 'l4/W is a convolution be'),
    (changed(l1_W=numpy.ones((2, 20), 'f')), 'l2/W is a convolution behind'),
])
def test_parameters_that_do_not_fit_are_refused(given, match):
    arrays, pool_sizes, image_shape = given
    with pytest.raises(InputError, match=match):
        PackedNet.from_arrays(arrays, pool_sizes=pool_sizes,
                              image_shape=image_shape)


def test_a_convolution_behind_a_linear_layer_is_refused():
    arrays, *_ = changed()
    arrays = {'l1/W': numpy.ones((20, 20), 'f'),
              'l2/W': numpy.ones((1, 1, 3, 3), 'f'),
              'l3/W': numpy.ones((2, 20), 'f')}
    with pytest.raises(InputError, match='l2/W is a convolution behind'):
        PackedNet.from_arrays(arrays, image_shape=(4, 5))


def test_too_many_channels_are_refused():
    with pytest.raises(InputError, match='l1/W has 16385 windows of 1 x 1'):
        PackedNet.from_arrays({
            'l1/W': numpy.ones((16385, 1, 1, 1), 'f'),
            'l2/W': numpy.ones((2, 16385), 'f')}, image_shape=(1, 1))


def test_a_convolution_as_the_last_layer_is_refused():
    with pytest.raises(InputError, match='l1/W, the last one, is a conv'):
        PackedNet.from_arrays({'l1/W': numpy.ones((2, 1, 3, 3), 'f')},
                              image_shape=(4, 5))


@pytest.mark.parametrize('change', [
    {'stride': 2}, {'pad': 0}, {'pad': 2}, {'dilate': 3, 'pad': 3},
    {'groups': 2}, {'pad_value': -1}])
def test_other_convolutions_are_refused_with_the_reason(change):
    net = make_conv_net((8, 8), 2, 5, 3, n_blocks=1)
    del net.l2
    with net.init_scope():
        net.l2 = QuantizedConvolution2D(2, 2, 3, **{'pad': 1, **change})
    with pytest.raises(InputError, match='packed: the convolution of layer 2'):
        PackedNet.from_chain(net)


# Files


@pytest.fixture
def export(tmp_path):
    path = tmp_path / 'packed.npz'
    PackedNet.from_chain(make_conv_net((7, 6), 5, 30, 4)).save(path)
    return path


def rewrite(path, **changes):
    with numpy.load(path) as npz:
        arrays = {**npz, **{name.replace('_', '/', 1): a
                            for name, a in changes.items()}}
    with open(path, 'wb') as f:
        numpy.savez(f, **{n: a for n, a in arrays.items() if a is not None})


@pytest.mark.parametrize('input_range', ['unit', 'symmetric'])
@pytest.mark.parametrize(('shape', 'channels', 'n_blocks'), [
    ((7, 6), 5, 2), ((13, 11), 70, 1), ((9, 9), 64, 3)], ids=str)
def test_a_file_gives_the_same_net(
        tmp_path, shape, channels, n_blocks, input_range):
    chain = make_conv_net(shape, channels, 30, 4, n_blocks=n_blocks)
    net = PackedNet.from_chain(chain, input_range)
    path = tmp_path / 'net.npz'
    net.save(path)
    loaded = PackedNet.load(path)
    for name in 'sizes', 'images', 'image_shape', 'pool_sizes', 'nbytes':
        assert getattr(loaded, name) == getattr(net, name)
    x = random_pixels(20, shape[0] * shape[1])
    numpy.testing.assert_array_equal(loaded.logits(x), net.logits(x))
    loaded.save(tmp_path / 'again.npz')
    assert (tmp_path / 'again.npz').read_bytes() == path.read_bytes()


def test_a_file_holds_version_2_and_the_windows(export):
    with numpy.load(export, allow_pickle=False) as npz:
        assert npz['version'].tolist() == [2]
        assert npz['sizes'].tolist() == [42, 5, 5, 10, 10, 30, 4]
        assert npz['convolutions'].tolist() == [[3, 3, 1], [3, 3, 2]] * 2
        assert npz['l1/W'].shape == (5, 1)
        assert npz['l4/W'].shape == (10, 2)
        assert npz['l1/threshold'].shape == (5,)


def windows(*rows):
    return numpy.array(rows, numpy.int64)


W4 = numpy.zeros((10, 2), numpy.uint64)


@pytest.mark.parametrize(('changes', 'match'), [
    ({'version': numpy.array([1])}, 'l2/W in .* is not that'),
    ({'version': numpy.array([3])}, r'version \[3\], this program reads ver'),
    ({'version': numpy.array([2, 2])}, r'version \[2, 2\], this program'),
    ({'images': None}, 'images in .* is not that'),
    ({'images': numpy.frombuffer(b'{"shape": [6, 6]}', 'u1')}, 'takes 42 pix'),
    ({'convolutions': None}, 'has no convolutions'),
    ({'convolutions': windows()}, 'expected 2 axes'),
    ({'convolutions': windows([3, 3])}, 'convolutions in .* is not that'),
    ({'convolutions': windows(*[[3, 3, 1]] * 6)}, 'convolutions in .* is'),
    ({'convolutions': windows([3, 3, 1], [3, 3, 0])}, 'convolutions in .* is'),
    ({'convolutions': windows([3, 3, 1], [3, 3, 7])}, 'convolutions in .* is'),
    ({'convolutions': windows([2, 3, 1], [3, 3, 2])}, 'convolutions in .* is'),
    ({'convolutions': windows([-3, 3, 1])}, 'convolutions in .* is not that'),
    ({'convolutions': windows([3, 13, 1])}, 'convolutions in .* is not that'),
    ({'convolutions': windows(*[[3, 3, 1]] * 3, [3, 3, 2])}, 'l5/W in'),
    ({'convolutions': windows(*[[3, 3, 1], [3, 3, 2]] * 2).astype('f8')},
     'expected int64'),
    ({'sizes': numpy.array([42, 5, 5, 10, 10, 30, 1 << 62])}, 'sizes in'),
    ({'sizes': numpy.array([42, 5, 5, 10, 1 << 14, 30, 4])}, 'l4/W in'),
    ({'sizes': numpy.array([42, 16385, 5, 10, 10, 30, 4])}, 'convolutions in'),
    ({'l4_W': W4[:, :1]}, 'l4/W in .* is not that'),
    ({'l4_W': W4 + numpy.uint64(1 << 63)}, 'l4/W in .* is not that'),
    ({'l1_threshold': numpy.zeros((3, 3, 4), 'i4')}, 'l1/threshold in'),
    ({'l1_threshold': numpy.full(5, 9 * 255 + 2, 'i4')}, 'l1/threshold in'),
    ({'l2_threshold': numpy.zeros((3, 3, 5), 'i4')}, 'l2/threshold in'),
    ({'l2_threshold': numpy.full(5, -46, 'i4')}, 'l2/threshold in'),
    ({'l2_falling': numpy.full(1, 1 << 5, 'u8')}, 'l2/falling in'),
])
def test_a_tampered_file_is_refused(export, changes, match):
    rewrite(export, **changes)
    with pytest.raises(InputError, match=match):
        PackedNet.load(export)


def test_a_file_of_huge_images_takes_no_memory(tmp_path, kernel_path):
    path = tmp_path / 'net.npz'
    PackedNet.from_chain(
        make_conv_net((6, 6), 5, 30, 4, n_blocks=1), 'symmetric').save(path)
    rewrite(path, sizes=numpy.array([2048 * 2048, 5, 5, 30, 4]),
            images=numpy.frombuffer(
                b'{"shape": [2048, 2048], "classes": ["0", "1", "2", "3"], '
                b'"preparation": "plain"}', 'u1'),
            convolutions=windows([3, 3, 1], [3, 3, 682]))
    tracemalloc.start()
    net = PackedNet.load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert net.sizes[0] == 1 << 22
    assert peak < 1 << 21


def test_any_truncated_file_is_refused(export, tmp_path):
    data = export.read_bytes()
    for length in range(0, len(data), 211):
        (tmp_path / 'truncated').write_bytes(data[:length])
        with pytest.raises(ValueError, match='truncated'):
            PackedNet.load(tmp_path / 'truncated')


@pytest.mark.gpu
@pytest.mark.parametrize('input_range', ['unit', 'symmetric'])
def test_a_gpu_gives_the_same(input_range):
    assert_same_on_a_gpu(PackedNet.from_chain(
        make_conv_net((28, 28), 16, 50, 10), input_range))
