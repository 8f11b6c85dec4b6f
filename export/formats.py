"""The formats of --export, chosen by the ending of the file's name."""
import os

from export import c_source
from system.errors import InputError

# Ending: what takes a Canonical and returns the file's bytes.
_WRITERS = {'.c': c_source.write}

HELP = ', '.join(_WRITERS)


def writer(path):
    """Returns the function that makes a file's bytes of a canonical net.

    Args:
        path (str): The file.

    Returns:
        callable or None: ``None`` for a packed net, see
        :mod:`prediction.packed_file`.

    Raises:
        InputError: If there is no such format.

    """
    name = os.path.basename(path).lower()
    for ending in sorted(_WRITERS, key=len, reverse=True):
        if name.endswith(ending):
            return _WRITERS[ending]
    found = os.path.splitext(name)[1]
    if found in ('', '.npz'):
        return None
    raise InputError(f'--export writes no files {found}, but '
                     f'{", ".join([".npz", *_WRITERS])}')
