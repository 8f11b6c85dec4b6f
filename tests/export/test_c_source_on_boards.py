"""What net.c needs of a machine, and that emulated ones run it."""
import pathlib
import platform
import re
import shutil
import subprocess

import numpy
import pytest

from data import mnist
from export import c_source
from tests.helpers.c_programs import (
    MAIN, STRICT, build, classify, figures, initializer, make_images, make_net,
    make_packed_conv_net, needs, on, size_of, stack_of, word, write)

BOARD = pathlib.Path(__file__).with_name('avr_board.c')


@needs('gcc', 'size')
@pytest.mark.parametrize('sizes', [(784, 101, 77, 10), (90, 30, 3)])
@pytest.mark.parametrize('optimize', ['-Os', '-O2'])
def test_it_needs_what_it_says(sizes, optimize, tmp_path):
    path = write(tmp_path, make_net(sizes))
    table = figures(path)
    assert len(table) == 4
    # What lies in the red zone is in no frame.
    is_x86 = platform.machine() in ('x86_64', 'AMD64')
    assert table['QUANTIZED_NET_WORD'] == list(c_source.WORDS)
    for i, bits in enumerate(c_source.WORDS):
        for planes in 0, 1:
            build(path, optimize, '-c', '-fstack-usage',
                  '-fno-asynchronous-unwind-tables', *on(bits, planes),
                  *(['-mno-red-zone'] if is_x86 else []), compiler='gcc',
                  name='net.o')
            text, data, bss = size_of('size', tmp_path)
            flash = table['flash for the tables'][i]
            assert 0 < text - flash <= c_source.LINEAR.code
            assert (data, bss) == (0, 0)
            stack = table[f'stack, QUANTIZED_NET_PLANES={planes}'][i]
            assert 0 <= stack_of(tmp_path) - stack <= c_source.LINEAR.stack


# Emulated machines


@pytest.mark.slow
@pytest.mark.parametrize(('compiler', 'emulator'), [
    pytest.param(compiler, emulator, marks=needs(compiler, emulator))
    for compiler, emulator in [
        ('arm-linux-gnueabihf-gcc', 'qemu-arm'),
        ('aarch64-linux-gnu-gcc', 'qemu-aarch64'),
        ('powerpc-linux-gnu-gcc', 'qemu-ppc')]])
@pytest.mark.parametrize('kind', ['linear', 'convolutions'])
def test_other_processors_give_the_same_classes(
        kind, compiler, emulator, tmp_path):
    if kind == 'linear':
        net = make_net((784, 101, 77, 10))
        choices = [on(bits, planes) for bits in c_source.WORDS
                   for planes in (0, 1)]
    else:
        net = make_packed_conv_net((28, 28), 40, 2, 1)
        choices = list(map(word, c_source.WORDS))
    path = write(tmp_path, net)
    x, _ = mnist.read('test.npz')
    x = numpy.concatenate([x[:300], make_images(10, 784)])
    for flags in choices:
        program = build(path, '-std=c99', '-O2', '-static', MAIN, *STRICT,
                        *flags, compiler=compiler, name='there')
        numpy.testing.assert_array_equal(
            classify(x, emulator, program), net.predict(x))


def run_on_avr(path, x, processor, flags, flash, code_max):
    """Returns classes, cycles and bytes of stack of a simulated AVR.

    Args:
        path (pathlib.Path): The net in C.
        x (numpy.ndarray): Images of shape (N, pixels).
        processor (str): Its name for the compiler and for the simulator.
        flags (list of str): Flags of the compiler for the net.
        flash (int): Bytes that the net says that its tables take.
        code_max (int): Most bytes that its code may take.

    """
    folder = path.parent
    (folder / 'images.h').write_text(
        f'#define N_IMAGES {len(x)}\nstatic const uint8_t '
        f'images[][QUANTIZED_NET_PIXELS] PROGMEM = {initializer(x)};\n')
    shutil.copy(BOARD, folder)
    processor_flag = f'-mmcu={processor}'
    build(path, '-std=c99', '-Os', processor_flag, '-c', *STRICT,
          '-fstack-usage', *flags, compiler='avr-gcc', name='net.o')
    text, data, bss = size_of('avr-size', folder)
    assert 0 < text - flash <= code_max
    assert (data, bss) == (0, 0)
    program = build(folder / BOARD.name, '-std=gnu99', '-Os', processor_flag,
                    'net.o', compiler='avr-gcc')
    output = subprocess.run(
        ['simavr', '-m', processor, '-f', '16000000', str(program)],
        capture_output=True, text=True, timeout=120)
    rows = re.findall(r'(\d+) (\d+) (\d+)\.',
                      output.stdout + output.stderr)
    return numpy.array(rows, int).reshape(-1, 3).T


@pytest.mark.slow
@needs('avr-gcc', 'avr-size', 'simavr')
@pytest.mark.parametrize('bits', [8, 16, 32])
def test_an_arduino_gives_the_same_classes(bits, tmp_path):
    net = make_net((784, 61, 40, 10))
    path = write(tmp_path, net)
    x, _ = mnist.read('test.npz')
    x = x[:12].copy()
    x[0], x[1] = 0, 255
    table = figures(path)
    column = c_source.WORDS.index(bits)
    for planes in 0, 1:
        found, cycles, stack = run_on_avr(
            path, x, 'atmega328p', on(bits, planes),
            table['flash for the tables'][column], c_source.LINEAR.code)
        numpy.testing.assert_array_equal(found, net.predict(x))
        assert (cycles > 10000).all()
        said = table[f'stack, QUANTIZED_NET_PLANES={planes}'][column]
        assert 0 <= stack.max() - said <= c_source.LINEAR.stack


@pytest.mark.slow
@needs('avr-gcc', 'avr-size', 'simavr')
@pytest.mark.parametrize(('channels', 'bits', 'processor'), [
    (5, 8, 'atmega328p'), (12, 16, 'atmega2560'), (4, 32, 'atmega2560')])
def test_an_arduino_computes_convolutions(
        channels, bits, processor, tmp_path):
    net = make_packed_conv_net((28, 28), channels, 2, 1)
    path = write(tmp_path, net)
    x = make_images(6, net.sizes[0])
    table = figures(path)
    column = c_source.WORDS.index(bits)
    found, cycles, stack = run_on_avr(
        path, x, processor, word(bits), table['flash for the tables'][column],
        c_source.CONVOLUTIONS.code)
    numpy.testing.assert_array_equal(found, net.predict(x))
    assert (cycles > 100000).all()
    assert 0 <= stack.max() - table['stack'][column] <= (
        c_source.CONVOLUTIONS.stack)


def test_a_net_too_large_for_avr_is_refused_there(tmp_path):
    path = write(tmp_path, make_net((784, 600, 10)))
    assert b'#error "too large for AVR: ' in path.read_bytes()
    small = write(tmp_path, make_net((784, 256, 256, 10)))
    assert b'too large' not in small.read_bytes()


@needs('avr-gcc')
def test_avr_has_no_words_of_64_bits(tmp_path):
    path = write(tmp_path, make_net((5, 4, 3)))
    process = subprocess.run(
        ['avr-gcc', '-mmcu=atmega2560', '-c', '-DQUANTIZED_NET_WORD=64',
         path.name, '-o', 'net.o'], cwd=tmp_path, capture_output=True,
        text=True)
    assert process.returncode != 0
    assert 'but for AVR, 64' in process.stderr
