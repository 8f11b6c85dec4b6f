"""Kills runs, damages files, and looks for a difference.

    python tests/torture.py --minutes 10

Runs of tests/helpers/small_run.py are killed at random moments, by the clock
and before chosen calls (a flush, a rename, in a file that is being written, in
a picture), and ended with SIGINT and SIGTERM in the middle of an epoch; the
same command with --autoload or --resume goes on, until it is through. Then its
snapshot and log are compared with those of a run that was never interrupted,
bit for bit. After these minutes the tests in tests/fuzz damage files and
arguments, as many cases of each property as --examples says.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import numpy  # noqa: E402

from system import snapshot_file  # noqa: E402

SMALL = ['--unit', '8', '--batchsize', '70', '--epoch', '9']

# Dropout and stochastic rounding draw random numbers in each iteration.
KINDS = [
    ['--noplot'],
    [],
    ['--noplot', '--dropout', '.3', '--weight-quantizer', 'stochastic'],
    ['--noplot', '--recipe', 'paper', '--layers', '2', '--validation', '40',
     '--frequency', '2'],
]

# Calls of a run that SIGKILL comes before, and how many of them there may be.
MOMENTS = {
    'os.fsync': 40, 'os.replace': 25, 'os.unlink': 6,
    'system.files.write_npz': 5, 'numpy.lib.format.write_array': 300,
    'train_mnist.make_trainer': 1, 'training.run_folder._write_lock': 1,
    'system.snapshot_file.find': 10, 'json.dumps': 30,
    'matplotlib.figure.Figure.savefig': 20, 'os.listdir': 20,
}


def command(moment, *arguments):
    """Returns the command of a run that is killed at a moment."""
    return [sys.executable, str(HERE / 'helpers' / 'small_run.py'), moment,
            *map(str, arguments)]


def start(moment, arguments, cwd, numba):
    """Starts a run, quietly and with or without Numba."""
    return subprocess.Popen(
        command(moment, *arguments), cwd=cwd, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={**os.environ, 'NUMBA_DISABLE_JIT': '0' if numba else '1'})


def differences(a, b):
    """Yields the names of what differs in the results of two runs."""
    paths = [snapshot_file.find(str(folder))[0] for folder in (a, b)]
    if len({os.path.basename(path) for path in paths}) != 1:
        yield f'{paths}'
        return
    ours, theirs = map(snapshot_file.read, paths)
    if ours.keys() != theirs.keys():
        yield 'the names'
        return
    # The time that a run has taken is in these.
    for name in ours.keys() - {'_snapshot_elapsed_time',
                               'extensions/LogReport/_log'}:
        if (ours[name].dtype != theirs[name].dtype
                or ours[name].tobytes() != theirs[name].tobytes()):
            yield name
    logs = [json.loads((folder / 'log').read_text()) for folder in (a, b)]
    for entry in logs[0] + logs[1]:
        del entry['elapsed_time']
    if logs[0] != logs[1]:
        yield 'log'


def half_written(folder):
    """Yields the names of files that are not whole."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name.startswith('.'):
            continue  # What a killed write leaves
        try:
            if path.name.startswith('snapshot_iter'):
                snapshot_file.read(str(path))
            elif path.name in ('log', 'args.json'):
                json.loads(path.read_text())
            elif path.suffix == '.png':
                if not path.read_bytes().endswith(b'IEND\xaeB`\x82'):
                    yield path.name
            elif path.name == 'cg.dot' and path.read_text()[-1] != '}':
                yield path.name
        except ValueError:
            yield path.name


def survive(cwd, rng, n_kills, kind=(), numba=False, say=print):
    """Kills a run until it has been killed so often, then lets it finish.

    Args:
        cwd (pathlib.Path): Empty folder.
        rng (random.Random): Where the moments come from.
        n_kills (int): Number of SIGKILL, SIGTERM and SIGINT to survive.
        kind (sequence of str): More arguments.
        numba (bool): Whether the kernels are compiled.
        say (callable): Takes a line about each kill.

    Returns:
        collections.Counter: ``killed`` by clock or at a moment, ``ended`` by
        a signal that is handled, ``resumed`` from a snapshot, ``in an epoch``:
        from one that is not at the end of an epoch; ``differences``.

    """
    arguments = [*SMALL, *kind]
    (cwd / 'whole').mkdir()
    begin = time.monotonic()
    process = start('never', arguments, cwd / 'whole', numba)
    stderr = process.communicate(timeout=300)[1]
    seconds = time.monotonic() - begin
    assert (process.returncode, stderr) == (0, ''), stderr
    counts = collections.Counter()
    folder = cwd / 'killed' / 'result'
    folder.parent.mkdir()
    started = finished = False
    while not finished:
        way = []
        found = snapshot_file.find(str(folder))
        if started:
            way = ['--autoload']
            if found and rng.random() < .3:
                way = ['--resume', f'result/{os.path.basename(found[0])}']
            counts['resumed'] += bool(found)
            counts['in an epoch'] += bool(
                found and not snapshot_file.read(found[0])[
                    'updater/iterator:main/is_new_epoch'])
        started = True
        kills = counts['killed'] + counts['ended']
        moment, number = 'never', None
        if kills < n_kills:
            if rng.random() < .5:
                name = rng.choice(list(MOMENTS))
                moment = f'{name}:{rng.randint(1, MOMENTS[name])}'
            else:
                number = rng.choice([signal.SIGKILL, signal.SIGTERM,
                                     signal.SIGINT])
        process = start(moment, [*arguments, *way], folder.parent, numba)
        if number:
            time.sleep(rng.uniform(.3, 1) * seconds)
            process.send_signal(number)
        stderr = process.communicate(timeout=300)[1]
        code = process.returncode
        if code == -signal.SIGKILL:
            counts['killed'] += 1
        elif code in (130, 143):
            counts['ended'] += 1
        elif number and code == -number:
            pass  # Python itself was only starting.
        else:
            assert code == 0, f'{code}: {stderr}'
            # A run that was through before its moment is begun anew.
            finished = kills >= n_kills
            if not finished:
                counts['differences'] += report(cwd, say)
                shutil.rmtree(folder)
                started = False
        assert 'Traceback' not in stderr, stderr
        damaged = list(half_written(folder))
        assert not damaged, f'{moment} {number}: {damaged}'
        say(f'{kills:4} {moment if not number else number.name:36} '
            f'exit {code:4} {" ".join(way)}')
    counts['differences'] += report(cwd, say)
    return counts


def report(cwd, say):
    """Says what differs from the run that was not killed; returns how much."""
    found = list(differences(cwd / 'whole' / 'result',
                             cwd / 'killed' / 'result'))
    for name in found:
        say(f'differs: {name}')
    return len(found)


def fuzz(n_examples):
    """Runs the tests in tests/fuzz with so many examples of each property."""
    with tempfile.NamedTemporaryFile('r') as f:
        code = subprocess.run(
            [sys.executable, '-m', 'pytest', '-q', str(HERE / 'fuzz')],
            cwd=HERE.parent, env={
                **os.environ, 'FUZZ_EXAMPLES': str(n_examples),
                'FUZZ_COUNTS': f.name}).returncode
        counts = json.loads(f.read() or '{}')
    return code, counts


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=10,
                        help='of killed runs; the damaged files come after')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--examples', type=int, default=200,
                        help='of each property in tests/fuzz')
    args = parser.parse_args()
    end = time.monotonic() + 60 * args.minutes
    rng = random.Random(args.seed)
    counts, n = collections.Counter(), 0
    while time.monotonic() < end:
        with tempfile.TemporaryDirectory() as cwd:
            counts += survive(pathlib.Path(cwd), rng, 8,
                              KINDS[n % len(KINDS)], bool(n // 2 % 2))
        n += 1
        print(f'{n} runs: {dict(counts)}', flush=True)
    code, cases = fuzz(args.examples)
    print(f'cases: {cases}')
    print(f'{n} runs: {dict(counts)}')
    # NumPy's own version of the machine is part of what was tested.
    print(f'Python {sys.version.split()[0]}, NumPy {numpy.__version__}')
    sys.exit(bool(code or counts['differences']))


if __name__ == '__main__':
    main()
