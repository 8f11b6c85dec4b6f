from benchmarks import product_speed
from tests.helpers import scripts

SCRIPT = 'benchmarks/product_speed.py'


def test_each_product_of_each_size_has_a_row(tmp_path):
    out = scripts.output(SCRIPT, '--units', 500, 600, '--rounds', 3,
                         cwd=tmp_path)
    header, _, *rows = (line.strip('| ').split(' | ')
                        for line in out.split('\n\n')[1].splitlines())
    assert header == ['units', 'product', 'BLAS', 'this project',
                      'times as fast']
    products = ['forward, `x W^T`', 'forward of pixels',
                'gradient of x, `gy W`', 'gradient of W, `gy^T x`',
                'the same after dropout', 'the same of pixels']
    assert [row[:2] for row in rows] == [
        [units, product] for units in ('500', '600') for product in products]
    for _, _, *times, ratio in rows:
        assert all(float(time.removesuffix(' ms')) > 0 for time in times)
        # Without Numba it may round to 0.
        assert float(ratio) >= 0


def test_no_units_are_one_line():
    assert '--units: must be at least 1, got 0' in scripts.error(
        product_speed.main, '--units', 0)
