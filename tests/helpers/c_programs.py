"""Nets for net.c, and what compiles, measures and runs it."""
import re
import shutil
import subprocess

import numpy
import pytest

from export import c_source, canonical
from prediction.packed_net import PackedNet
from tests.helpers.nets import (
    make_conv_net, random_arrays, random_pixels)

CC = shutil.which('gcc') or shutil.which('cc') or shutil.which('clang')
MAIN = '-DQUANTIZED_NET_MAIN'
STRICT = ['-Wall', '-Wextra', '-pedantic', '-Wconversion', '-Werror']


def needs(*tools):
    """Skips a test where one of these tools is missing."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    return pytest.mark.skipif(
        bool(missing), reason=f'needs {", ".join(missing)}')


def make_net(sizes, seed=0):
    """Returns a packed net with falling and constant units.

    Its units change with the image, and its classes as well.
    """
    arrays = random_arrays(sizes, seed)
    last = len(sizes) - 1
    for i in range(1, last + 1):
        for name in f'l{i}/b', f'bn{i}/avg_mean', f'bn{i}/beta':
            arrays[name] *= numpy.float32(.1)
    for i in range(1, last):
        arrays[f'bn{i}/gamma'][3::7] = 0
    arrays[f'bn{last}/avg_var'][:] = sizes[-2]
    arrays[f'bn{last}/gamma'] *= numpy.float32(.1)
    arrays[f'bn{last}/gamma'] += 1
    return PackedNet.from_arrays(arrays)


def make_packed_conv_net(shape, channels, n_blocks, n_hidden,
                         input_range='unit'):
    """Returns a packed net whose classes change with the image."""
    chain = make_conv_net(shape, channels, 40, 5, n_blocks=n_blocks,
                          n_hidden=n_hidden)
    for _, norm in chain.layers():
        norm.avg_mean *= .2
        norm.beta.array *= .2
    link, norm = chain.layers()[-1]
    norm.avg_mean[...] = 0
    norm.gamma.array[...] = 1 + .1 * norm.gamma.array
    norm.avg_var[...] = link.W.shape[1]
    return PackedNet.from_chain(chain, input_range)


def make_images(n, n_in):
    x = random_pixels(n, n_in)
    x[0], x[1], x[2, ::2] = 0, 255, 255
    return x


def write(folder, net, accuracy=None):
    path = folder / 'net.c'
    path.write_bytes(c_source.write(canonical.fold(net, accuracy)))
    return path


def initializer(x):
    """Returns a matrix of integers as C writes it."""
    return str(x.tolist()).replace('[', '{').replace(']', '}')


def word(bits):
    """Returns the flags for words of this size."""
    return [f'-DQUANTIZED_NET_WORD={bits}']


def on(bits, planes):
    """Returns those of a net without convolutions, with bit-planes or not."""
    return [*word(bits), f'-DQUANTIZED_NET_PLANES={planes}']


def build(path, *flags, compiler=CC, name='net'):
    """Compiles without a warning; returns the program's path."""
    program = path.with_name(name)
    process = subprocess.run(
        [compiler, *flags, str(path), '-o', str(program)], cwd=path.parent,
        capture_output=True, text=True, timeout=300)
    assert (process.returncode, process.stderr) == (0, '')
    return program


def pattern_flags(folder):
    """Returns flags by which what is not written is no zero by chance."""
    flag = '-ftrivial-auto-var-init=pattern'
    knows = subprocess.run(
        [CC, flag, '-xc', '-c', '-', '-o', str(folder / 'none.o')], input=b'',
        capture_output=True).returncode == 0
    return [flag] * knows


def sanitizer_flags(folder):
    """Returns flags for the sanitizers; skips where these are missing."""
    flags = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']
    if subprocess.run(
            [CC, *flags, '-xc', '-', '-o', str(folder / 'none')],
            input=b'int main(void) { return 0; }',
            capture_output=True).returncode:
        pytest.skip('needs the libraries of the sanitizers')
    return ['-g', '-O1', *flags]


def classify(x, *command):
    """Returns the classes that a net's own main() prints."""
    process = subprocess.run(
        [str(part) for part in command], input=x.tobytes(),
        capture_output=True, timeout=300)
    assert (process.returncode, process.stderr) == (0, b'')
    return numpy.array(process.stdout.split(), int)


def figures(path):
    """Returns the comment's table: name of a row: figures for each word."""
    rows = re.findall(r'^ \* {5}(\S.*?) +([\d,]+) +([\d,]+) +([\d,]+) +'
                      r'([\d,]+)$', path.read_text(), re.M)
    return {name: [int(n.replace(',', '')) for n in numbers]
            for name, *numbers in rows}


def size_of(tool, folder):
    output = subprocess.run([tool, 'net.o'], cwd=folder, capture_output=True,
                            text=True, check=True).stdout
    return tuple(map(int, output.split('\n')[1].split()[:3]))


def stack_of(folder):
    """Returns the frames of all functions together, as gcc lists them."""
    lines = (folder / 'net.su').read_text().split('\n')
    return sum(int(line.split('\t')[1]) for line in lines if line)
