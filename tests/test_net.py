import chainer_compat
import chainer
import chainer.functions as F
import numpy

from layers.dropout import dropout
from link_quantized_linear import QuantizedLinear
from net import MnistMLP
from qst import qst
from quantizers import Log


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


def test_gradients_reach_every_parameter(random):
    net = MnistMLP(None, 30, 10)
    x = random.uniform(0, 1, (8, 20)).astype(numpy.float32)
    t = random.randint(0, 10, 8).astype(numpy.int32)
    loss = F.softmax_cross_entropy(net(x), t)
    net.cleargrads()
    loss.backward()
    for name, param in net.namedparams():
        assert param.grad.dtype == numpy.float32, name
        # A bias in front of batch normalization has no effect, and only
        # rounding in its gradient.
        if not name.endswith('/b'):
            assert numpy.abs(param.grad).max() > 1e-5, name


def test_nan_in_a_weight_shows_in_the_loss(random):
    net = MnistMLP(20, 30, 10)
    net.l1.W.array[3, 4] = numpy.nan
    x = random.uniform(0, 1, (8, 20)).astype(numpy.float32)
    t = random.randint(0, 10, 8).astype(numpy.int32)
    loss = F.softmax_cross_entropy(net(x), t)
    assert numpy.isnan(loss.array)


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
