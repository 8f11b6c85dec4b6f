"""Every Python with its oldest and newest NumPy, with and without Numba.

``nox`` runs the whole suite in each; ``nox --list`` names the sessions, and
``nox -s "tests-3.13(numba='without', numpy='newest')"`` runs one. A Python
that is not there is skipped.
"""
import nox

nox.options.error_on_missing_interpreters = False

# The first NumPy that each Python has a wheel for, from 1.23 on.
OLDEST = {'3.9': '1.23.5', '3.10': '1.23.5', '3.11': '1.23.5',
          '3.12': '1.26.0', '3.13': '2.1.0', '3.14': '2.3.2',
          '3.15': '2.5.2'}


@nox.session
@nox.parametrize('python', list(OLDEST))
@nox.parametrize('numpy', ['oldest', 'newest'])
@nox.parametrize('numba', ['with', 'without'])
def tests(session, numpy, numba):
    """Runs the whole suite."""
    requirement = ('numpy' if numpy == 'newest'
                   else f'numpy=={OLDEST[session.python]}')
    if numba == 'without':
        # Numba holds NumPy back: it is left out before NumPy is chosen.
        session.install('-r', 'requirements-dev.txt')
        session.run('pip', 'uninstall', '--quiet', '--yes', 'numba')
        session.install('--upgrade', requirement)
    else:
        session.install('-r', 'requirements-dev.txt', requirement)
    session.run('python', '-c',
                'import numpy, sys; print(sys.version, numpy.__version__)')
    session.run('python', '-m', 'pytest', '-q', *session.posargs)
