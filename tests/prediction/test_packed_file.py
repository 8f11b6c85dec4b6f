import io
import os
import re
import subprocess
import sys
import zipfile

import chainer_compat
import hypothesis
import hypothesis.strategies as st
import numpy
import pytest

from prediction.packed_net import PackedNet
from system.npz_reader import NpzReader
from tests.helpers import ROOT
from tests.helpers.nets import (
    make_conv_net, often, random_arrays, random_pixels)


@pytest.fixture
def export(tmp_path):
    path = tmp_path / 'packed.npz'
    PackedNet.from_arrays(random_arrays((70, 65, 3))).save(path)
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
    net = PackedNet.from_arrays(random_arrays(sizes, seed))
    net.save(path)
    loaded = PackedNet.load(path)
    assert loaded.sizes == net.sizes
    assert loaded.images == net.images
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
    PackedNet.from_arrays(random_arrays((4, 3))).save(export)
    assert os.listdir(export.parent) == before
    assert PackedNet.load(export).sizes == [4, 3]


def test_the_reader_in_the_documents_gives_the_same_logits(
        tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / 'docs' / 'packed.md').read_text(encoding='utf-8')
    code, = re.findall(r'^```python\n(import ast\n.*?)^```$', text,
                       re.DOTALL | re.MULTILINE)
    convolutional = make_conv_net((7, 9), 5, 30, 4)
    for net in (
            PackedNet.from_arrays(random_arrays((70, 65, 33, 3))),
            PackedNet.from_arrays(random_arrays((5, 2, 64, 128, 4))),
            PackedNet.from_arrays(random_arrays((70, 3))),
            PackedNet.from_chain(convolutional),
            PackedNet.from_chain(convolutional, 'symmetric')):
        net.save('mnist.npz')
        reader = {}
        exec(code, reader)
        assert reader['images'] == net.images.to_json()
        x = random_pixels(20, net.sizes[0])
        numpy.testing.assert_array_equal(
            numpy.float32([reader['logits'](row.tolist()) for row in x]),
            net.logits(x))


def words(n, k, fill=0):
    return numpy.full((n, k), fill, numpy.uint64)


@pytest.mark.parametrize(('changes', 'match'), [
    ({'version': None}, 'holds no packed net'),
    ({'version': numpy.array([3])}, r'version \[3\], this program reads'),
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
    ({'images': numpy.zeros(3, numpy.uint8)}, 'images in .* cannot be read'),
    ({'images': numpy.frombuffer(b'{}', 'u1')}, 'images in .*: shape is None'),
    ({'images': numpy.frombuffer(b'[' * 10 ** 6, 'u1')}, 'images in .* cann'),
])
def test_a_tampered_file_is_refused(export, changes, match):
    rewrite(export, **changes)
    with pytest.raises(ValueError, match=match):
        PackedNet.load(export)


def test_other_byte_orders_and_memory_layouts_are_read(export):
    net = PackedNet.load(export)
    rewrite(export, l1_W=numpy.asfortranarray(net.hidden[0].words),
            l1_threshold=net.hidden[0].thresholds.astype('>i4'))
    x = random_pixels(10, 70)
    numpy.testing.assert_array_equal(
        PackedNet.load(export).logits(x), net.logits(x))


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
            PackedNet.load(export)
    assert not victim.exists()


def test_any_truncated_file_is_refused(export, tmp_path):
    data = export.read_bytes()
    path = tmp_path / 'truncated'
    for length in [*range(0, 200, 7), *range(200, len(data), 53),
                   len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match='truncated'):
            PackedNet.load(path)


def test_a_file_with_a_changed_byte_is_refused_or_the_same(export, tmp_path):
    net = PackedNet.load(export)
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
            loaded = PackedNet.load(path)
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
        PackedNet.load(path)


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
        PackedNet.load(export)


def test_a_bomb_is_refused_before_it_goes_off(export):
    import tracemalloc
    data = npy((1 << 23, 2), data=bytes(1 << 27))
    replace_member(export, 'l1/W.npy', data, zipfile.ZIP_DEFLATED)
    assert os.path.getsize(export) < 1 << 18
    del data
    tracemalloc.start()
    with pytest.raises(ValueError, match='more than the file\'s'):
        PackedNet.load(export)
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
        PackedNet.load(tmp_path / name)


def test_it_needs_neither_chainer_nor_numba(export):
    code = '''
import sys
sys.modules.update(chainer=None, numba=None, matplotlib=None, PIL=None)
import numpy
from prediction.packed_net import PackedNet
net = PackedNet.load(sys.argv[1])
print(net.predict(numpy.zeros((2, 70), numpy.uint8)).shape)
'''
    result = subprocess.run(
        [sys.executable, '-c', code, str(export)], cwd=ROOT, timeout=60,
        check=True, capture_output=True, text=True)
    assert result.stdout == '(2,)\n'
