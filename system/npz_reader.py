import os
import struct
import tokenize
import zipfile
import zlib

import numpy

from system.errors import InputError
from system.files import open_regular

# What can go wrong in a file that is not what it says.
_ERRORS = (EOFError, IndexError, KeyError, MemoryError, NotImplementedError,
           OSError, OverflowError, RuntimeError, SyntaxError, TypeError,
           ValueError, struct.error, tokenize.TokenError, zipfile.BadZipFile,
           zlib.error)

# A float32 weight holds one bit at least, so that compression makes 1 / 32 of
# an honest array at best. Small arrays of equal values may be more than that.
_MAX_RATIO = 32
_SLACK = 1 << 20


class NpzReader:
    """Reader of arrays in an .npz file that nobody vouches for.

    ``numpy.load`` allocates what an array's header says and unpacks what the
    archive says. This reader compares both with each other and with the size
    of the file first, reads numbers and nothing else (no object is
    unpickled), and reports whatever is wrong as an InputError.

    Args:
        path (str): The file.

    Attributes:
        path (str): The file.
        names (set of str): Names of the arrays.
        size (int): Bytes of the file.

    Raises:
        InputError: If the file cannot be read or is no .npz file.

    """

    def __init__(self, path):
        self.path = path
        self._file = open_regular(path)
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self._archive = zipfile.ZipFile(self._file)
            self._members = {
                m.filename[:-len('.npy')]: m
                for m in self._archive.infolist()
                if m.filename.endswith('.npy')}
        except _ERRORS as e:
            self._file.close()
            raise InputError(
                f'{path} is no .npz file, or damaged: {_reason(e)}') from e
        self._budget = _MAX_RATIO * self.size + _SLACK
        self.names = set(self._members)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._file.close()

    def read(self, name, dtype=None, ndim=None):
        """Returns an array, of the machine's byte order and contiguous.

        Args:
            name (str): Name of the array.
            dtype: The dtype that it must have, in any byte order. By default
                numbers, truth values and text of any size are read.
            ndim (int): The number of its axes, any number by default.

        Raises:
            InputError: If there is no such array or it is anything else; the
                message names the file and the array.

        """
        try:
            return self._read(self._members[name], dtype, ndim)
        except KeyError as e:
            raise InputError(f'{self.path} has no {name}') from e
        except _ERRORS as e:
            raise InputError(
                f'{name} in {self.path} cannot be read: {_reason(e)}') from e

    def _read(self, member, dtype, ndim):
        if member.compress_type not in (zipfile.ZIP_STORED,
                                        zipfile.ZIP_DEFLATED):
            raise ValueError('unknown compression')
        if member.compress_size > self.size:
            raise ValueError(f'{member.compress_size} bytes in a file of '
                             f'{self.size}')
        if member.file_size > self._budget:
            raise ValueError(f'{member.file_size} bytes are more than the '
                             f'file\'s {self.size} bytes can hold')
        self._budget -= member.file_size
        with self._archive.open(member) as f:
            version = numpy.lib.format.read_magic(f)
            if version != (1, 0):
                raise ValueError(f'format {version} of .npy')
            shape, fortran_order, actual = (
                numpy.lib.format.read_array_header_1_0(f))
            native = actual.newbyteorder('=')
            if dtype is not None and native != numpy.dtype(dtype):
                raise ValueError(
                    f'dtype {actual}, expected {numpy.dtype(dtype)}')
            if native.kind not in 'biufU':
                raise ValueError(f'dtype {actual}, expected numbers or text')
            if ndim is not None and len(shape) != ndim:
                raise ValueError(f'shape {shape}, expected {ndim} axes')
            size = native.itemsize
            for n in shape:
                if n < 0:
                    raise ValueError(f'shape {shape}')
                size *= n
            if f.tell() + size != member.file_size:
                raise ValueError(
                    f'shape {shape} needs {size} bytes, there are '
                    f'{member.file_size - f.tell()}')
            # To the end, where the archive's checksum is compared.
            data = f.read()
        if len(data) != size:
            raise ValueError(f'{len(data)} bytes, expected {size}')
        array = numpy.ndarray(shape, actual, data,
                              order='F' if fortran_order else 'C')
        return numpy.array(array, native, order='C')


def _reason(error):
    """Returns an error's message as one line."""
    return ' '.join(str(error).split())[:200] or type(error).__name__
