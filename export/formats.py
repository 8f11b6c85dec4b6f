"""The formats of --export, chosen by the ending of the file's name."""
import functools
import os

from export import (
    c_source, html_page, onnx_graph, onnx_model, qonnx_model)
from system.errors import InputError

# Ending: what takes a Canonical and returns the file's bytes.
_WRITERS = {
    '.c': c_source.write,
    '.html': html_page.write,
    '.onnx': onnx_model.write,
    '.qonnx.onnx': qonnx_model.write,
}

HELP = ', '.join(_WRITERS)

QONNX_DIALECTS = qonnx_model.DIALECTS


def writer(path, qonnx_dialect=None):
    """Returns the function that makes a file's bytes of a canonical net.

    Args:
        path (str): The file.
        qonnx_dialect (str or None): One of ``QONNX_DIALECTS``, for a QONNX
            file alone; ``None`` is the first.

    Returns:
        callable or None: ``None`` for a packed net, see
        :mod:`prediction.packed_file`.

    Raises:
        InputError: If there is no such format, if it lacks a package, or if a
            dialect is given and it is not QONNX.

    """
    name = os.path.basename(path).lower()
    ending = max((e for e in _WRITERS if name.endswith(e)), key=len,
                 default='')
    found = os.path.splitext(name)[1]
    if not ending and found not in ('', '.npz'):
        raise InputError(f'--export writes no files {found}, but '
                         f'{", ".join([".npz", *_WRITERS])}')
    if qonnx_dialect and ending != '.qonnx.onnx':
        raise InputError('--qonnx-dialect is for --export of a file '
                         f'.qonnx.onnx, not {path}')
    if ending.endswith('.onnx'):
        onnx_graph.load()
    if qonnx_dialect:
        return functools.partial(qonnx_model.write, dialect=qonnx_dialect)
    return _WRITERS.get(ending)
