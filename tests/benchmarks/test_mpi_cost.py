import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest

from benchmarks import mpi_cost
from tests.helpers import ROOT, scripts

SCRIPT = 'benchmarks/mpi_cost.py'
MPIEXEC = pathlib.Path(sys.executable).parent / 'mpiexec'


@pytest.mark.skipif(
    importlib.util.find_spec('mpi4py') is None or not MPIEXEC.exists(),
    reason='needs MPI: pip install -r requirements-mpi.txt')
def test_two_processes_measure_a_step_and_its_bytes(tmp_path):
    process = subprocess.run(
        [str(MPIEXEC), '--oversubscribe', '--bind-to', 'none', '-n', '2',
         sys.executable, str(ROOT / SCRIPT), '--unit', '20', '--batchsize',
         '10', '--steps', '2'], cwd=tmp_path, capture_output=True, text=True,
        timeout=120, env={**os.environ, 'OMPI_ALLOW_RUN_AS_ROOT': '1',
                          'OMPI_ALLOW_RUN_AS_ROOT_CONFIRM': '1',
                          'OMPI_MCA_mpi_yield_when_idle': '1'})
    assert process.returncode == 0, process.stdout + process.stderr
    step, waiting, n_bytes, n_messages = re.fullmatch(
        r'2 processes, 10 images each: (\S+) ms a step, (\S+) ms of it for '
        r'communication and waiting, (\S+) bytes in (\d+) messages\n',
        process.stdout).groups()
    assert 0 < float(waiting) < float(step)
    # Weights, and of each unit b, gamma, beta and four doubles of statistics.
    assert n_bytes == f'{4 * (784 + 20 + 10) * 20 + (3 * 4 + 4 * 8) * 50:,}'
    # Of each of three layers: W, b, gamma, beta, and two of statistics.
    assert n_messages == '18'


def test_no_steps_are_one_line():
    assert '--steps: must be at least 1, got 0' in scripts.error(
        mpi_cost.main, '--steps', 0)
