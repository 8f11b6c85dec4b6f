import numpy
import pytest

import kernels
from export import canonical, formats
from prediction.packed_net import PackedNet
from system.errors import InputError
from tests.helpers.nets import random_arrays, random_pixels


def compute(net, x):
    """Returns the logits by the words of the docstrings alone."""
    a = x.astype(numpy.int64)
    for weights, thresholds in net.hidden:
        a = numpy.where(a @ weights.T >= thresholds, 1, -1)
    return net.logits(a @ net.weights.T)


@pytest.mark.parametrize('sizes', [
    (784, 101, 77, 10), (30, 5, 3), (1, 1, 2), (65, 64, 129, 63, 7)])
def test_the_canonical_net_computes_what_the_packed_one_does(sizes):
    packed = PackedNet.from_arrays(random_arrays(sizes))
    units = [kernels.unpack_signs(layer.falling[None], layer.n_out)
             for layer in packed.hidden]
    if min(sizes) > 2:
        assert all(-1 in signs and 1 in signs for signs in units)
    net = canonical.fold(packed)
    assert net.sizes == list(sizes)
    x = random_pixels(300, sizes[0])
    x[0], x[1] = 0, 255
    numpy.testing.assert_array_equal(compute(net, x), packed.logits(x))


def test_a_net_without_a_hidden_layer_is_refused():
    packed = PackedNet.from_arrays(random_arrays((30, 3)))
    with pytest.raises(InputError, match='without a hidden layer'):
        canonical.fold(packed)


def test_logits_that_are_no_numbers_are_refused():
    arrays = random_arrays((30, 5, 3))
    arrays['l2/b'] = numpy.full(3, 3e38, numpy.float32)
    arrays['bn2/avg_mean'] = numpy.full(3, -3e38, numpy.float32)
    arrays['bn2/gamma'] = numpy.zeros(3, numpy.float32)  # infinity * 0
    with pytest.raises(InputError, match='gives NaN'):
        canonical.fold(PackedNet.from_arrays(arrays))


def test_the_ending_chooses_the_format():
    for name in 'net', 'net.npz', '/a.b/NET.NPZ':
        assert formats.writer(name) is None
    with pytest.raises(InputError, match=r'no files \.txt, but \.npz'):
        formats.writer('net.c.txt')
