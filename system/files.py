import contextlib
import errno
import os
import re
import stat
import zipfile

import numpy

from system.errors import InputError, OutputError

# What a write that was killed leaves behind: the name, the process.
_TEMPORARY = re.compile(r'\.(.+)\.[0-9]+\.tmp')


def open_regular(path):
    """Opens a file to read, unless it is a pipe or a device.

    Pipes and devices may never end, and a pipe without a writer is waited for.

    Args:
        path (str): The file.

    Returns:
        The open binary file.

    Raises:
        InputError: If it cannot be opened or is no regular file.

    """
    def opener(path, flags):
        return os.open(path, flags | getattr(os, 'O_NONBLOCK', 0))

    try:
        f = open(path, 'rb', opener=opener)  # noqa: SIM115
    except (OSError, ValueError) as e:  # A NUL in the name is a ValueError.
        reason = getattr(e, 'strerror', None) or e
        raise InputError(f'cannot read {path}: {reason}') from e
    if not stat.S_ISREG(os.fstat(f.fileno()).st_mode):
        f.close()
        raise InputError(f'cannot read {path}: Not a regular file')
    return f


def read_regular(path, n=-1):
    """Returns the first n bytes of a file, by default all.

    Raises:
        InputError: If it cannot be read or is no regular file.

    """
    with open_regular(path) as f:
        try:
            return f.read(n)
        except OSError as e:
            raise InputError(f'cannot read {path}: {e.strerror}') from e


def list_folder(path):
    """Returns the names in a folder; InputError if it cannot be read."""
    try:
        return os.listdir(path)
    except OSError as e:
        raise InputError(
            f'cannot read the folder {path}: {e.strerror}') from e


def remove(path):
    """Removes a file; OutputError if it cannot be."""
    try:
        os.unlink(path)
    except OSError as e:
        raise OutputError(e.errno, e.strerror, path) from e


def write(path, save):
    """Writes a file that is whole or not there, whenever the power fails.

    The file is written beside, flushed to disk and renamed; then the folder is
    flushed. If anything fails, the file that was there before stays.

    Args:
        path (str): The file; a regular one is replaced.
        save (callable): Takes an open binary file and writes to it.

    Raises:
        OutputError: If it cannot be written.

    """
    folder, name = os.path.split(os.path.abspath(path))
    new = os.path.join(folder, f'.{name}.{os.getpid()}.tmp')
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError(errno.EINVAL, 'Not a regular file')
        try:
            with open(new, 'wb') as f:
                save(f)
                f.flush()
                os.fsync(f.fileno())
            os.replace(new, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise
        sync_folder(folder)
    except OSError as e:
        raise OutputError(e.errno, e.strerror or str(e), path) from e


class _Archive(zipfile.ZipFile):

    def __del__(self):
        # ZipFile's writes to the file, which is closed when a write fails.
        pass


def write_npz(path, arrays):
    """Writes arrays as ``numpy.savez`` does, but whole or not at all.

    Args:
        path (str): The file; a regular one is replaced.
        arrays (dict): Arrays by name. None may hold objects.

    Raises:
        OutputError: If it cannot be written.

    """
    def save(f):
        # Without with: its end would hide the error of a full disk.
        archive = _Archive(f, 'w')
        for name, array in arrays.items():
            member = archive.open(f'{name}.npy', 'w', force_zip64=True)
            try:
                numpy.lib.format.write_array(
                    member, numpy.asanyarray(array), allow_pickle=False)
            except BaseException:
                with contextlib.suppress(OSError, ValueError):
                    member.close()
                raise
            member.close()
        archive.close()

    write(path, save)


def sync_folder(path):
    """Flushes the names in a folder to disk, where the system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def unfinished(name):
    """Returns the name of the file that a leftover was to become, or None.

    Args:
        name (str): Name of a file; a leftover is what a write that was killed
            has left.

    """
    match = _TEMPORARY.fullmatch(name)
    return match and match.group(1)
