import pytest

from tests.helpers import needs_numba, numba_kernels
from tests.helpers.packed_products import Case
from tests.helpers.scripts import run_on_processor_with

pytestmark = needs_numba


@pytest.mark.parametrize('n', [1, 2, 3])
def test_products_are_exact_for_any_number_of_threads(n, monkeypatch):
    from kernels.compiled import rows
    monkeypatch.setattr(rows, 'n_threads', lambda: n)
    monkeypatch.setattr(rows, '_WORK', 1)
    Case(10, 100, 70, 0).check(numba_kernels)


@pytest.mark.parametrize('features', ['+avx2,+popcnt', ''])
def test_products_are_exact_on_other_processors(features):
    run_on_processor_with(features, """
from kernels.compiled import product_intrinsics
from tests.helpers import numba_kernels
from tests.helpers.packed_products import Case
assert product_intrinsics.ROWS == 2
Case(5, 130, 70, 0).check(numba_kernels)
""")
