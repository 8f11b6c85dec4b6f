import functools
import io
import os
import subprocess
import sys
import zipfile

import chainer_compat  # noqa: F401  (before chainer)
import chainer
import chainer.functions as F
import chainer.links as L
import hypothesis
import hypothesis.strategies as st
import numpy
import pytest

import kernels
import quantizers
from layers.batch_normalization import BatchNormalization
from net import MnistMLP
from prediction import packed_layers
from prediction.packed_net import PackedMLP
from system.errors import InputError
from system.npz_reader import NpzReader
from tests.helpers import ROOT

often = hypothesis.settings(max_examples=60, deadline=None, derandomize=True)


def random_arrays(sizes, seed=0):
    """Parameters whose units change their decision at all kinds of places."""
    random = numpy.random.RandomState(seed)
    arrays = {}
    for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:]), 1):
        arrays.update({
            f'l{i}/W': random.uniform(-1, 1, (n_out, n_in)),
            f'l{i}/b': random.normal(0, 1, n_out),
            f'bn{i}/gamma': random.normal(0, 1, n_out),
            f'bn{i}/beta': random.normal(0, 1, n_out),
            f'bn{i}/avg_mean': random.normal(0, n_in ** .5, n_out),
            f'bn{i}/avg_var': random.uniform(0, n_in, n_out),
        })
    return {name: a.astype(numpy.float32) for name, a in arrays.items()}


def random_pixels(n, n_in, seed=0):
    random = numpy.random.RandomState(seed)
    x = random.randint(0, 256, (n, n_in)) * (random.rand(n, n_in) < .3)
    return x.astype(numpy.uint8)


def make_chain(arrays, n_hidden=2):
    n_units, n_in = arrays['l1/W'].shape
    n_out = len(arrays[f'l{n_hidden + 1}/W'])
    chain = MnistMLP(n_in, n_units, n_out, n_hidden=n_hidden)
    chainer.serializers.NpzDeserializer(arrays, strict=False).load(chain)
    return chain


def evaluate(layer, x):
    with chainer.using_config('train', False), chainer.no_backprop_mode():
        return layer(x).array


# Folding


special = st.sampled_from(
    [0, -0., 1, -1, 1e-3, -1e-3, 1e-30, -1e-30, 1e-45, 3e7, -3e7, 1e30])
value = st.one_of(special, st.floats(-20, 20, width=32))
variance = st.one_of(
    st.sampled_from([0, 1e-45, 1e-10, 1, 1e10, 3e38]),
    st.floats(0, 100, width=32))


@often
@hypothesis.given(st.integers(1, 40), st.booleans(), st.lists(
    st.tuples(value, value, value, value, variance), min_size=1, max_size=20),
    st.sampled_from([2e-5, 1e-4, 1e-9, 1.]))
def test_thresholds_decide_as_chainer_does_on_all_integers(
        n_in, takes_pixels, units, eps):
    b, gamma, beta, mean, var = numpy.array(units, numpy.float32).T.copy()
    norm = packed_layers.BatchNorm.from_arrays({
        'l1/b': b, 'bn1/gamma': gamma, 'bn1/beta': beta, 'bn1/avg_mean': mean,
        'bn1/avg_var': var}, 1, len(b), eps)
    thresholds, falling = norm.fold(
        255 * n_in if takes_pixels else n_in,
        lambda sums: sums / 255 if takes_pixels else sums)
    bound = 255 * n_in if takes_pixels else n_in
    assert ((-bound <= thresholds) & (thresholds <= bound + 1)).all()
    sums = numpy.arange(-bound, bound + 1)[:, None]
    s = (sums / 255 if takes_pixels else sums).astype(numpy.float32)
    with numpy.errstate(over='ignore'):
        y = F.fixed_batch_normalization(
            s + b, gamma, beta, mean, var, eps=eps).array
    is_falling = kernels.unpack_signs(falling[None], len(b))[0] > 0
    numpy.testing.assert_array_equal(
        (sums >= thresholds) ^ is_falling, y >= 0)


def fold(gamma, beta, mean=0., var=1., n_in=10):
    norm = packed_layers.BatchNorm.from_arrays({
        f'bn1/{name}': numpy.array([v], numpy.float32) for name, v in (
            ('gamma', gamma), ('beta', beta), ('avg_mean', mean),
            ('avg_var', var))}, 1, 1, packed_layers.EPS)
    thresholds, falling = norm.fold(n_in, lambda sums: sums)
    return thresholds[0], falling[0]


def test_a_negative_gamma_turns_the_comparison_round():
    assert fold(1, 0, mean=2.5) == (3, 0)
    assert fold(-1, 0, mean=2.5) == (3, 1)
    # At 0 itself both give +1.
    assert fold(1, 0, mean=3) == (3, 0)
    assert fold(-1, 0, mean=3) == (4, 1)


def test_a_gamma_of_zero_is_a_constant():
    assert fold(0, 1) == (-10, 0)
    assert fold(0, 0) == (-10, 0)
    assert fold(0, -1) == (11, 0)


def test_a_unit_without_variance_is_finite():
    assert fold(1, 0, mean=4, var=0) == (4, 0)


# The net beside Chainer's


@pytest.mark.parametrize('sizes', [
    (784, 100, 100, 10), (64, 64, 64, 2), (5, 1, 1, 3), (30, 129, 129, 7)])
def test_hidden_layers_decide_as_chainer_does(sizes, kernel_path):
    arrays = random_arrays(sizes)
    chain, net = make_chain(arrays), PackedMLP.from_arrays(arrays)
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
    net = PackedMLP.from_arrays(arrays)
    x = random_pixels(500, 784)
    s = x.astype(int) @ numpy.where(arrays['l1/W'] >= 0, 1, -1).T
    y = evaluate(make_chain(arrays).bn1, (
        (s / 255).astype(numpy.float32) + arrays['l1/b']))
    numpy.testing.assert_array_equal(
        net.activations(x)[0], kernels.pack_signs(y))


def test_predictions_are_those_of_chainer(kernel_path):
    arrays = random_arrays((784, 100, 100, 10))
    x = random_pixels(300, 784)
    net = PackedMLP.from_arrays(arrays)
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
    net = PackedMLP.from_arrays(arrays)
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
        PackedMLP.from_arrays(arrays).logits(x), expected)


@pytest.mark.parametrize('n', [0, 1])
def test_one_image_and_none(n, kernel_path):
    net = PackedMLP.from_arrays(random_arrays((16, 20, 20, 3)))
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
        PackedMLP.from_arrays(weights).logits(x),
        PackedMLP.from_arrays(full).logits(x))


def test_a_chain_is_packed_with_its_eps():
    arrays = random_arrays((16, 20, 20, 3))
    chain = make_chain(arrays)
    chain.bn1.eps, chain.bn2.eps, chain.bn3.eps = 1., 2., 3.
    x = random_pixels(50, 16)
    numpy.testing.assert_array_equal(
        PackedMLP.from_chain(chain).logits(x),
        PackedMLP.from_arrays(arrays, [1., 2., 3.]).logits(x))
    assert (PackedMLP.from_chain(chain).logits(x)
            != PackedMLP.from_arrays(arrays).logits(x)).any()


def test_weights_are_strictly_plus_and_minus_one():
    arrays = random_arrays((70, 20, 3))
    arrays['l1/W'][0, :2] = 0, -0.
    net = PackedMLP.from_arrays(arrays)
    for i in 1, 2:
        numpy.testing.assert_array_equal(
            net.weights(i), numpy.where(arrays[f'l{i}/W'] >= 0, 1, -1))


def test_the_default_net_is_thirty_times_smaller(tmp_path):
    net = PackedMLP.from_arrays(random_arrays((784, 1000, 1000, 10)))
    assert net.float32_nbytes == 4 * 1804050
    assert net.float32_nbytes / net.nbytes > 29
    net.save(tmp_path / 'net')
    assert os.path.getsize(tmp_path / 'net') < 250000


# Errors


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
        PackedMLP.from_arrays(arrays)


def test_a_variance_without_eps_must_be_positive():
    arrays = changed(bn1_avg_var=vector(20, 0))
    with pytest.raises(ValueError, match=r'avg_var \+ eps must be more'):
        PackedMLP.from_arrays(arrays, eps=0)
    with pytest.raises(ValueError, match='eps must be 1 or 2 numbers'):
        PackedMLP.from_arrays(arrays, eps=[1, 2, 3])


def test_pixels_that_do_not_fit_are_refused():
    net = PackedMLP.from_arrays(random_arrays((16, 20, 3)))
    with pytest.raises(TypeError, match='must be uint8, got float32'):
        net.predict(numpy.zeros((1, 16), numpy.float32))
    with pytest.raises(ValueError, match=r'shape \(N, 16\), got \(1, 15\)'):
        net.predict(numpy.zeros((1, 15), numpy.uint8))
    with pytest.raises(ValueError, match=r'shape \(N, 16\), got \(16,\)'):
        net.predict(numpy.zeros(16, numpy.uint8))


# Files


@pytest.fixture
def export(tmp_path):
    path = tmp_path / 'packed.npz'
    PackedMLP.from_arrays(random_arrays((70, 65, 3))).save(path)
    return path


def rewrite(path, **changes):
    """Changes arrays of a file; None leaves one out."""
    with numpy.load(path) as npz:
        arrays = dict(npz)
    for name, a in changes.items():
        arrays[name.replace('_', '/', 1)] = a
    with open(path, 'wb') as f:
        numpy.savez(f, **{n: a for n, a in arrays.items() if a is not None})


@often
@hypothesis.given(st.lists(st.integers(1, 200), min_size=2, max_size=4),
                  st.integers(0, 1 << 30))
def test_a_file_gives_the_same_net(tmp_path_factory, sizes, seed):
    path = tmp_path_factory.getbasetemp() / 'round-trip.npz'
    net = PackedMLP.from_arrays(random_arrays(sizes, seed))
    net.save(path)
    loaded = PackedMLP.load(path)
    assert loaded.sizes == net.sizes
    x = random_pixels(10, sizes[0])
    numpy.testing.assert_array_equal(loaded.logits(x), net.logits(x))


def test_a_file_holds_its_version_and_no_objects(export):
    with numpy.load(export, allow_pickle=False) as npz:
        assert npz['version'].tolist() == [1]
        assert npz['sizes'].tolist() == [70, 65, 3]
        assert npz['l1/W'].dtype == numpy.uint64
        assert npz['l1/W'].shape == (65, 2)


def test_a_file_is_replaced_and_nothing_else_is_left(export):
    before = os.listdir(export.parent)
    PackedMLP.from_arrays(random_arrays((4, 3))).save(export)
    assert os.listdir(export.parent) == before
    assert PackedMLP.load(export).sizes == [4, 3]


def words(n, k, fill=0):
    return numpy.full((n, k), fill, numpy.uint64)


@pytest.mark.parametrize(('changes', 'match'), [
    ({'version': None}, 'holds no packed net'),
    ({'version': numpy.array([2])}, r'version \[2\], this program reads'),
    ({'format': numpy.zeros(3, numpy.uint8)}, 'format in .* is not that'),
    ({'sizes': numpy.array([70])}, 'sizes in .* is not that'),
    ({'sizes': numpy.array([70, 0, 3])}, 'sizes in .* is not that'),
    ({'sizes': numpy.array([-70, 65, 3])}, 'sizes in .* is not that'),
    ({'sizes': numpy.array([1 << 62, 65, 3])}, 'sizes in .* is not that'),
    ({'sizes': numpy.array([129, 65, 3])}, 'l1/W in .* is not that'),
    ({'sizes': numpy.array([70, 65, 4])}, 'l2/W in .* is not that'),
    ({'sizes': numpy.array([70, 65, 3, 2])}, 'has no l2/threshold|l3/W'),
    ({'sizes': numpy.array([70., 65., 3.])}, 'dtype float64, expected int64'),
    ({'l1_W': None}, 'has no l1/W'),
    ({'l1_W': words(65, 3)}, 'l1/W in .* is not that'),
    ({'l1_W': words(64, 2)}, 'l1/W in .* is not that'),
    ({'l1_W': words(65, 2, 1 << 6)}, 'l1/W in .* is not that'),
    ({'l1_W': words(65, 2).astype(numpy.int64)}, 'expected uint64'),
    ({'l1_W': words(65, 2)[0]}, 'expected 2 axes'),
    ({'l1_threshold': numpy.zeros(64, 'i4')}, 'l1/threshold in .* is not'),
    ({'l1_threshold': numpy.full(65, 70 * 255 + 2, 'i4')}, 'l1/threshold'),
    ({'l1_threshold': numpy.full(65, -70 * 255 - 1, 'i4')}, 'l1/threshold'),
    ({'l1_threshold': numpy.zeros(65, 'f4')}, 'expected int32'),
    ({'l1_falling': numpy.zeros(1, 'u8')}, 'l1/falling in .* is not'),
    ({'l1_falling': numpy.full(2, 2, 'u8')}, 'l1/falling in .* is not'),
    ({'l2_norm': numpy.zeros((5, 3), 'f4')}, 'l2/norm in .* is not'),
    ({'l2_norm': numpy.full((5, 3), numpy.nan, 'f4')}, 'l2/norm in .* is'),
    ({'l2_norm': numpy.ones((4, 3), 'f4')}, 'l2/norm in .* is not'),
])
def test_a_tampered_file_is_refused(export, changes, match):
    rewrite(export, **changes)
    with pytest.raises(ValueError, match=match):
        PackedMLP.load(export)


def test_other_byte_orders_and_memory_layouts_are_read(export):
    net = PackedMLP.load(export)
    rewrite(export, l1_W=numpy.asfortranarray(net.hidden[0].words),
            l1_threshold=net.hidden[0].thresholds.astype('>i4'))
    x = random_pixels(10, 70)
    numpy.testing.assert_array_equal(
        PackedMLP.load(export).logits(x), net.logits(x))


class Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, 'w')


def test_objects_in_a_file_run_no_code(export, tmp_path):
    victim = tmp_path / 'attacked'
    array = numpy.array([Attack(str(victim))], object)
    data = export.read_bytes()
    for name in 'format', 'l1_W', 'l2_norm':
        export.write_bytes(data)
        rewrite(export, **{name: array})
        with pytest.raises(ValueError, match='dtype object, expected'):
            PackedMLP.load(export)
    assert not victim.exists()


def test_any_truncated_file_is_refused(export, tmp_path):
    data = export.read_bytes()
    path = tmp_path / 'truncated'
    for length in [*range(0, 200, 7), *range(200, len(data), 53),
                   len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match='truncated'):
            PackedMLP.load(path)


def test_a_file_with_a_changed_byte_is_refused_or_the_same(export, tmp_path):
    net = PackedMLP.load(export)
    x = random_pixels(5, 70)
    data = export.read_bytes()
    random = numpy.random.RandomState(0)
    path = tmp_path / 'changed'
    refused = 0
    for position in random.randint(0, len(data), 400):
        bad = bytearray(data)
        bad[position] ^= 1 << random.randint(8)
        path.write_bytes(bad)
        try:
            loaded = PackedMLP.load(path)
        except ValueError:
            refused += 1
        else:  # A byte that says nothing, such as a date.
            numpy.testing.assert_array_equal(loaded.logits(x), net.logits(x))
    assert refused > 200


@often
@hypothesis.given(st.binary(max_size=300))
def test_any_bytes_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / 'bytes'
    path.write_bytes(b'PK\x03\x04' + data)
    with pytest.raises(ValueError, match=r'is no \.npz file, or damaged'):
        PackedMLP.load(path)


def npy(shape, descr='<u8', data=b''):
    """An .npy file whose header says what it likes."""
    f = io.BytesIO()
    numpy.lib.format.write_array_header_1_0(f, {
        'descr': descr, 'fortran_order': False, 'shape': shape})
    return f.getvalue() + data


def replace_member(path, name, data, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path) as z:
        members = {n: z.read(n) for n in z.namelist()}
    members[name] = data
    with zipfile.ZipFile(path, 'w', compression) as z:
        for member in members.items():
            z.writestr(*member)


@pytest.mark.parametrize(('data', 'match'), [
    (npy((1 << 40, 2)), 'needs .* bytes, there are 0'),
    (npy((1 << 62, 1 << 62)), 'needs .* bytes, there are 0'),
    (npy((65, 3), data=bytes(65 * 16)), 'needs 1560 bytes, there are 1040'),
    (npy((65, 1), data=bytes(65 * 16)), 'needs 520 bytes, there are 1040'),
    (npy((-65, -2), data=bytes(65 * 16)), r'shape \(-65, -2\)'),
    (npy((65, 2), '|O', bytes(65 * 16)), 'dtype object'),
    (b'\x93NUMPY\x03\x00' + b'\xff' * 100, r'format \(3, 0\) of .npy'),
    (b'\x93NUMPY\x01\x00\xff\xff' + b'(' * 70000, 'cannot be read'),
    (b'', 'cannot be read'),
])
def test_headers_that_lie_are_refused(export, data, match):
    replace_member(export, 'l1/W.npy', data)
    with pytest.raises(ValueError, match=match):
        PackedMLP.load(export)


def test_a_bomb_is_refused_before_it_goes_off(export):
    import tracemalloc
    data = npy((1 << 23, 2), data=bytes(1 << 27))
    replace_member(export, 'l1/W.npy', data, zipfile.ZIP_DEFLATED)
    assert os.path.getsize(export) < 1 << 18
    del data
    tracemalloc.start()
    with pytest.raises(ValueError, match='more than the file\'s'):
        PackedMLP.load(export)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 22


def test_members_that_claim_the_same_bytes_are_counted(export):
    # Each alone is small enough; together they are not.
    with zipfile.ZipFile(export, 'w', zipfile.ZIP_DEFLATED) as z:
        for i in range(4):
            z.writestr(f'a{i}.npy', npy((50000,), data=bytes(400000)))
    with NpzReader(export) as npz:
        for i in range(2):
            npz.read(f'a{i}', numpy.uint64, 1)
        with pytest.raises(ValueError, match='more than the file\'s'):
            npz.read('a3', numpy.uint64, 1)


@pytest.mark.parametrize('name', ['missing', 'folder'])
def test_what_is_no_file_is_refused(tmp_path, name):
    (tmp_path / 'folder').mkdir()
    with pytest.raises(ValueError, match='cannot read'):
        PackedMLP.load(tmp_path / name)


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
], ids=['weights', 'one layer', 'activations', 'relu', 'batch', 'none',
        'names'])
def test_a_chain_that_bits_cannot_compute_is_refused(make, reason):
    with pytest.raises(InputError, match=reason):
        PackedMLP.from_chain(make())


def test_stochastic_and_one_bit_quantizers_are_binary():
    for quantizer in quantizers.Stochastic(), quantizers.Linear(1):
        net = MnistMLP(8, 5, 3, weight_quantizer=quantizer,
                       activation_quantizer=quantizer)
        assert PackedMLP.from_chain(net).sizes == [8, 5, 5, 3]


def test_a_net_on_a_gpu_is_saved_as_that_on_the_cpu(
        tmp_path, host_cupy_kernels, monkeypatch):
    net = PackedMLP.from_arrays(random_arrays((30, 20, 3)))
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


def test_it_needs_neither_chainer_nor_numba(export):
    code = '''
import sys
sys.modules.update(chainer=None, numba=None, matplotlib=None, PIL=None)
import numpy
from prediction.packed_net import PackedMLP
net = PackedMLP.load(sys.argv[1])
print(net.predict(numpy.zeros((2, 70), numpy.uint8)).shape)
'''
    result = subprocess.run(
        [sys.executable, '-c', code, str(export)], cwd=ROOT, timeout=60,
        check=True, capture_output=True, text=True)
    assert result.stdout == '(2,)\n'


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    import cupy
    net = PackedMLP.from_arrays(random_arrays((784, 100, 100, 10)))
    x = random_pixels(50, 784)
    expected, activations = net.logits(x), net.activations(x)
    net.to(cupy)
    for a, b in zip(net.activations(cupy.asarray(x)), activations):
        numpy.testing.assert_array_equal(a.get(), b)
    numpy.testing.assert_allclose(
        net.logits(cupy.asarray(x)).get(), expected, rtol=1e-5)
    numpy.testing.assert_array_equal(net.to(numpy).logits(x), expected)
