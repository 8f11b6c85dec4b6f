"""A stand-in for CuPy on the CPU, so that the GPU's code runs without one.

``python tests/helpers/host_cupy REPORT PROGRAM ARGUMENT...`` runs a program
with it in the place of CuPy; ``-m pytest`` may be the program. Arrays are
those of NumPy in a class of their own, which, as CuPy's, refuses to meet
them. The C++ bodies of elementwise, reduction and raw kernels are compiled by
the system's compiler and called in a plain loop. What a GPU would do in
parallel is done in order: this finds wrong arithmetic, wrong calls and
needless copies to the host, not races.

The report, a JSON file, says what a program has used: the kernels with their
types, the names of the module and of its arrays, and, by the line of the
project or of Chainer that asked for it, the copies from the device.
"""
from tests.helpers.host_cupy.cpp import COMPILER
from tests.helpers.host_cupy.modules import VERSION, install, installed

__all__ = ['COMPILER', 'VERSION', 'install', 'installed']
