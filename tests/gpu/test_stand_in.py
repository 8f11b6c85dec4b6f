"""The GPU's path in the stand-in for CuPy: its numbers and its copies."""
import json
import re

import pytest

from tests.helpers import host_cupy, program_files
from tests.helpers.gpu import needs_compiler

# What copies to the host, once an epoch.
ONCE_AN_EPOCH = {
    'extensions/log_report.py:__call__',  # what is printed
    'backends/_cpu.py:_array_to_cpu',  # the snapshot
}


@needs_compiler
@pytest.mark.parametrize(('name', 'tolerance'), [
    ('training', 1e-3),
    # Sums of reals that are ordered in another way turn a sign round.
    ('training_of_convolutions', .03)])
def test_training_in_the_stand_in_gives_the_numbers_of_the_cpu(
        name, tolerance, request):
    process, _, folder = request.getfixturevalue(name)
    assert process.stderr == ''
    assert f'# kernels: CuPy {host_cupy.VERSION}' in process.stdout
    logs = [json.loads((folder / device / 'log').read_text())
            for device in ('cpu', 'gpu')]
    for a, b in zip(*logs):
        for key in 'main/loss', 'validation/main/loss':
            assert a[key] == pytest.approx(b[key], abs=tolerance)


@needs_compiler
def test_nothing_is_copied_back_but_what_is_reported(training):
    copies = training[1]['copies']
    where = {line.rsplit(' ', 1)[0] for line in copies}
    # That of divergence.py is also made in every 100th iteration.
    assert {line for line in where if 'divergence.py' not in line} == (
        ONCE_AN_EPOCH)
    n = sum(n for line, n in copies.items() if 'divergence.py' in line)
    assert n <= 2 * 40  # epochs, arrays and losses
    floats = sum(n for line, n in copies.items() if 'log_report' in line)
    log = json.loads((training[2] / 'gpu' / 'log').read_text())
    assert floats <= sum(map(len, log))


@needs_compiler
def test_the_tests_marked_gpu_pass_in_the_stand_in(marked):
    summary = marked[0].stdout.splitlines()[-1]
    assert int(re.search(r'(\d+) passed', summary).group(1)) >= 30
    assert 'failed' not in summary
    assert 'skipped' not in summary


@needs_compiler
def test_kernels_of_chainer_and_of_this_project_are_met(used_kernels):
    names = {entry['name'] for entry in used_kernels}
    assert names >= {'crossent_fwd', 'softmax_crossent_bwd', 'bn_fwd',
                     'bn_bwd', 'update_mean_var', 'adam'}
    sources = [path.read_text() for path in program_files()
               if path.name.startswith('cupy_')]
    assert len(sources) == 6
    ours = {name for source in sources for name in re.findall(
        r"(?:'|void )(quantized_net_\w+)", source)}
    assert len(ours) >= 17
    assert ours <= names
