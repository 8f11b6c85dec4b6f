"""Runs a program with the stand-in in the place of CuPy; see __init__.py."""
import json
import os
import pathlib
import runpy
import sys

# In the place of this folder: the package has to be imported by its one name,
# so that a program's cupy and what its tests import are the same modules.
sys.path[0] = str(pathlib.Path(__file__).resolve().parents[3])

from tests.helpers.host_cupy import install, report  # noqa: E402


def main(path, program, *arguments):
    """Runs a program, or ``-m`` a module, and writes the report to a path."""
    install()
    try:
        if program == '-m':
            program, *arguments = arguments
            sys.path[0] = os.getcwd()
            sys.argv = [program, *arguments]
            runpy.run_module(program, run_name='__main__', alter_sys=True)
        else:
            sys.path[0] = os.path.dirname(os.path.abspath(program))
            sys.argv = [program, *arguments]
            runpy.run_path(program, run_name='__main__')
    finally:
        with open(path, 'w') as f:
            json.dump(report.everything(), f)


if __name__ == '__main__':
    main(*sys.argv[1:])
