import chainer_compat
import chainer
import chainer.functions as F
import numpy
import pytest

from layers.dropout import dropout
from layers.quantized_convolution_2d import QuantizedConvolution2D
from link_quantized_linear import QuantizedLinear
from net import MnistConvNet, MnistMLP
from qst import qst
from quantizers import Linear, Log


def test_layers_are_quantized_and_of_the_given_sizes():
    net = MnistMLP(784, 30, 10)
    sizes = {name: param.shape for name, param in net.namedparams()}
    assert sizes == {
        '/l1/W': (30, 784), '/l1/b': (30,),
        '/bn1/gamma': (30,), '/bn1/beta': (30,),
        '/l2/W': (30, 30), '/l2/b': (30,),
        '/bn2/gamma': (30,), '/bn2/beta': (30,),
        '/l3/W': (10, 30), '/l3/b': (10,),
        '/bn3/gamma': (10,), '/bn3/beta': (10,)}
    for layer in net.l1, net.l2, net.l3:
        assert isinstance(layer, QuantizedLinear)


def test_forward_is_linear_bn_qst_twice_and_then_linear_bn(random):
    net = MnistMLP(20, 30, 10)
    x = random.uniform(0, 1, (8, 20)).astype(numpy.float32)
    with chainer.using_config('train', False):
        h = qst(net.bn1(net.l1(x)))
        assert set(numpy.unique(h.array)) == {-1, 1}
        h = qst(net.bn2(net.l2(h)))
        numpy.testing.assert_array_equal(
            net(x).array, net.bn3(net.l3(h)).array)


def test_only_the_signs_of_the_weights_matter(random):
    net = MnistMLP(20, 30, 10)
    x = random.uniform(0, 1, (8, 20)).astype(numpy.float32)
    y = net(x).array
    for layer in net.l1, net.l2, net.l3:
        layer.W.array *= random.uniform(0.1, 3, layer.W.shape)
    numpy.testing.assert_array_equal(net(x).array, y)


def loss_of(net, random):
    """Returns the loss of a net of 48 inputs and 10 classes."""
    x = random.uniform(0, 1, (20, 48)).astype(numpy.float32)
    t = random.randint(0, 10, 20).astype(numpy.int32)
    return F.softmax_cross_entropy(net(x), t)


@pytest.mark.parametrize('make_net', [
    lambda: MnistMLP(None, 30, 10), lambda: MnistConvNet((8, 6), 4, 30, 10)],
    ids=['mlp', 'conv'])
def test_gradients_reach_every_parameter(random, make_net):
    net = make_net()
    loss = loss_of(net, random)
    net.cleargrads()
    loss.backward()
    for name, param in net.namedparams():
        assert param.grad.dtype == numpy.float32, name
        # A bias in front of batch normalization has no effect, and only
        # rounding in its gradient.
        if not name.endswith('/b'):
            assert numpy.abs(param.grad).max() > 1e-5, name


@pytest.mark.parametrize(('make_net', 'layer'), [
    (lambda: MnistMLP(48, 30, 10), 'l1'),
    *((lambda: MnistConvNet((8, 6), 4, 30, 10), layer)
      for layer in ('l1', 'l2', 'l5'))])
def test_nan_in_a_weight_shows_in_the_loss(random, make_net, layer):
    net = make_net()
    net[layer].W.array[0].flat[-1] = numpy.nan
    assert numpy.isnan(loss_of(net, random).array)


def test_blocked_gradients_are_reported_in_training(random):
    net = MnistMLP(20, 30, 10)
    x = random.uniform(0, 1, (8, 20)).astype(numpy.float32)
    reporter = chainer.Reporter()
    reporter.add_observer('net', net)
    with reporter.scope({}):
        net(x)
        observation = reporter.observation
    h = net.bn1(net.l1(x))
    assert observation['net/blocked1'] == (numpy.abs(h.array) > 1).mean()
    assert set(observation) == {'net/blocked1', 'net/blocked2'}
    with chainer.using_config('train', False), reporter.scope({}):
        net(x)
        assert reporter.observation == {}


def test_relu_follows_the_quantized_activations(random):
    net = MnistMLP(20, 30, 10, relu=True, activation_quantizer=Log())
    x = random.uniform(0, 1, (8, 20)).astype(numpy.float32)
    with chainer.using_config('train', False):
        h = F.relu(qst(net.bn1(net.l1(x)), Log()))
        h = F.relu(qst(net.bn2(net.l2(h)), Log()))
        numpy.testing.assert_array_equal(
            net(x).array, net.bn3(net.l3(h)).array)


def test_dropout_is_of_inputs_and_activations_and_in_training_only(random):
    net = MnistMLP(20, 30, 10, input_dropout=.2, dropout=.5)
    x = random.uniform(0, 1, (8, 20)).astype(numpy.float32)
    numpy.random.seed(0)
    h = dropout(x, .2)
    for bn, layer in (net.bn1, net.l1), (net.bn2, net.l2):
        h = dropout(qst(bn(layer(h))), .5)
        assert set(numpy.unique(numpy.abs(h.array))) == {0, 2}
    expected = net.bn3(net.l3(h)).array
    numpy.random.seed(0)
    numpy.testing.assert_array_equal(net(x).array, expected)
    with chainer.using_config('train', False):
        numpy.testing.assert_array_equal(net(x).array, net(x).array)


# Convolutions


def test_a_conv_net_is_blocks_of_convolutions_and_then_linear_layers():
    net = MnistConvNet((28, 28), 16, 256, 10)
    sizes = {name: param.shape for name, param in net.namedparams()
             if name.endswith('/W')}
    assert sizes == {
        '/l1/W': (16, 1, 3, 3), '/l2/W': (16, 16, 3, 3),
        '/l3/W': (32, 16, 3, 3), '/l4/W': (32, 32, 3, 3),
        '/l5/W': (256, 32 * 7 * 7), '/l6/W': (10, 256)}
    assert net.bn4.gamma.shape == (32,)
    assert net.l4.b.shape == (32,)
    assert [type(link) for link, _ in net.layers()] == (
        [QuantizedConvolution2D] * 4 + [QuantizedLinear] * 2)
    assert net.pool_sizes == [1, 2, 1, 2, 1, 1]
    assert net.image_shape == (28, 28)


def test_an_mlp_has_vectors_and_no_pooling():
    net = MnistMLP(20, 30, 10)
    assert net.image_shape is None
    assert net.pool_sizes == [1, 1, 1]


def by_hand(net, x, shape):
    """A conv net of two blocks and a hidden layer, by Chainer's functions."""
    def convolution(x, link):
        W = numpy.where(link.W.array >= 0, 1, -1).astype(x.dtype)
        return F.convolution_2d(x, W, link.b.array, pad=1)

    def pooling(x):
        return F.max_pooling_2d(x, 2, cover_all=False)

    h = F.reshape(chainer.as_variable(x), (len(x), 1, *shape))
    for k in 1, 3:
        h = qst(net[f'bn{k}'](convolution(h, net[f'l{k}'])))
        k += 1
        h = qst(net[f'bn{k}'](pooling(convolution(h, net[f'l{k}']))))
    assert set(numpy.unique(h.array)) == {-1, 1}
    h = h.array.reshape(len(x), -1)  # channel, row, column
    h = qst(net.bn5(net.l5(h)))
    return net.bn6(net.l6(h)).array


@pytest.mark.parametrize('shape', [(28, 28), (13, 11), (4, 9)])
def test_forward_is_two_convolutions_and_a_pooling_for_each_block(
        random, shape):
    net = MnistConvNet(shape, 5, 30, 10)
    # Falling channels and constant ones, too.
    for _, bn in net.layers()[:-1]:
        bn.gamma.array[:3] = 0, -1, -.3
        bn.beta.array[:3] = 0, .1, -.2
    x = random.uniform(0, 1, (8, shape[0] * shape[1])).astype(numpy.float32)
    for train in True, False:
        with chainer.using_config('train', train):
            numpy.testing.assert_allclose(
                net(x).array, by_hand(net, x, shape), rtol=1e-4, atol=1e-4)


def test_blocks_double_the_channels_and_halve_the_image():
    net = MnistConvNet((30, 17), 3, 7, 4, n_blocks=3, n_hidden=2)
    assert [link.W.shape for link, _ in net.layers()] == [
        (3, 1, 3, 3), (3, 3, 3, 3), (6, 3, 3, 3), (6, 6, 3, 3),
        (12, 6, 3, 3), (12, 12, 3, 3), (7, 12 * 3 * 2), (7, 7), (4, 7)]
    assert net(numpy.zeros((2, 510), numpy.float32)).shape == (2, 4)


@pytest.mark.parametrize('shape', [(28, 15), (15, 28)])
def test_blocks_that_leave_nothing_of_an_image_are_refused(shape):
    MnistConvNet(shape, 1, 2, 2, n_blocks=3)
    with pytest.raises(ValueError, match=(
            'must leave a pixel of an image, got 4 blocks for one of '
            f'{shape[0]} x {shape[1]} pixels')):
        MnistConvNet(shape, 1, 2, 2, n_blocks=4)


def test_a_conv_net_reports_what_each_hidden_layer_blocks(random):
    net = MnistConvNet((8, 6), 4, 30, 10)
    x = random.uniform(0, 1, (8, 48)).astype(numpy.float32)
    reporter = chainer.Reporter()
    reporter.add_observer('net', net)
    with reporter.scope({}):
        net(x)
        observation = reporter.observation
    assert set(observation) == {f'net/blocked{k}' for k in range(1, 6)}
    h = net.bn1(net.l1(x.reshape(8, 1, 8, 6)))
    assert observation['net/blocked1'] == (numpy.abs(h.array) > 1).mean()


def test_a_conv_net_takes_the_choices_of_an_mlp(random):
    net = MnistConvNet(
        (8, 6), 4, 30, 10, relu=True, input_dropout=.2, dropout=.5,
        weight_quantizer=Linear(2), activation_quantizer=Log(),
        gradient_quantizer=Log(), initialW=chainer.initializers.Uniform(1))
    assert abs(net.l2.W.array).max() > .9
    assert str(net.l2.quantizer) == str(net.l6.quantizer) == 'linear:2'
    assert str(net.l2.gradient_quantizer) == 'log'
    x = random.uniform(0, 1, (8, 48)).astype(numpy.float32)
    with chainer.using_config('train', False):
        h = net.bn1(net.l1(x.reshape(8, 1, 8, 6)))
        h = F.relu(qst(h, Log()))
        h = F.max_pooling_2d(net.l2(h), 2, cover_all=False)
        h = F.relu(qst(net.bn2(h), Log()))
        for k in 3, 4, 5:
            h = net[f'l{k}'](h)
            if k == 4:
                h = F.max_pooling_2d(h, 2, cover_all=False)
            h = F.relu(qst(net[f'bn{k}'](h), Log()))
        numpy.testing.assert_array_equal(
            net(x).array, net.bn6(net.l6(h)).array)
    numpy.random.seed(0)
    y = net(x).array
    numpy.random.seed(0)
    numpy.testing.assert_array_equal(net(x).array, y)
    assert (net(x).array != y).any()
