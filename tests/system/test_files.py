import errno
import io
import os

import numpy
import pytest

from system import files
from system.errors import InputError


def test_a_file_is_written_and_replaced(tmp_path):
    for data in b'one', b'two':
        files.write(str(tmp_path / 'x'), lambda f, data=data: f.write(data))
        assert (tmp_path / 'x').read_bytes() == data
    assert os.listdir(tmp_path) == ['x']


@pytest.mark.parametrize('name', ['fsync', 'replace'])
def test_a_failed_write_leaves_the_earlier_file_as_it_was(
        tmp_path, monkeypatch, name):
    (tmp_path / 'x').write_bytes(b'one')

    def fail(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, name, fail)
    with pytest.raises(OSError, match='No space left') as info:
        files.write(str(tmp_path / 'x'), lambda f: f.write(b'two'))
    assert info.value.filename == str(tmp_path / 'x')
    assert os.listdir(tmp_path) == ['x']
    assert (tmp_path / 'x').read_bytes() == b'one'


def test_an_interrupted_write_leaves_no_file(tmp_path):
    def save(f):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        files.write(str(tmp_path / 'x'), save)
    assert os.listdir(tmp_path) == []


def test_a_device_or_a_folder_is_not_replaced(tmp_path):
    for path in os.devnull, str(tmp_path):
        with pytest.raises(OSError, match='Not a regular file'):
            files.write(path, lambda f: None)
    assert not os.path.isfile(os.devnull)


def test_a_fifo_a_device_and_a_folder_are_not_read(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    for path in tmp_path / 'pipe', os.devnull, tmp_path:
        with pytest.raises(InputError, match=r'Not a regular file|directory'):
            files.open_regular(str(path))


def test_a_disk_that_fails_is_one_line(tmp_path, monkeypatch):
    class Broken(io.BytesIO):
        def read(self, n=-1):
            raise OSError(errno.EIO, 'Input/output error')

    assert files.read_regular(__file__, 5) == b'impor'
    monkeypatch.setattr(files, 'open_regular', lambda path: Broken())
    with pytest.raises(InputError, match='cannot read x: Input/output error'):
        files.read_regular('x')


def test_the_temporary_file_of_a_killed_write_tells_its_file():
    assert files.unfinished('.log.12.tmp') == 'log'
    assert files.unfinished('.loss.png.12.tmp') == 'loss.png'
    for name in 'log', 'log.12.tmp', '.log.tmp', '.log.12.tmp.x':
        assert files.unfinished(name) is None


def test_archives_of_arrays_have_the_bytes_of_numpys(tmp_path):
    arrays = {'a/b': numpy.arange(6).reshape(2, 3), 'c': numpy.array('text'),
              'd': numpy.zeros((0, 3), 'f')}
    files.write_npz(str(tmp_path / 'x'), arrays)
    numpy.savez(tmp_path / 'y.npz', **arrays)
    assert (tmp_path / 'x').read_bytes() == (tmp_path / 'y.npz').read_bytes()


def test_an_array_of_objects_is_refused(tmp_path):
    with pytest.raises(ValueError, match='Object arrays cannot be saved'):
        files.write_npz(str(tmp_path / 'x'), {'a': numpy.array(None)})
    assert os.listdir(tmp_path) == []
