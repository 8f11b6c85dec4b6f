#!/usr/bin/env python
"""Runs experiments and keeps their logs in experiments/logs/.

What a log of today's arithmetic covers is skipped, and a run that was
interrupted goes on from its last snapshot. Then the tables and pictures of the
documents are made anew.
"""
import argparse
import json
import os
import pathlib
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time

if __name__ == '__main__':
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import numpy

import kernels
from benchmarks import machine
from experiments import fingerprint, summarize
from experiments.plan import EXPERIMENTS, GROUPS
from experiments.runs import LOGS, ROOT, log_path
from kernels.cores import n_threads
from system import files
from system.command_line import ArgumentParser, integer

# Of unfinished runs; git ignores it.
_FOLDER = ROOT / 'experiments' / 'unfinished'

# Seconds between two looks at the runs.
_PAUSE = .5


class Run:
    """One run of an experiment.

    Args:
        name (str): Name of the experiment.
        seed (int): Seed of the run.
        fashion (str): Folder of Fashion-MNIST.

    """

    def __init__(self, name, seed, fashion):
        self.name = name
        self.seed = seed
        self.experiment = EXPERIMENTS[name]
        self.folder = _FOLDER / f'{name.replace("/", "_")}_seed_{seed}'
        experiment = self.experiment
        self.arguments = [
            *(['experiments/variants.py', experiment.variant]
              if experiment.variant else ['train_mnist.py']),
            *shlex.split(experiment.arguments),
            *(['--data', fashion] if experiment.fashion else []),
            '--seed', str(seed)]

    def __str__(self):
        return f'{self.name}, seed {self.seed}'

    def is_done(self, today):
        """Tells whether there is a log of today's arithmetic.

        Args:
            today (list of float): Fingerprint of the experiment.

        """
        try:
            content = json.loads(log_path(self.name, self.seed).read_text())
        except FileNotFoundError:
            return False
        return isinstance(content, dict) and (
            content['command'] == shlex.join(['./' + self.arguments[0],
                                              *self.arguments[1:]])
            and fingerprint.are_equal(content['fingerprint'], today))

    def start(self, cores):
        """Starts the run, or goes on with it, on some cores."""
        self.cores = cores
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / 'output', 'ab') as output:
            self.process = subprocess.Popen(
                [sys.executable, *self.arguments, '--out', self.folder,
                 '--autoload', '--noplot'], cwd=ROOT, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
                preexec_fn=lambda: _set_cores(cores))

    def finish(self, today):
        """Keeps the log of the run, which has ended well."""
        log = json.loads((self.folder / 'log').read_text())
        content = {
            'command': shlex.join(
                ['./' + self.arguments[0], *self.arguments[1:]]),
            'commit': _commit(),
            'versions': _versions(),
            'cores': f'{len(self.cores)} of {machine.cpu_name()}',
            'fingerprint': today,
            'log': log,
        }
        path = log_path(self.name, self.seed)
        path.parent.mkdir(exist_ok=True)
        text = json.dumps(content, indent=1)
        files.write(str(path), lambda f: f.write(f'{text}\n'.encode()))
        shutil.rmtree(self.folder)
        return log


def _set_cores(cores):
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, cores)


def _commit():
    """Returns the commit of the code, where it is in a repository."""
    def git(*arguments):
        return subprocess.run(['git', *arguments], cwd=ROOT, check=True,
                              capture_output=True, text=True).stdout.strip()

    try:
        # The logs themselves make no difference.
        changes = git('status', '--porcelain', '--untracked-files=no', '.',
                      ':!experiments/logs', ':!docs', ':!README.md')
        return git('rev-parse', '--short', 'HEAD') + '-dirty' * bool(changes)
    except (OSError, subprocess.CalledProcessError):
        return 'unknown'


def _versions():
    import chainer_compat
    import chainer
    return (f'Python {platform.python_version()}, NumPy {numpy.__version__}, '
            f'{kernels.description()}, Chainer {chainer.__version__}')


def run_all(runs, today, jobs):
    """Runs what is to be run, some at a time.

    Args:
        runs (list of Run): The runs.
        today (dict): Fingerprint of each experiment.
        jobs (int): Runs at a time, each on its share of the cores; those that
            are long take all cores.

    Returns:
        int: Number of runs that failed.

    """
    cores = sorted(os.sched_getaffinity(0)
                   if hasattr(os, 'sched_getaffinity')
                   else range(os.cpu_count() or 1))
    jobs = min(jobs, len(cores))
    shares = [cores[k::jobs] for k in range(jobs)]
    waiting, running, failed = list(runs), [], 0
    try:
        while waiting or running:
            for run in [run for run in running
                        if run.process.poll() is not None]:
                running.remove(run)
                failed += not _end(run, today)
            free = [share for share in shares
                    if all(set(share).isdisjoint(run.cores)
                           for run in running)]
            if waiting and waiting[0].experiment.alone:
                if not running:
                    running.append(waiting.pop(0))
                    running[-1].start(cores)
            elif waiting and free:
                running.append(waiting.pop(0))
                running[-1].start(free[0])
                continue
            time.sleep(_PAUSE)
    finally:
        # They keep a snapshot.
        for run in running:
            os.killpg(run.process.pid, signal.SIGTERM)
        for run in running:
            run.process.wait()
    return failed


def _end(run, today):
    """Ends a run; returns whether it has ended well."""
    if run.process.returncode:
        output = (run.folder / 'output').read_text(errors='replace')
        last = (output.strip().splitlines() or [''])[-1]
        print(f'{run}: failed with status {run.process.returncode}: {last}',
              flush=True)
        return False
    log = run.finish(today[run.name])
    accuracy = log[-1]['validation/main/accuracy']
    print(f'{run}: {len(log)} epochs in {log[-1]["elapsed_time"]:.0f} s, '
          f'validation accuracy {accuracy:.4f}', flush=True)
    return True


def parse_args(argv=None):
    parser = ArgumentParser(
        'experiments/run.py', description=__doc__,
        epilog='Groups: ' + '; '.join(
            f'{group}: {", ".join(names)}' for group, names in GROUPS.items()))
    parser.add_argument('names', nargs='+', metavar='NAME',
                        choices=[*GROUPS, *EXPERIMENTS, 'all'],
                        help='groups of experiments, experiments, or all')
    parser.add_argument('--jobs', '-j', type=integer(1), default=n_threads(),
                        metavar='N',
                        help='runs at a time, by default one a core: two at a '
                             'time are done before one after the other')
    parser.add_argument('--fashion', metavar='DIR',
                        default='/usr/share/datasets/fashion-mnist',
                        help='folder of Fashion-MNIST')
    parser.add_argument('--update', action=argparse.BooleanOptionalAction,
                        default=True, help='make the tables and pictures')
    return parser, parser.parse_args(argv)


def main(argv=None):
    parser, args = parse_args(argv)
    names = dict.fromkeys(
        name for given in args.names
        for name in (EXPERIMENTS if given == 'all'
                     else GROUPS.get(given, [given])))
    if not os.path.isdir(args.fashion) and any(
            EXPERIMENTS[name].fashion for name in names):
        parser.error(f'there is no folder {args.fashion}; --fashion names it')
    LOGS.mkdir(exist_ok=True)
    today = fingerprint.measure(list(names))
    runs = [Run(name, seed, args.fashion) for name in names
            for seed in range(EXPERIMENTS[name].seeds)]
    waiting = [run for run in runs if not run.is_done(today[run.name])]
    print(f'{len(waiting)} of {len(runs)} runs are to be done', flush=True)
    start = time.perf_counter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        failed = run_all(waiting, today, args.jobs)
    except KeyboardInterrupt:
        sys.exit(130)
    if waiting:
        print(f'{time.perf_counter() - start:.0f} s')
    if args.update and not failed:
        summarize.update()
    sys.exit(bool(failed))


if __name__ == '__main__':
    main()
