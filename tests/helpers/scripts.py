"""Runs scripts as a person would, from another folder, and in this process."""
import contextlib
import io
import os
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
