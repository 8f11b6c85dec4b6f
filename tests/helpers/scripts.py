"""Runs scripts as a person would, from another folder, and in this process."""
import contextlib
import io
import os
import platform
import subprocess
import sys
from unittest import mock

import pytest

from tests.helpers import ROOT

# Other programs may have the other cores: OpenBLAS's threads would spin.
ENVIRONMENT = {**os.environ, 'OPENBLAS_NUM_THREADS': '1'}


def output(script, *arguments, cwd):
    """Returns what a script of the project prints; it must end well."""
    process = subprocess.run(
        [sys.executable, str(ROOT / script), *map(str, arguments)], cwd=cwd,
        capture_output=True, text=True, encoding='utf-8', timeout=120,
        env=ENVIRONMENT)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def run_on_processor_with(features, code):
    """Runs Python code with kernels for another x86-64 processor.

    Args:
        features (str): What the processor can, in LLVM's names; '': the least.
        code (str): The code.

    """
    if platform.machine() not in ('x86_64', 'AMD64'):
        pytest.skip('needs an x86-64 processor')
    subprocess.run(
        [sys.executable, '-c', code], check=True, timeout=120, cwd=ROOT,
        env={**os.environ, 'NUMBA_CPU_NAME': 'generic',
             'NUMBA_CPU_FEATURES': features})


def printed(capsys, program, *arguments):
    """Returns what a program prints in this process, with no error."""
    capsys.readouterr()
    program.main([*map(str, arguments)])
    out, err = capsys.readouterr()
    assert err == ''
    return out


def refused(capsys, program, *arguments):
    """Returns the one line on stderr of a program that refuses to run."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        program.main([*map(str, arguments)])
    assert exit.value.code == 2
    line, = capsys.readouterr().err.splitlines()
    return line


def error(main, *arguments):
    """Returns the one line with which a program refuses its arguments."""
    with mock.patch.object(sys, 'argv', ['program', *map(str, arguments)]), \
            contextlib.redirect_stdout(io.StringIO()) as out, \
            contextlib.redirect_stderr(io.StringIO()) as err, \
            pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code == 2
    assert out.getvalue() == ''
    line, = err.getvalue().splitlines()
    return line
