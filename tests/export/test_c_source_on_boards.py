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
    needs, on, size_of, stack_of, write)

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
            assert 0 < text - flash <= c_source.CODE_MAX
            assert (data, bss) == (0, 0)
            stack = table[f'stack, QUANTIZED_NET_PLANES={planes}'][i]
            assert 0 <= stack_of(tmp_path) - stack <= c_source.STACK_MAX


# Emulated machines


@pytest.mark.slow
@pytest.mark.parametrize(('compiler', 'emulator'), [
    pytest.param(compiler, emulator, marks=needs(compiler, emulator))
    for compiler, emulator in [
        ('arm-linux-gnueabihf-gcc', 'qemu-arm'),
        ('aarch64-linux-gnu-gcc', 'qemu-aarch64'),
        ('powerpc-linux-gnu-gcc', 'qemu-ppc')]])
def test_other_processors_give_the_same_classes(compiler, emulator, tmp_path):
    net = make_net((784, 101, 77, 10))
    path = write(tmp_path, net)
    x, _ = mnist.read('test.npz')
    x = numpy.concatenate([x[:300], make_images(10, 784)])
    for bits in c_source.WORDS:
        for planes in 0, 1:
            program = build(
                path, '-std=c99', '-O2', '-static', MAIN, *STRICT,
                *on(bits, planes), compiler=compiler, name='there')
            numpy.testing.assert_array_equal(
                classify(x, emulator, program), net.predict(x))


@pytest.mark.slow
@needs('avr-gcc', 'avr-size', 'simavr')
@pytest.mark.parametrize('bits', [8, 16, 32])
def test_an_arduino_gives_the_same_classes(bits, tmp_path):
    net = make_net((784, 61, 40, 10))
    path = write(tmp_path, net)
    x, _ = mnist.read('test.npz')
    x = x[:12].copy()
    x[0], x[1] = 0, 255
    (tmp_path / 'images.h').write_text(
        f'#define N_IMAGES {len(x)}\nstatic const uint8_t '
        f'images[][QUANTIZED_NET_PIXELS] PROGMEM = {initializer(x)};\n')
    shutil.copy(BOARD, tmp_path)
    table = figures(path)
    column = c_source.WORDS.index(bits)
    for planes in 0, 1:
        build(path, '-std=c99', '-Os', '-mmcu=atmega328p', '-c', *STRICT,
              '-fstack-usage', *on(bits, planes), compiler='avr-gcc',
              name='net.o')
        text, data, bss = size_of('avr-size', tmp_path)
        flash = table['flash for the tables'][column]
        assert 0 < text - flash <= c_source.CODE_MAX
        assert (data, bss) == (0, 0)
        program = build(tmp_path / BOARD.name, '-std=gnu99', '-Os',
                        '-mmcu=atmega328p', 'net.o', compiler='avr-gcc')
        output = subprocess.run(
            ['simavr', '-m', 'atmega328p', '-f', '16000000', str(program)],
            capture_output=True, text=True, timeout=120)
        rows = re.findall(r'(\d+) (\d+) (\d+)\.',
                          output.stdout + output.stderr)
        found, cycles, stack = numpy.array(rows, int).reshape(-1, 3).T
        numpy.testing.assert_array_equal(found, net.predict(x))
        assert (cycles > 10000).all()
        said = table[f'stack, QUANTIZED_NET_PLANES={planes}'][column]
        assert 0 <= stack.max() - said <= c_source.STACK_MAX


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
