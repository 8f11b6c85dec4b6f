"""Every Python with its oldest and newest NumPy, with and without Numba.

``nox`` runs the whole suite in each; ``nox --list`` names the sessions, and
``nox -s "tests-3.13(numba='without', numpy='newest')"`` runs one. A Python
that is not there is skipped. What ran is noted in ``.nox/results.json``.
"""
import json
import pathlib
import subprocess
import xml.etree.ElementTree

import nox
from packaging.version import Version

nox.options.error_on_missing_interpreters = False

# The first NumPy that each Python has a wheel for, from 1.23 on.
OLDEST = {'3.9': '1.23.5', '3.10': '1.23.5', '3.11': '1.23.5',
          '3.12': '1.26.0', '3.13': '2.1.0', '3.14': '2.3.2', '3.15': '2.5.2'}

RECORD = pathlib.Path('.nox/results.json').resolve()
VERSIONS = '''
import importlib.metadata, json, platform
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
print(json.dumps({'python': platform.python_version(),
                  'numpy': version('numpy'), 'numba': version('numba')}))
'''


@nox.session
@nox.parametrize('python', list(OLDEST))
@nox.parametrize('numpy', ['oldest', 'newest'])
@nox.parametrize('numba', ['with', 'without'])
def tests(session, numpy, numba):
    """Runs the whole suite."""
    requirement = ('numpy' if numpy == 'newest'
                   else f'numpy=={OLDEST[session.python]}')
    # Together, so that the others suit this NumPy.
    session.install('-r', 'requirements-dev.txt', requirement)
    if numba == 'without':
        session.run('pip', 'uninstall', '--quiet', '--yes', 'numba')
        if numpy == 'newest':  # Numba may have held it back.
            session.install('--upgrade', 'numpy')
    versions = session.run('python', '-c', VERSIONS, silent=True)
    if versions is None:  # --install-only
        return
    versions = json.loads(versions.splitlines()[-1])
    session.log(str(versions))
    report = RECORD.with_name('report.xml')
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    session.run('python', '-m', 'pytest', '-q', f'--junitxml={report}',
                *session.posargs, success_codes=[0, 1])
    counts = xml.etree.ElementTree.parse(report).getroot()[0].attrib
    failed = int(counts['failures']) + int(counts['errors'])
    if not session.posargs:
        skipped = int(counts['skipped'])
        note({**versions, 'commit': commit(), 'failed': failed,
              'skipped': skipped,
              'passed': int(counts['tests']) - skipped - failed})
    if failed:
        session.error(f'{failed} tests failed')


def commit():
    """Returns the name of the commit, or nothing where it is not known."""
    try:
        return subprocess.check_output(
            ['git', 'rev-parse', '--short', 'HEAD'], text=True,
            stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return ''


def note(result):
    """Writes a result to the record, in the place of an earlier one."""
    def key(entry):
        return (Version(entry['python']), Version(entry['numpy']),
                entry['numba'] or '')

    results = json.loads(RECORD.read_text()) if RECORD.exists() else []
    results = [entry for entry in results if key(entry) != key(result)]
    results = sorted([*results, result], key=key)
    RECORD.write_text('[\n' + ',\n'.join(map(json.dumps, results)) + '\n]\n')
