import chainer_compat
import chainer
import numpy

from net import MnistConvNet, MnistMLP
from training.sign_changes import SignChanges


def observe(extension, net):
    reporter = chainer.Reporter()
    reporter.add_observer('net', net)
    with reporter.scope({}):
        extension(None)
        return reporter.observation


def test_the_share_of_changed_signs_is_reported_for_each_layer():
    net = MnistMLP(100, 70, 10, n_hidden=1)
    extension = SignChanges(net)
    extension.initialize(None)
    net.l1.W.array[:7] *= -1
    net.l2.W.array *= .5
    assert observe(extension, net) == {
        'net/sign_changes1': .1, 'net/sign_changes2': 0}
    # From now on it counts from here.
    net.l2.W.array[0, :35] *= -1
    assert observe(extension, net) == {
        'net/sign_changes1': 0, 'net/sign_changes2': .05}


def test_it_goes_on_counting_from_a_snapshot(tmp_path):
    net = MnistMLP(100, 70, 10, n_hidden=1)
    extension = SignChanges(net)
    extension.initialize(None)
    net.l1.W.array[:7] *= -1
    chainer.serializers.save_npz(str(tmp_path / 'file'), extension)
    resumed = SignChanges(net)
    chainer.serializers.load_npz(str(tmp_path / 'file'), resumed)
    resumed.initialize(None)
    assert observe(resumed, net)['net/sign_changes1'] == .1


def test_the_weights_of_convolutions_count_as_those_of_other_layers():
    net = MnistConvNet((4, 4), 5, 7, 3, n_blocks=1)
    extension = SignChanges(net)
    extension.initialize(None)
    net.l1.W.array[1] *= -1
    net.l2.W.array[0, 1, 2] *= -1
    net.l3.W.array *= -1
    assert observe(extension, net) == {
        'net/sign_changes1': 1 / 5, 'net/sign_changes2': 3 / 225,
        'net/sign_changes3': 1, 'net/sign_changes4': 0}


def test_a_weight_of_zero_counts_as_positive():
    net = MnistMLP(100, 70, 10, n_hidden=1)
    net.l1.W.array[...] = 1
    extension = SignChanges(net)
    extension.initialize(None)
    net.l1.W.array[...] = numpy.array([0., -0.], 'f').repeat(50)
    assert observe(extension, net)['net/sign_changes1'] == 0
