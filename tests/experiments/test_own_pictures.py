import numpy
import pytest

from prediction.packed_net import PackedNet
from tests.helpers import scripts

pytest.importorskip('PIL.Image', reason='needs Pillow')


def test_a_row_for_each_kind_and_its_pictures(tmp_path):
    random = numpy.random.RandomState(0)
    PackedNet.from_arrays({
        'l1/W': random.uniform(-1, 1, (9, 784)).astype(numpy.float32),
        'l2/W': random.uniform(-1, 1, (10, 9)).astype(numpy.float32)}).save(
            str(tmp_path / 'net.npz'))
    out = scripts.output(
        'experiments/own_pictures.py', 'net.npz', '--digits', 2, '--kinds',
        'clean', 'nothing', '--sheets', 'sheets', cwd=tmp_path)
    rows = [[cell.strip() for cell in line.split('|')[1:-1]]
            for line in out.splitlines()[2:]]
    assert [row[0] for row in rows] == ['clean', 'nothing']
    assert rows[1] == ['nothing', '100.0', '0.0', '100.0']
    for name in 'clean', 'nothing':
        assert (tmp_path / 'sheets' / f'{name}.png').read_bytes().startswith(
            b'\x89PNG')
