"""Which IDX files of a folder are a data set, and what its classes are."""
import os
import re

from data import description
from system.errors import InputError
from system.files import list_folder, read_regular

_NAME = re.compile(r'(?:(.+)-)?(?:train|t10k|test)-(?:images|labels)'
                   r'[-.]idx\d-(?:ubyte|int)(?:\.gz)?')

# Bytes of a file of names of classes, at most.
_MAX_MAPPING = 1 << 16


def locate(path):
    """Returns the folder and the prefix of a data set's IDX files.

    Args:
        path (str): Folder of the files or, as torchvision has it, of a folder
            ``raw`` with them; with ``/PREFIX`` behind it where the files of
            several data sets are there, such as ``emnist-letters``.

    Returns:
        tuple of str or None: Folder and prefix; the latter is empty where the
        names begin with ``train`` and ``t10k``. ``None`` says that there is a
        folder without IDX files.

    Raises:
        InputError: If there is no such folder, or several data sets in it.

    """
    if os.path.isdir(path):
        for folder in path, os.path.join(path, 'raw'):
            found = _prefixes(folder)
            if len(found) > 1 and '' not in found:
                *others, last = (os.path.join(path, name) for name in found)
                raise InputError(f'{path} holds several data sets: choose '
                                 f'{", ".join(others)} or {last}')
            if found:
                return folder, found[0]
        return None
    head, prefix = os.path.split(path)
    for folder in head or '.', os.path.join(head, 'raw'):
        if prefix and prefix in _prefixes(folder):
            return folder, prefix
    if not os.path.lexists(path):
        raise InputError(f'there is no folder {path}')
    list_folder(path)  # Says why it cannot be read.
    return None


def _prefixes(folder):
    if not os.path.isdir(folder):
        return []
    matches = map(_NAME.fullmatch, list_folder(folder))
    return sorted({match.group(1) or '' for match in matches if match})


def read_mapping(folder, prefix):
    """Returns the names of classes that lie beside EMNIST's files.

    ``PREFIX-mapping.txt`` has a line for each class: its label, and the
    numbers of one or more letters, of which the first is its name.

    Args:
        folder, prefix (str): See :func:`locate`.

    Returns:
        dict or None: Names by label, ``None`` where there is no such file.

    Raises:
        InputError: If the file is something else; the message names it.

    """
    path = os.path.join(folder, f'{prefix}-mapping.txt')
    if not prefix or not os.path.lexists(path):
        return None
    lines = read_regular(path, _MAX_MAPPING + 1).splitlines()
    names = {}
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        try:
            label, code = (int(field) for field in fields[:2])
            name = chr(code)
        except (OverflowError, ValueError):
            name = ''
        if (not description.is_name(name) or name.isspace()
                or not 0 <= label <= 255 or label in names
                or name in names.values()):
            raise InputError(f'line {number} of {path} is not a new label and '
                             'the number of a new letter')
        names[label] = name
    if len(names) < 2:
        raise InputError(f'{path} names {len(names)} classes, two are the '
                         'least')
    return names
