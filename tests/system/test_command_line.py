import errno
import io
import os
import subprocess
import sys
import types

import pytest

from system import command_line
from system.errors import InputError, OutputError
from tests.helpers import ROOT


def fake_cupy(get_device_count):
    runtime = types.SimpleNamespace(getDeviceCount=get_device_count)
    return types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))


def no_driver():
    raise RuntimeError('cudaErrorInsufficientDriver')


@pytest.mark.parametrize('cupy', [
    None, fake_cupy(no_driver), fake_cupy(lambda: 0)],
    ids=['no CuPy', 'no driver', 'no device'])
def test_a_gpu_is_refused_where_there_is_none(cupy, monkeypatch):
    monkeypatch.setitem(sys.modules, 'cupy', cupy)
    with pytest.raises(ValueError, match='--gpu=0 needs CuPy and a CUDA'):
        command_line.check_gpu(0)


def test_a_number_beyond_the_last_gpu_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cupy', fake_cupy(lambda: 2))
    command_line.check_gpu(0)
    command_line.check_gpu(1)
    with pytest.raises(ValueError, match='there is no GPU 2, only 0 to 1'):
        command_line.check_gpu(2)


def test_why_there_is_no_gpu_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, 'cupy', fake_cupy(no_driver))
    with pytest.raises(InputError, match=r'\(cudaErrorInsufficientDriver\)'):
        command_line.check_gpu(0)


def end(error, capsys):
    """Returns status and stderr of a program whose body raises an error."""
    parser = command_line.ArgumentParser(prog='program')
    with pytest.raises(SystemExit) as info, command_line.running(parser):
        raise error
    return info.value.code, capsys.readouterr().err


@pytest.mark.parametrize(('error', 'line'), [
    (InputError('bits must be\n at least 1, got 0'),
     'bits must be at least 1, got 0'),
    (OutputError(errno.ENOSPC, 'No space left', 'x/log'),
     'cannot write x/log: No space left'),
    (MemoryError('Unable to allocate'),
     'there is not enough memory: Unable to allocate'),
])
def test_what_is_not_the_programs_fault_is_a_line(error, line, capsys):
    assert end(error, capsys) == (2, f'program: error: {line}\n')


@pytest.mark.parametrize('error', [
    ValueError, TypeError, KeyError, FileNotFoundError(2, 'No such', 'x'),
    OSError('a broken disk'), FloatingPointError, KeyboardInterrupt])
def test_a_fault_of_the_programs_own_passes(error):
    parser = command_line.ArgumentParser()
    with pytest.raises(
            error if isinstance(error, type) else type(error)), (
            command_line.running(parser)):
        raise error


class Broken(io.StringIO):

    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text):
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(('number', 'status', 'line'), [
    (errno.EPIPE, 141, ''),
    (errno.ENOSPC, 2, 'program: error: cannot write the output: No space left '
     'on device\n')])
def test_an_output_that_is_closed_or_full(
        number, status, line, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'stdout', Broken(number))
    parser = command_line.ArgumentParser(prog='program')
    with pytest.raises(SystemExit) as info, command_line.running(parser):
        print('text')
    assert info.value.code == status
    assert capsys.readouterr().err == line


def test_output_that_is_missing_is_no_error_and_stays_missing(monkeypatch):
    monkeypatch.setattr(sys, 'stdout', None)
    with command_line.running(command_line.ArgumentParser()):
        print('text')
        assert not sys.stdout.isatty()
    assert sys.stdout is None


@pytest.mark.parametrize('program', ['train_mnist.py', 'predict_mnist.py'])
@pytest.mark.parametrize('flag', ['-P', '-I'])
def test_a_program_finds_its_own_folder(program, flag, tmp_path):
    if flag == '-P' and sys.version_info < (3, 11):
        pytest.skip('-P is new in Python 3.11')
    process = subprocess.run(
        [sys.executable, flag, str(ROOT / program), '--help'], cwd=tmp_path,
        capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith(f'usage: {program}')


@pytest.mark.parametrize('encoding', ['ascii', 'utf-8:surrogateescape'])
def test_a_file_name_of_any_bytes_and_letters_can_be_printed(encoding):
    code = ('from system import command_line\n'
            'with command_line.running(command_line.ArgumentParser()):\n'
            '    print("\\udcff")')
    process = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, check=True, timeout=60,
        capture_output=True, env={**os.environ, 'PYTHONIOENCODING': encoding})
    assert process.stdout == b'\\udcff\n'
