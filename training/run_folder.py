import contextlib
import json
import os
import re
import typing

from system import files
from system.command_line import make_folder
from system.errors import InputError
from system.snapshot_file import PREFIX

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None

# The run that writes to a folder holds a lock on this file. It stays there,
# and says whether the folder was the run's own from the start.
LOCK = 'train_mnist.lock'

# Every other name that a run may write.
_NAMES = re.compile(rf'args\.json|log|cg\.dot|{PREFIX}[0-9]+|'
                    r'(accuracy|blocked|latent_weights|loss|sign_changes)\.png')

# Arguments that tell this program's args.json from another one's.
_KEYS = {'batchsize', 'epoch', 'unit', 'gpu', 'out', 'frequency', 'seed'}


def is_of_a_run(name):
    """Tells whether a name is that of a file that a run may write."""
    return name == LOCK or bool(_NAMES.fullmatch(name))


@contextlib.contextmanager
def claim(path, go_on):
    """Gives a run a folder of its own for the time of the ``with`` block.

    The folder is made and locked. An earlier run that is there is renamed,
    unless it shall go on; the leftovers of writes that were killed are
    removed. If nothing comes to be written, the folder is left as it was, or
    as it was made; an earlier run keeps its new name.

    Args:
        path (str): The folder.
        go_on (bool): Whether the run there, if any, is to be continued.

    Yields:
        str or None: Where the earlier run is now.

    Raises:
        InputError: If the folder cannot be written to, another run is writing
            to it, or it holds files that a run would write over.

    """
    is_made = not os.path.lexists(path)
    lock, is_new = _lock(path)
    # Of a link, the folder that it leads to is renamed, not the link.
    real = os.path.realpath(path)
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: lock.close())
        content = _look(real, lock, is_new)
        names, is_own = content.names, content.is_own
        stack.callback(lambda: _leave(real, names, is_new, is_made))
        moved = None
        if not (go_on and content.can_go_on):
            content.check_replaceable(path)
            if content.is_run:
                moved = _move_away(real, path)
                lock.close()
                lock, is_new = _lock(real)
                names, is_made, is_own = set(), True, True
        _write_lock(lock, is_own)
        yield moved


class _Content(typing.NamedTuple):
    """What is in a folder before a run.

    Attributes:
        names (set of str): All names but that of the lock.
        ours (set of str): Those that a run may write.
        is_run (bool): Whether they are of an earlier run.
        is_own (bool): Whether a run has, or had, the folder for itself.

    """

    names: set
    ours: set
    is_run: bool
    is_own: bool

    @property
    def can_go_on(self):
        return self.is_run or any(
            name.startswith(PREFIX) for name in self.ours)

    def check_replaceable(self, path):
        """Raises InputError if a new run would move or lose others' files."""
        if self.is_run and not self.is_own:
            raise InputError(
                f'{path} holds an earlier run among other files: choose '
                'another folder with --out, or go on with --autoload')
        if self.ours and not self.is_run:
            raise InputError(
                f'{path} holds {", ".join(sorted(self.ours)[:3])}, which is '
                'not of a run of this program and would be written over; '
                'choose another folder with --out')


def _look(path, lock, is_new):
    """Returns the _Content of a folder, and removes leftovers of writes."""
    names = set(files.list_folder(path)) - {LOCK}
    is_run = _has_args(path)
    if is_run or not is_new:
        names -= _remove_leftovers(path, names)
    ours = {name for name in names if _NAMES.fullmatch(name)}
    is_run = is_run or (bool(ours) and not is_new)
    is_own = _is_own(lock) if is_run and not is_new else names == ours
    return _Content(names, ours, is_run, is_own)


def _lock(path):
    """Makes and locks a folder; returns the lock, and whether it is new."""
    name = os.path.join(path, LOCK)
    while True:
        make_folder(path, '--out')
        try:
            lock = open(  # noqa: SIM115
                os.open(name, os.O_RDWR | os.O_CREAT
                        | getattr(os, 'O_NOFOLLOW', 0), 0o666), 'r+b',
                buffering=0)
        except FileNotFoundError:
            continue  # The folder was renamed meanwhile.
        except OSError as e:
            raise InputError(f'cannot write {name}: {e.strerror}') from e
        if not _try_lock(lock):
            process = lock.read(20).decode(errors='replace').split('\n')[0]
            lock.close()
            raise InputError(
                f'another run is writing to {path} (process {process}); '
                'choose another folder with --out')
        with contextlib.suppress(FileNotFoundError):
            # The file may have been renamed before the lock was taken.
            if os.path.samestat(os.fstat(lock.fileno()), os.stat(name)):
                # One that is empty may be in the folder of somebody else: the
                # run was killed before it had looked at what is there.
                return lock, not os.fstat(lock.fileno()).st_size
        lock.close()


def _try_lock(lock):
    try:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # A file system that has no locks
    return True


def _write_lock(lock, is_own):
    try:
        lock.seek(0)
        lock.truncate()
        kind = 'own' if is_own else 'shared'
        lock.write(f'{os.getpid()}\n{kind}\n'.encode())
    except OSError as e:
        raise InputError(f'cannot write {LOCK}: {e.strerror}') from e


def _is_own(lock):
    lock.seek(0)
    return b'shared' not in lock.read(100)


def _leave(path, before, is_new, is_made):
    """Removes what a run that wrote nothing has made."""
    with contextlib.suppress(OSError):
        if is_new and set(os.listdir(path)) - {LOCK} == before:
            os.unlink(os.path.join(path, LOCK))
            if is_made:
                os.rmdir(path)


def _remove_leftovers(path, names):
    """Removes what killed writes have left; returns the names."""
    leftovers = {name for name in names
                 if _NAMES.fullmatch(files.unfinished(name) or '')}
    for name in leftovers:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(path, name))
    return leftovers


def _has_args(path):
    try:
        args = json.loads(
            files.read_regular(os.path.join(path, 'args.json'), 1 << 20))
    except (RecursionError, ValueError):
        return False
    return isinstance(args, dict) and args.keys() >= _KEYS


def _move_away(real, path):
    """Renames a folder to the next free number; returns the new name."""
    for kept in os.getcwd(), os.path.expanduser('~'), __file__:
        kept = os.path.realpath(kept)
        if os.path.commonpath([real, kept]) == real:
            raise InputError(
                f'the earlier run in {path} cannot be renamed, for it holds '
                f'{kept}; choose another folder with --out')
    parent, name = os.path.split(real)
    pattern = re.compile(re.escape(name) + r'\.([0-9]{1,9})')
    matches = map(pattern.fullmatch, files.list_folder(parent))
    n = 1 + max((int(match.group(1)) for match in matches if match), default=0)
    try:
        os.rename(real, f'{real}.{n}')
    except OSError as e:
        raise InputError(
            f'the earlier run in {path} cannot be renamed: {e.strerror}; '
            'choose another folder with --out') from e
    files.sync_folder(parent)
    if real == os.path.abspath(path):
        return f'{path.rstrip(os.sep)}.{n}'
    return f'{real}.{n}'
