"""A damaged snapshot or packed net is read, or refused with one message."""
import contextlib
import io
import json
import struct
import zipfile
import zlib

import chainer_compat
import hypothesis
import numpy
import pytest
from hypothesis import strategies as st

from prediction import model_file
from recipes import choices
from system import snapshot_file
from tests.helpers.fuzzing import CASES, examples, flip, flips, refusal
from tests.training import test_snapshots
from training import run_state
from training import snapshots

SETTINGS = {**choices.RECIPES['binarized'], 'unit': 8}


def make_trainer(folder, epochs):
    """Returns a trainer whose snapshots predict_mnist.py can read."""
    trainer = test_snapshots.make_trainer(folder, epochs=epochs)
    trainer.extend(run_state.Settings(SETTINGS))
    return trainer


@pytest.fixture(scope='module')
def snapshot(tmp_path_factory):
    """The bytes of a snapshot, and a path to write to."""
    folder = tmp_path_factory.mktemp('snapshot')
    make_trainer(folder, epochs=2).run()
    return (folder / 'snapshot_iter_8').read_bytes(), folder / 'damaged'


@pytest.fixture(scope='module')
def export(tmp_path_factory, snapshot):
    """The bytes of a packed net, and a path to write to."""
    path = tmp_path_factory.mktemp('export') / 'damaged'
    path.write_bytes(snapshot[0])
    model_file.read(str(path))[0].save(str(path))
    return path.read_bytes(), path


def check_snapshot(data, path, kind):
    """A damaged snapshot is read, or refused; then a run survives it."""
    path.write_bytes(data)
    CASES[kind] += 2
    trainer = make_trainer(path.parent / 'run', epochs=3)
    message = refusal(ValueError, snapshots.load, str(path), trainer)
    if message is None:
        message = refusal(FloatingPointError, trainer.run,
                          show_loop_exception_msg=False)
        assert message is None or 'diverged' in message
    else:
        assert 'damaged' in message
        assert len(message) < 2000
    check_model(data, path)


def check_model(data, path):
    """A damaged file is read by predict_mnist.py, or refused."""
    path.write_bytes(data)
    message = refusal(ValueError, model_file.read, str(path))
    assert message is None or ('damaged' in message and len(message) < 2000)


@pytest.mark.parametrize('percent', range(100))
def test_a_file_that_is_cut_off_is_refused(snapshot, export, percent):
    CASES['cut off'] += 3
    for data, path in snapshot, export:
        path.write_bytes(data[:len(data) * percent // 100])
        with pytest.raises(ValueError, match='damaged'):
            model_file.read(str(path))
    path.write_bytes(snapshot[0][:len(snapshot[0]) * percent // 100])
    with pytest.raises(ValueError, match='damaged'):
        snapshot_file.read(str(path))


@examples
@hypothesis.given(flips, st.booleans())
def test_flipped_bits_are_read_or_refused(snapshot, export, changes, at_end):
    for (data, path), check in (snapshot, check_snapshot), (
            export, lambda data, path, kind: check_model(data, path)):
        CASES['flipped bits'] += 1
        # The directory at the end is where most of the structure is.
        begin = data.rindex(b'PK\5\6') - 4000 if at_end else 0
        begin = max(0, begin)
        check(data[:begin] + flip(data[begin:], changes), path,
              'flipped bits')


def members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(content, compression=zipfile.ZIP_STORED):
    f = io.BytesIO()
    with zipfile.ZipFile(f, 'w', compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return f.getvalue()


@examples
@hypothesis.given(st.data())
def test_swapped_members_of_the_archive_are_read_or_refused(snapshot, data):
    content = members(snapshot[0])
    names = data.draw(st.lists(st.sampled_from(sorted(content)), min_size=2,
                               max_size=4, unique=True))
    swapped = dict(content)
    for a, b in zip(names, names[1:] + names[:1]):
        swapped[a] = content[b]
    check_snapshot(archive_of(swapped), snapshot[1], 'swapped members')


@examples
@hypothesis.given(st.data())
def test_missing_members_of_the_archive_are_read_or_refused(snapshot, data):
    content = members(snapshot[0])
    for name in data.draw(st.sets(st.sampled_from(sorted(content)),
                                  min_size=1, max_size=3)):
        del content[name]
    check_snapshot(archive_of(content), snapshot[1], 'missing members')


headers = st.fixed_dictionaries({
    'descr': st.sampled_from([
        '<f4', '>f4', '<f8', '<i8', '|O', '<U9', '|V8', '<M8[s]', '<f2', '|b1',
        [('a', '<f4')], 'x', '', '<f9999999999']) | st.text(max_size=5),
    'fortran_order': st.booleans() | st.just('x'),
    'shape': st.lists(st.integers(-2, 2 ** 70) | st.integers(0, 9),
                      max_size=4).map(tuple) | st.just('x'),
})
raw_headers = headers.map(repr) | st.text(max_size=40) | st.sampled_from(
    ['(' * 9000, '-' * 60000 + '1', '{' * 500, '[[]' * 900, '\0',
     "{'descr': '<f4', 'fortran_order': False, 'shape': (" + '1,' * 900 + ')}',
     "{'descr': '<f4', 'fortran_order': False, 'shape': (" + '9' * 5000
     + ',)}'])


@examples
@hypothesis.given(st.data(), raw_headers, st.binary(max_size=64),
                  st.sampled_from([b'\1\0', b'\2\0', b'\3\0', b'\4\0']))
def test_array_headers_that_lie_are_read_or_refused(
        snapshot, data, header, body, version):
    content = members(snapshot[0])
    name = data.draw(st.sampled_from(sorted(content)))
    header = header.encode('utf-8', 'replace') + b'\n'
    length = struct.pack('<H' if version == b'\1\0' else '<I',
                         len(header) & 0xffff)
    if data.draw(st.booleans()):
        body = content[name][-len(body) - 1:]
    content[name] = b'\x93NUMPY' + version + length + header + body
    check_snapshot(archive_of(content), snapshot[1], 'lying headers')


values = st.one_of(
    st.integers(-2 ** 63, 2 ** 63 - 1), st.integers(-3, 30),
    st.floats(width=32), st.booleans(), st.text(max_size=20),
    st.sampled_from(['[]', '{}', '[1]', '[[]]', '["a", "a"]', 'null', '{"']),
    st.lists(st.floats(), max_size=3), st.lists(st.text(max_size=3),
                                                max_size=3))


@examples
@hypothesis.given(st.data(), values)
def test_arrays_of_other_values_are_read_or_refused(snapshot, data, value):
    content = members(snapshot[0])
    name = data.draw(st.sampled_from(sorted(content)))
    before = numpy.load(io.BytesIO(content[name]))
    with contextlib.suppress(OverflowError, ValueError), numpy.errstate(
            invalid='ignore'):
        value = numpy.asarray(value)
        if data.draw(st.booleans()):
            value = value.astype(before.dtype)
        if data.draw(st.booleans()) and value.size == 1:
            value = numpy.full(before.shape, value.item(), value.dtype)
    f = io.BytesIO()
    numpy.save(f, value, allow_pickle=False)
    content[name] = f.getvalue()
    check_snapshot(archive_of(content), snapshot[1], 'other values')


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=6)
    | st.integers(-2, 9) | st.integers()
    | st.sampled_from(['log', 'linear:9', 'stochastic', 'binary', 'none']),
    lambda values: st.lists(values, max_size=2), max_leaves=3)


@examples
@hypothesis.given(st.dictionaries(st.sampled_from(sorted(SETTINGS)),
                                  json_values, max_size=4))
def test_other_settings_are_read_or_refused(snapshot, changes):
    content = members(snapshot[0])
    f = io.BytesIO()
    numpy.save(f, numpy.frombuffer(
        json.dumps({**SETTINGS, **changes}).encode(), 'u1'))
    content['extensions/Settings/json.npy'] = f.getvalue()
    check_snapshot(archive_of(content), snapshot[1], 'other settings')


@pytest.mark.parametrize('n', [10, 25, 27, 40])
@pytest.mark.parametrize('is_lie', [False, True])
def test_a_member_that_unpacks_to_gigabytes_is_read_or_refused(
        snapshot, n, is_lie):
    content = members(snapshot[0])
    header = io.BytesIO()
    numpy.lib.format.write_array_header_1_0(header, {
        'descr': '|u1', 'fortran_order': False, 'shape': (1 << n,)})
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = [squeeze.compress(header.getvalue())]
    if not is_lie:
        packed += [squeeze.compress(bytes(1 << 20))
                   for _ in range(1 << max(0, min(n, 28) - 20))]
    packed = b''.join(packed) + squeeze.flush()
    name = 'updater/iteration.npy'
    content[name] = b'@' * len(packed)
    size = header.tell() + (1 << min(n, 31))
    data = archive_of(content)
    # The member is made to say that it is deflated, and how large.
    data = data.replace(b'@' * len(packed), packed)
    for mark, place in (b'PK\3\4', 8), (b'PK\1\2', 10):
        i = data.index(mark)
        while True:
            length = 30 if mark == b'PK\3\4' else 46
            if data[i + length:i + length + len(name)] == name.encode():
                break
            i = data.index(mark, i + 4)
        data = (data[:i + place] + b'\x08\0' + data[i + place + 2:])
        at = i + (22 if mark == b'PK\3\4' else 24)
        data = data[:at] + struct.pack('<I', size) + data[at + 4:]
    check_snapshot(data, snapshot[1], 'zip bombs')
