import argparse
import os
import sys


class ArgumentParser(argparse.ArgumentParser):
    """Parser whose errors are one line, without the usage before it."""

    def error(self, message):
        message = ' '.join(str(message).split())
        self.exit(2, f'{self.prog}: error: {message}\n')

    def warn(self, message):
        """Prints a warning, as one line on stderr."""
        message = ' '.join(str(message).split())
        print(f'{self.prog}: warning: {message}', file=sys.stderr)


def integer(lowest, highest=None):
    """Returns an argument type: the whole numbers from lowest to highest."""
    def parse(text):
        value = _convert(text, int, 'a whole number')
        if value < lowest:
            raise argparse.ArgumentTypeError(
                f'must be at least {lowest}, got {text}')
        if highest is not None and value > highest:
            raise argparse.ArgumentTypeError(
                f'must be at most {highest}, got {text}')
        return value
    return parse


def number(lowest, highest):
    """Returns an argument type: the numbers from lowest to highest."""
    def parse(text):
        value = _convert(text, float, 'a number')
        if not lowest <= value <= highest:
            raise argparse.ArgumentTypeError(
                f'must be from {lowest} to {highest}, got {text}')
        return value
    return parse


def _convert(text, to, what):
    try:
        return to(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'must be {what}, got {text!r}') from None


def print_any_name():
    """Lets print take any file name: bytes and letters that it cannot show."""
    if hasattr(sys.stdout, 'reconfigure'):
        sys.stdout.reconfigure(errors='backslashreplace')


def make_folder(path, flag):
    """Makes a folder to write to; ValueError says why it cannot be.

    Args:
        path (str): The folder, which may be there already.
        flag (str): The flag that chooses another one.

    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as e:
        raise ValueError(f'cannot make the folder {path}: {e.strerror}; '
                         f'choose another one with {flag}') from e
    if not os.access(path, os.W_OK | os.X_OK):
        raise ValueError(f'cannot write to the folder {path}; '
                         f'choose another one with {flag}')


def check_matplotlib(flag):
    """Raises a ValueError where there is no Matplotlib that works.

    Args:
        flag (str): The flag that asks for it, and what to do instead.

    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as e:  # It may want another NumPy, for example.
        reason = 'pip install matplotlib' if e.name == 'matplotlib' else e
        raise ValueError(f'{flag} needs Matplotlib: {reason}') from e


def check_gpu(gpu):
    """Raises a ValueError where there is no CuPy or no such GPU.

    Args:
        gpu (int): Id of the GPU, 0 or more.

    """
    try:
        import cupy
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception:  # CUDA's own errors cannot be named without CuPy.
        count = 0
    if not count:
        raise ValueError(
            f'--gpu={gpu} needs CuPy and a CUDA device: install '
            'requirements-gpu.txt, or leave --gpu out to run on the CPU')
    if gpu >= count:
        raise ValueError(f'there is no GPU {gpu}, only 0 to {count - 1}')
