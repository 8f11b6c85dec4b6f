import os
import platform
import subprocess
import sys

import pytest

from tests.helpers import ROOT, needs_numba, numba_kernels
from tests.helpers.packed_products import Case

pytestmark = needs_numba


@pytest.mark.parametrize('n', [1, 2, 3])
def test_products_are_exact_for_any_number_of_threads(n, monkeypatch):
    from kernels.compiled import rows
    monkeypatch.setattr(rows, 'n_threads', lambda: n)
    monkeypatch.setattr(rows, '_WORK', 1)
    Case(10, 100, 70, 0).check(numba_kernels)


@pytest.mark.parametrize('features', ['+avx2,+popcnt', ''])
def test_products_are_exact_on_other_processors(features):
    if platform.machine() not in ('x86_64', 'AMD64'):
        pytest.skip('needs an x86-64 processor')
    code = """
from kernels.compiled import product_intrinsics
from tests.helpers import numba_kernels
from tests.helpers.packed_products import Case
assert product_intrinsics.ROWS == 2
Case(5, 130, 70, 0).check(numba_kernels)
"""
    subprocess.run(
        [sys.executable, '-c', code], check=True, timeout=60, cwd=ROOT,
        env={**os.environ, 'NUMBA_CPU_NAME': 'generic',
             'NUMBA_CPU_FEATURES': features})
