"""A build backend that builds the official Chainer 7.8.1.

Chainer's last release is a source distribution whose ``setup.py`` imports
``pkg_resources``, which setuptools 82 and later no longer have. As it says
nothing about what it is built with, pip builds it with the newest setuptools
and fails. This folder is what pip and uv build instead: its
``pyproject.toml`` asks for a setuptools that still has ``pkg_resources``, and
the one hook below lets pip build the release, fetched from the package index
and checked against the hash in ``chainer.txt``, with that setuptools.
The folder holds no code of Chainer, and what gets installed is Chainer's own
wheel, with its own name, version and dependencies.

The hooks for metadata are left out on purpose: pip and uv then call
``build_wheel``, read the metadata from the wheel, and install that same wheel.

The pip started here reads pip's configuration files and ``PIP_*`` variables,
but never sees options given to the outer command (``--index-url`` and the
like).
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile


HERE = pathlib.Path(__file__).resolve().parent


def build_wheel(wheel_directory, config_settings=None,
                metadata_directory=None):
    """Put Chainer's wheel into ``wheel_directory`` and return its name."""
    environment = dict(os.environ)
    # Constraints speak of what is installed beside Chainer, carry no hashes,
    # and their path may be relative to a folder that is not this one.
    environment.pop('PIP_CONSTRAINT', None)
    # The outer pip tells its hook, this function, where this backend is; the
    # inner one would look for Chainer's there.
    for name in list(environment):
        if name.startswith(('_PYPROJECT_HOOKS_', 'PEP517_')):
            del environment[name]
    with tempfile.TemporaryDirectory() as built:
        command = [
            sys.executable, '-m', 'pip', 'wheel',
            '--disable-pip-version-check', '--no-build-isolation',
            '--no-deps', '--no-binary', 'chainer',
            '--require-hashes', '--requirement', str(HERE / 'chainer.txt'),
            '--wheel-dir', built]
        status = subprocess.call(command, env=environment)
        wheels = sorted(pathlib.Path(built).glob('chainer-*.whl'))
        if status != 0 or len(wheels) != 1:
            raise SystemExit(
                'Chainer 7.8.1 could not be fetched from the package index '
                'and built (exit status {} of pip, its output is above): '
                '{}'.format(status, ' '.join(command)))
        shutil.move(str(wheels[0]), wheel_directory)
        return wheels[0].name
