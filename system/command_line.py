"""What the command lines of the programs share: parsing, errors, output."""
import argparse
import contextlib
import errno
import os
import signal
import sys

from system.errors import InputError, OutputError


class ArgumentParser(argparse.ArgumentParser):
    """Parser whose errors are one line, without the usage before it."""

    def error(self, message):
        self.exit(2, f'{self.prog}: error: {_one_line(message)}\n')

    def say_error(self, message):
        """Prints an error as one line on stderr, and goes on."""
        print(f'{self.prog}: error: {_one_line(message)}', file=sys.stderr,
              flush=True)

    def warn(self, message):
        """Prints a warning, as one line on stderr."""
        print(f'{self.prog}: warning: {_one_line(message)}', file=sys.stderr)


def say(message):
    """Prints a line about what a program is doing, as ``# message``."""
    print(f'# {message}', flush=True)


def _one_line(message):
    return ' '.join(str(message).split())


@contextlib.contextmanager
def running(parser):
    """Runs a program inside the ``with`` block.

    What is not the program's own fault ends it with one line on stderr and
    exit status 2: input and output errors, and memory that does not suffice.
    Any other error passes. A standard output that somebody has closed, such
    as that of ``| head``, ends it without a word.

    Args:
        parser (ArgumentParser): Whose name begins the line.

    """
    with _standard_streams():
        try:
            yield
            sys.stdout.flush()
        except InputError as e:
            parser.error(e)
        except MemoryError as e:
            parser.error(f'there is not enough memory: {e}')
        except OutputError as e:
            if e.filename is None:
                _forget_output()
                if e.errno == errno.EPIPE:
                    sys.exit(128 + getattr(signal, 'SIGPIPE', 13))
            parser.error(f'cannot write {e.filename or "the output"}: '
                         f'{e.strerror or e}')


class _Output:
    """Standard output whose errors are told from those of files."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        return self._call('write', text)

    def flush(self):
        return self._call('flush')

    def _call(self, name, *args):
        try:
            return getattr(self._stream, name)(*args)
        except OSError as e:
            raise OutputError(e.errno, e.strerror or str(e)) from e

    def __getattr__(self, name):
        return getattr(self._stream, name)


@contextlib.contextmanager
def _standard_streams():
    """Has a standard output and error that take any text, wherever it goes."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stdout))
        for name in 'stdout', 'stderr':
            stream = getattr(sys, name)
            if stream is None:  # It was closed before the program began.
                stream = stack.enter_context(open(os.devnull, 'w'))
                setattr(sys, name, stream)
                stack.callback(setattr, sys, name, None)
            # A file's name may be of bytes and letters that it cannot show.
            errors = getattr(stream, 'errors', None)
            if errors in ('strict', 'surrogateescape') and hasattr(
                    stream, 'reconfigure'):
                stream.reconfigure(errors='backslashreplace')
                stack.callback(stream.reconfigure, errors=errors)
        sys.stdout = _Output(sys.stdout)
        yield


def _forget_output():
    """Lets Python's own end not write again what could not be written."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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


def make_folder(path, flag):
    """Makes a folder to write to.

    Args:
        path (str): The folder, which may be there already.
        flag (str): The flag that chooses another one.

    Raises:
        InputError: If it cannot be made or written to.

    """
    try:
        os.makedirs(path, exist_ok=True)
    except (OSError, ValueError) as e:  # A NUL in the name is a ValueError.
        reason = getattr(e, 'strerror', None) or e
        raise InputError(f'cannot make the folder {path}: {reason}; '
                         f'choose another one with {flag}') from e
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f'cannot write to the folder {path}; '
                         f'choose another one with {flag}')


@contextlib.contextmanager
def needed(name, need, package=None):
    """Raises an InputError where the import in the ``with`` block fails.

    Args:
        name (str): Name of the module.
        need (str): Who needs it, the beginning of the line.
        package (str): What pip calls it, by default ``name``.

    """
    try:
        yield
    # It may want another NumPy, or dislike a variable, for example.
    except Exception as e:
        missing = getattr(e, 'name', None) in (name, name.split('.')[0])
        reason = f'pip install {package or name}' if missing else e
        raise InputError(f'{need}: {reason}') from e


def check_matplotlib(flag):
    """Raises an InputError where there is no Matplotlib that works.

    Args:
        flag (str): The flag that asks for it, and what to do instead.

    """
    with needed('matplotlib', f'{flag} needs Matplotlib'):
        import matplotlib  # noqa: F401


def check_gpu(gpu):
    """Raises an InputError where there is no CuPy or no such GPU.

    Args:
        gpu (int): Id of the GPU, 0 or more.

    """
    try:
        import cupy
        count = cupy.cuda.runtime.getDeviceCount()
        reason = 'there is no device'
    except Exception as e:  # CUDA's own errors cannot be named without CuPy.
        count, reason = 0, e
    if not count:
        raise InputError(
            f'--gpu={gpu} needs CuPy and a CUDA device: install '
            'requirements-gpu.txt, or leave --gpu out to run on the CPU '
            f'({reason})')
    if gpu >= count:
        raise InputError(f'there is no GPU {gpu}, only 0 to {count - 1}')
