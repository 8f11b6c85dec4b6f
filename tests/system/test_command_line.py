import sys
import types

import pytest

from system import command_line


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
