"""The machine that a benchmark runs on, in words."""
import platform

import numpy

import kernels
from kernels.cores import n_threads


def description():
    """Returns the CPU, its cores and the versions of what runs on it."""
    return (f'{cpu_name()}, {n_threads()} cores; '
            f'Python {platform.python_version()}, NumPy {numpy.__version__}, '
            f'kernels: {kernels.description()}')


def cpu_name():
    """Returns the CPU's name, or its architecture where it has none."""
    try:
        with open('/proc/cpuinfo') as f:
            for line in f:
                if line.startswith('model name'):
                    return line.split(':', 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def blas():
    """Returns the BLAS libraries of this process, each with its threads.

    Without threadpoolctl it is the one that NumPy was built with.
    """
    try:
        import threadpoolctl
        pools = threadpoolctl.threadpool_info()
    except ImportError:
        pools = []
    if not pools:
        return _built_with()
    return ', '.join(
        f'{pool["internal_api"]} {pool["version"]} '
        f'{pool.get("architecture", "")}, {pool["num_threads"]} threads'
        for pool in pools)


def _built_with():
    try:
        config = numpy.show_config(mode='dicts')['Build Dependencies']['blas']
        return f'{config["name"]} {config["version"]}'
    except (TypeError, KeyError):  # NumPy before 1.25 only prints it.
        return 'unknown BLAS'
