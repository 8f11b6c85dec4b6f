import functools
import os
import sys

import chainer_compat
import chainer
import chainer.functions as F
import chainer.links as L
import numpy
import pytest

import kernels
import quantizers
from layers.batch_normalization import BatchNormalization
from net import MnistMLP
from prediction.packed_net import PackedMLP, PackedNet
from system.errors import InputError
from tests.helpers.nets import (
    assert_same_on_a_gpu, evaluate, make_chain, random_arrays, random_pixels)


@pytest.mark.parametrize('sizes', [
    (784, 100, 100, 10), (64, 64, 64, 2), (5, 1, 1, 3), (30, 129, 129, 7)])
def test_hidden_layers_decide_as_chainer_does(sizes, kernel_path):
    arrays = random_arrays(sizes)
    chain, net = make_chain(arrays), PackedNet.from_arrays(arrays)
    x = random_pixels(200, sizes[0])
    first, second = net.activations(x)
    h = kernels.unpack_signs(first, sizes[1]).astype(numpy.float32)
    numpy.testing.assert_array_equal(
        second, kernels.pack_signs(
            evaluate(lambda h: chain.bn2(chain.l2(h)), h)))
    h = kernels.unpack_signs(second, sizes[2]).astype(numpy.float32)
    numpy.testing.assert_array_equal(
        net.logits(x), evaluate(lambda h: chain.bn3(chain.l3(h)), h))


def test_the_first_layer_is_exact_where_chainer_rounds(kernel_path):
    arrays = random_arrays((784, 50, 50, 10))
    net = PackedNet.from_arrays(arrays)
    x = random_pixels(500, 784)
    s = x.astype(int) @ numpy.where(arrays['l1/W'] >= 0, 1, -1).T
    y = evaluate(make_chain(arrays).bn1, (
        (s / 255).astype(numpy.float32) + arrays['l1/b']))
    numpy.testing.assert_array_equal(
        net.activations(x)[0], kernels.pack_signs(y))


def test_predictions_are_those_of_chainer(kernel_path):
    arrays = random_arrays((784, 100, 100, 10))
    x = random_pixels(300, 784)
    net = PackedNet.from_arrays(arrays)
    expected = evaluate(make_chain(arrays), x.astype(numpy.float32)
                        * numpy.float32(1 / 255))
    # The first layer may round to the other side of a threshold.
    assert (net.predict(x) != expected.argmax(axis=1)).sum() <= 1
    same = (net.logits(x) == expected).all(axis=1)
    assert same.mean() > .95
    numpy.testing.assert_allclose(
        net.probabilities(x)[same], F.softmax(expected).array[same],
        atol=1e-6)


@pytest.mark.parametrize('n_hidden', [1, 2, 3, 5])
def test_any_number_of_layers_is_packed(n_hidden, kernel_path):
    arrays = random_arrays([49] + [30] * n_hidden + [4])
    x = random_pixels(50, 49)
    net = PackedNet.from_arrays(arrays)
    assert net.sizes == [49] + [30] * n_hidden + [4]
    expected = evaluate(make_chain(arrays, n_hidden),
                        x.astype(numpy.float32) * numpy.float32(1 / 255))
    assert (net.predict(x) == expected.argmax(axis=1)).mean() > .95


def test_a_single_layer_goes_from_pixels_to_classes(kernel_path):
    arrays = random_arrays([9, 3])
    x = random_pixels(20, 9)
    s = x.astype(int) @ numpy.where(arrays['l1/W'] >= 0, 1, -1).T
    expected = evaluate(
        make_chain(arrays, 0).bn1,
        (s / 255).astype(numpy.float32) + arrays['l1/b'])
    numpy.testing.assert_array_equal(
        PackedNet.from_arrays(arrays).logits(x), expected)


@pytest.mark.parametrize('n', [0, 1])
def test_one_image_and_none(n, kernel_path):
    net = PackedNet.from_arrays(random_arrays((16, 20, 20, 3)))
    assert net.predict(random_pixels(n, 16)).shape == (n,)
    assert net.probabilities(random_pixels(n, 16)).shape == (n, 3)


def test_missing_vectors_are_those_of_new_links():
    arrays = random_arrays((16, 20, 3))
    weights = {name: a for name, a in arrays.items() if name.endswith('/W')}
    full = dict(weights)
    for i, n in (1, 20), (2, 3):
        for name, fill in (f'l{i}/b', 0), (f'bn{i}/gamma', 1), (
                f'bn{i}/beta', 0), (f'bn{i}/avg_mean', 0), (
                f'bn{i}/avg_var', 1):
            full[name] = numpy.full(n, fill, numpy.float32)
    x = random_pixels(20, 16)
    numpy.testing.assert_array_equal(
        PackedNet.from_arrays(weights).logits(x),
        PackedNet.from_arrays(full).logits(x))


def test_a_chain_is_packed_with_its_eps():
    arrays = random_arrays((16, 20, 20, 3))
    chain = make_chain(arrays)
    chain.bn1.eps, chain.bn2.eps, chain.bn3.eps = 1., 2., 3.
    x = random_pixels(50, 16)
    numpy.testing.assert_array_equal(
        PackedNet.from_chain(chain).logits(x),
        PackedNet.from_arrays(arrays, [1., 2., 3.]).logits(x))
    assert (PackedNet.from_chain(chain).logits(x)
            != PackedNet.from_arrays(arrays).logits(x)).any()


def test_weights_are_strictly_plus_and_minus_one():
    arrays = random_arrays((70, 20, 3))
    arrays['l1/W'][0, :2] = 0, -0.
    net = PackedNet.from_arrays(arrays)
    for i in 1, 2:
        numpy.testing.assert_array_equal(
            net.weights(i), numpy.where(arrays[f'l{i}/W'] >= 0, 1, -1))


def test_the_default_net_is_thirty_times_smaller(tmp_path):
    net = PackedNet.from_arrays(random_arrays((784, 1000, 1000, 10)))
    assert net.float32_nbytes == 4 * 1804050
    assert net.float32_nbytes / net.nbytes > 29
    net.save(tmp_path / 'net')
    assert os.path.getsize(tmp_path / 'net') < 250000


def changed(**changes):
    arrays = random_arrays((16, 20, 3))
    for name, a in changes.items():
        arrays[name.replace('_', '/', 1)] = a
    return arrays


def vector(n, *values):
    return numpy.resize(numpy.array(values, numpy.float32), n)


@pytest.mark.parametrize(('arrays', 'match'), [
    ({}, 'no weights l1/W'),
    (changed(l2_W=vector(20, 1)), 'l2/W must be of shape'),
    (changed(l1_W=numpy.ones((0, 4), 'f')), 'l1/W must be of shape'),
    (changed(l1_W=numpy.ones((20, 16))), 'l1/W must be float32, got float64'),
    (changed(l2_W=numpy.ones((3, 21), 'f')), 'takes 21 values'),
    (changed(l1_W=numpy.full((20, 16), numpy.nan, 'f')), 'l1/W holds NaN'),
    (changed(l1_b=vector(19, 1)), r'l1/b must be of shape \(20,\)'),
    (changed(bn2_beta=vector(3, 1, numpy.inf)), 'bn2/beta holds NaN or inf'),
    (changed(bn1_avg_mean=vector(20, numpy.nan)), 'bn1/avg_mean holds NaN'),
    (changed(bn1_avg_var=vector(20, 1, -1)), 'bn1/avg_var has negative'),
    (changed(bn1_gamma=numpy.zeros(20)), 'bn1/gamma must be float32'),
    (changed(bn4_gamma=vector(3, 1)), 'bn4/gamma belongs to no layer'),
    (changed(l1_b=vector(20, 3e38), bn1_avg_mean=vector(20, -3e38),
             bn1_gamma=vector(20, 0)), 'gives NaN'),
])
def test_parameters_that_do_not_fit_are_refused(arrays, match):
    with pytest.raises(ValueError, match=match):
        PackedNet.from_arrays(arrays)


def test_a_variance_without_eps_must_be_positive():
    arrays = changed(bn1_avg_var=vector(20, 0))
    with pytest.raises(ValueError, match=r'avg_var \+ eps must be more'):
        PackedNet.from_arrays(arrays, eps=0)
    with pytest.raises(ValueError, match='eps must be 1 or 2 numbers'):
        PackedNet.from_arrays(arrays, eps=[1, 2, 3])


def test_pixels_that_do_not_fit_are_refused():
    net = PackedNet.from_arrays(random_arrays((16, 20, 3)))
    with pytest.raises(TypeError, match='must be uint8, got float32'):
        net.predict(numpy.zeros((1, 16), numpy.float32))
    with pytest.raises(ValueError, match=r'shape \(N, 16\), got \(1, 15\)'):
        net.predict(numpy.zeros((1, 15), numpy.uint8))
    with pytest.raises(ValueError, match=r'shape \(N, 16\), got \(16,\)'):
        net.predict(numpy.zeros(16, numpy.uint8))


def names_only():
    """A chain whose links have the names of a net's, but are not binary."""
    chain = chainer.Chain()
    with chain.init_scope():
        for k, sizes in enumerate([(8, 5), (5, 5), (5, 3)], 1):
            setattr(chain, f'l{k}', L.Linear(*sizes))
            setattr(chain, f'bn{k}', L.BatchNormalization(sizes[1]))
    return chain


def mixed():
    net = MnistMLP(8, 5, 3)
    net.l2.quantizer = quantizers.Log()
    return net


def layers_only():
    chain = names_only()
    chain.layers = MnistMLP(8, 5, 3).layers
    return chain


class NoNormalization(chainer.Chain):

    def __init__(self, size):
        super().__init__()


@pytest.mark.parametrize(('make', 'reason'), [
    (lambda: MnistMLP(8, 5, 3, weight_quantizer=quantizers.Linear(4)),
     'the weights of layer 1 are linear:4, not binary'),
    (mixed, 'the weights of layer 2 are log, not binary'),
    (lambda: MnistMLP(8, 5, 3, activation_quantizer=quantizers.Log()),
     'its activations are log, not binary'),
    (lambda: MnistMLP(8, 5, 3, relu=True), 'a relu follows its activations'),
    (lambda: MnistMLP(8, 5, 3, normalization=functools.partial(
        BatchNormalization, evaluate_with_batch=True)),
     'layer 1 is evaluated with the statistics of a batch'),
    (lambda: MnistMLP(8, 5, 3, normalization=NoNormalization),
     'the normalization of layer 1 has no running averages'),
    (names_only, 'Chain has no layers'),
    (layers_only, 'its activations are of an unknown kind, not binary'),
    (lambda: MnistMLP(8, 5, 3, activation_quantizer=lambda x: x),
     'its activations are <function .*>, not binary'),
], ids=['weights', 'one layer', 'activations', 'relu', 'batch', 'none',
        'names', 'layers', 'function'])
def test_a_chain_that_bits_cannot_compute_is_refused(make, reason):
    with pytest.raises(InputError, match=reason):
        PackedNet.from_chain(make())


def test_stochastic_and_one_bit_quantizers_are_binary():
    for quantizer in quantizers.Stochastic(), quantizers.Linear(1):
        net = MnistMLP(8, 5, 3, weight_quantizer=quantizer,
                       activation_quantizer=quantizer)
        assert PackedNet.from_chain(net).sizes == [8, 5, 5, 3]


def test_a_net_on_a_gpu_is_saved_as_that_on_the_cpu(
        tmp_path, host_cupy_kernels, monkeypatch):
    net = PackedNet.from_arrays(random_arrays((30, 20, 3)))
    net.save(str(tmp_path / 'cpu'))
    cupy = host_cupy_kernels.cupy
    monkeypatch.setitem(sys.modules, 'cupy', cupy)
    monkeypatch.setattr(kernels, '_kernels_for', lambda array: (
        host_cupy_kernels if isinstance(array, cupy.ndarray)
        else kernels.numpy_kernels))
    net.to(cupy).save(str(tmp_path / 'gpu'))
    assert ((tmp_path / 'gpu').read_bytes()
            == (tmp_path / 'cpu').read_bytes())
    # It stays where it was.
    x = random_pixels(4, 30)
    assert isinstance(net.logits(cupy.asarray(x)), cupy.ndarray)


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    assert_same_on_a_gpu(
        PackedNet.from_arrays(random_arrays((784, 100, 100, 10))))


def test_the_name_that_it_had_still_loads():
    assert PackedMLP is PackedNet
