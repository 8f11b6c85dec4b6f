"""net.c, compiled and run: on this machine and on emulated ones."""
import pathlib
import platform
import re
import shutil
import subprocess
import sys

import numpy
import pytest

from data import description, mnist
from export import c_source, canonical, formats
from prediction.packed_net import PackedMLP
from tests.helpers import ROOT
from tests.helpers.nets import random_arrays, random_pixels

CC = shutil.which('gcc') or shutil.which('cc') or shutil.which('clang')
BOARD = pathlib.Path(__file__).with_name('avr_board.c')
MAIN = '-DQUANTIZED_NET_MAIN'
STRICT = ['-Wall', '-Wextra', '-pedantic', '-Wconversion', '-Werror']

needs_compiler = pytest.mark.skipif(CC is None, reason='needs a C compiler')
on_each_word = pytest.mark.parametrize('bits', c_source.WORDS)
with_and_without_planes = pytest.mark.parametrize('planes', [0, 1])

# 784-101-77-10 has odd sizes; of the others, units that leave some or all
# bits of a word over, vectors that are shorter than those before them in the
# same place, one of everything, tables of each type.
ODD = [(30, 5, 3), (1, 1, 2), (65, 64, 129, 63, 7), (33, 300, 31, 40, 1, 4),
       (8, 7, 300, 2), (9, 4, 1), (5000, 3, 2), (32, 72, 12)]


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
    return PackedMLP.from_arrays(arrays)


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


def on(bits, planes):
    return [f'-DQUANTIZED_NET_WORD={bits}', f'-DQUANTIZED_NET_PLANES={planes}']


def build(path, *flags, compiler=CC, name='net'):
    """Compiles without a warning; returns the program's path."""
    program = path.with_name(name)
    process = subprocess.run(
        [compiler, *flags, str(path), '-o', str(program)], cwd=path.parent,
        capture_output=True, text=True, timeout=300)
    assert (process.returncode, process.stderr) == (0, '')
    return program


def classify(x, *command):
    """Returns the classes that a net's own main() prints."""
    process = subprocess.run(
        [str(part) for part in command], input=x.tobytes(),
        capture_output=True, timeout=300)
    assert (process.returncode, process.stderr) == (0, b'')
    return numpy.array(process.stdout.split(), int)


@pytest.fixture(scope='module')
def mnist_net(tmp_path_factory):
    net = make_net((784, 101, 77, 10))
    return write(tmp_path_factory.mktemp('mnist'), net), net


# The same classes


def test_the_nets_have_falling_and_constant_units():
    net = make_net((784, 101, 77, 10))
    for layer, bound in zip(net.hidden, (784 * 255, 101)):
        falling = layer.falling.view(numpy.uint8)
        assert 20 < numpy.unpackbits(falling).sum() < 80
        assert (layer.thresholds == -bound).any()
        assert (layer.thresholds == bound + 1).any()
    x, _ = mnist.read('test.npz')
    counts = numpy.bincount(net.predict(x))
    assert (counts > 100).sum() >= 6
    for sizes in ODD:
        counts = numpy.bincount(make_net(sizes).predict(
            make_images(300, sizes[0])))
        assert (counts > 3).sum() >= min(2, sizes[-1]), sizes


@needs_compiler
@on_each_word
@with_and_without_planes
def test_all_test_images_get_the_packed_nets_class(bits, planes, mnist_net):
    path, net = mnist_net
    x, _ = mnist.read('test.npz')
    program = build(path, '-std=c99', '-O3', MAIN, *STRICT, *on(bits, planes),
                    name=f'net{bits}_{planes}')
    numpy.testing.assert_array_equal(classify(x, program), net.predict(x))


@needs_compiler
@pytest.mark.parametrize('sizes', ODD)
def test_odd_sizes_get_the_packed_nets_class(sizes, tmp_path):
    net = make_net(sizes)
    path = write(tmp_path, net)
    x = make_images(300, sizes[0])
    expected = net.predict(x)
    # What is not written shows: it is no zero by chance.
    pattern = '-ftrivial-auto-var-init=pattern'
    knows = subprocess.run([CC, pattern, '-xc', '-c', '-', '-o',
                            str(tmp_path / 'none.o')], input=b'',
                           capture_output=True).returncode
    flags = [pattern] * (knows == 0)
    for bits in c_source.WORDS:
        for planes in 0, 1:
            program = build(path, '-O1', MAIN, *STRICT, *flags,
                            *on(bits, planes))
            numpy.testing.assert_array_equal(classify(x, program), expected)


@needs_compiler
@pytest.mark.slow
@on_each_word
def test_sanitizers_find_nothing(bits, tmp_path):
    if subprocess.run([CC, '-fsanitize=address,undefined', '-xc', '-', '-o',
                       str(tmp_path / 'none')], capture_output=True,
                      input=b'int main(void) { return 0; }').returncode:
        pytest.skip('needs the libraries of the sanitizers')
    for sizes in (1000, 40, 45, 10), (33, 300, 31, 40, 1, 4), (1, 1, 2):
        net = make_net(sizes)
        path = write(tmp_path, net)
        x = make_images(200, sizes[0])
        for planes in 0, 1:
            program = build(
                path, '-g', '-O1', MAIN, '-fsanitize=address,undefined',
                '-fno-sanitize-recover=all', *on(bits, planes))
            numpy.testing.assert_array_equal(
                classify(x, program), net.predict(x))


@needs_compiler
def test_equal_logits_give_the_first_class(tmp_path):
    # Pixel 0 decides. Its logits: 1 and 2 are equal and above 0 and 3, or
    # below them, which are equal as well.
    net = PackedMLP.from_arrays({
        'l1/W': numpy.ones((1, 1), numpy.float32),
        'bn1/avg_mean': numpy.full(1, .5, numpy.float32),
        'l2/W': numpy.array([[-1], [1], [1], [-1]], numpy.float32)})
    path = write(tmp_path, net)
    x = numpy.array([[0], [255]], numpy.uint8)
    assert classify(x, build(path, MAIN)).tolist() == [0, 1]
    assert net.predict(x).tolist() == [0, 1]


@needs_compiler
@pytest.mark.parametrize(('beta', 'found'), [
    # Neighbours in float32, which no fixed point of some bits would tell apart
    ([1, numpy.nextafter(numpy.float32(1), 2, dtype=numpy.float32), 1], 1),
    ([-0.0, 0.0, -0.0], 0), ([0.0, 0.0, 1e-45], 2), ([1, 1, 1], 0)])
def test_logits_are_told_apart_as_in_float32(beta, found, tmp_path):
    net = PackedMLP.from_arrays({
        'l1/W': numpy.ones((4, 6), numpy.float32),
        'l2/W': numpy.ones((3, 4), numpy.float32),
        'bn2/gamma': numpy.zeros(3, numpy.float32),
        'bn2/beta': numpy.array(beta, numpy.float32)})
    x = make_images(5, 6)
    assert set(net.predict(x).tolist()) == {found}
    program = build(write(tmp_path, net), MAIN)
    assert set(classify(x, program).tolist()) == {found}


@needs_compiler
@pytest.mark.filterwarnings('ignore:overflow', 'ignore:invalid')
def test_a_logit_that_is_not_a_number_wins_as_in_numpy(tmp_path):
    net = PackedMLP.from_arrays({
        'l1/W': numpy.ones((4, 6), numpy.float32),
        'l2/W': numpy.ones((3, 4), numpy.float32),
        'l2/b': numpy.array([0, 3e38, 3e38], numpy.float32),
        'bn2/avg_mean': numpy.array([0, -3e38, -3e38], numpy.float32),
        'bn2/gamma': numpy.array([1, 0, 0], numpy.float32)})
    x = make_images(5, 6)
    assert numpy.isnan(net.logits(x)[:, 1:]).all()
    assert set(net.predict(x).tolist()) == {1}
    program = build(write(tmp_path, net), MAIN)
    assert set(classify(x, program).tolist()) == {1}


# Any compiler, any program around it


@pytest.mark.parametrize(('compiler', 'standards'), [
    pytest.param('gcc', ['c99', 'c11', 'c17', 'gnu99'], marks=needs('gcc')),
    pytest.param('clang', ['c99', 'c11', 'c17'], marks=needs('clang')),
    pytest.param('g++', ['c++11', 'c++17', 'c++20'], marks=needs('g++')),
    pytest.param('clang++', ['c++11', 'c++20'], marks=needs('clang++'))])
def test_compilers_have_nothing_to_say(compiler, standards, tmp_path):
    paths = []
    for i, sizes in enumerate([(30, 5, 3), (65, 64, 129, 63, 7)]):
        (tmp_path / str(i)).mkdir()
        paths.append(write(tmp_path / str(i), make_net(sizes)))
    more = ['-Wshadow', '-Wsign-conversion', '-Wundef', '-O2', '-c']
    if '++' in compiler:
        more += ['-xc++', '-Wno-deprecated']
    for path in paths:
        for standard in standards:
            build(path, f'-std={standard}', *STRICT, *more, compiler=compiler)
        for bits in c_source.WORDS:
            build(path, f'-std={standards[0]}', *STRICT, *more, MAIN,
                  '-DQUANTIZED_NET_NAMES', *on(bits, int(bits < 32)),
                  compiler=compiler)


@needs_compiler
def test_a_word_of_another_size_is_refused(tmp_path):
    path = write(tmp_path, make_net((5, 4, 3)))
    process = subprocess.run(
        [CC, '-c', '-DQUANTIZED_NET_WORD=24', path.name, '-o', 'net.o'],
        cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode != 0
    assert 'QUANTIZED_NET_WORD must be 8, 16, 32 or' in process.stderr


@needs('gcc', 'g++', 'nm')
def test_it_is_part_of_a_larger_program(tmp_path):
    net = make_net((30, 20, 3))
    path = write(tmp_path, net)
    x = make_images(4, 30)
    rows = initializer(x)
    (tmp_path / 'other.cc').write_text(
        '#define QUANTIZED_NET_HEADER\n#include "net.c"\n'
        '#include "net.c"\n'
        'int word_t = 3, LAYERS = 4, weights_1 = 5; // not taken\n'
        'int other(const uint8_t *x) { return quantized_net_classify(x); }\n')
    (tmp_path / 'main.cc').write_text(
        '#define QUANTIZED_NET_HEADER\n#include "net.c"\n#include <cstdio>\n'
        'int other(const uint8_t *x);\n'
        'static const uint8_t x[][QUANTIZED_NET_WIDTH * QUANTIZED_NET_HEIGHT]'
        f' = {rows};\n'
        'int main() { for (auto &row : x)\n    std::printf("%d %d ", '
        'other(row), quantized_net_classify(row)); }\n')
    for compiler in 'gcc', 'g++':
        build(path, '-Os', '-c', compiler=compiler, name='net.o')
        symbols = subprocess.run(
            ['nm', '-g', 'net.o'], cwd=tmp_path, capture_output=True,
            text=True, check=True).stdout.split('\n')
        assert [line.split()[1:] for line in symbols if line] == [
            ['T', 'quantized_net_classify']]
        program = build(tmp_path / 'main.cc', 'other.cc', 'net.o',
                        compiler='g++', name='main')
        found = classify(x[:0], program)
        numpy.testing.assert_array_equal(found, net.predict(x).repeat(2))


@needs_compiler
def test_half_an_image_is_told(tmp_path):
    net = make_net((30, 5, 3))
    x = make_images(3, 30)
    process = subprocess.run([build(write(tmp_path, net), MAIN)],
                             input=x.tobytes()[:-1], capture_output=True)
    assert process.returncode == 1
    assert process.stderr == b'the last image has 29 of 30 pixels\n'
    numpy.testing.assert_array_equal(
        numpy.array(process.stdout.split(), int), net.predict(x)[:2])


# Text


NAMES = ('*/', '/*', '??/', '"', '\\', '%s', 'caf\xe9', '\xe91', '\u540d',
         'a' * 200, '*' * 90 + '/', '??/??/*/*/', "'", '\\n', '$name', '//')


@needs_compiler
def test_any_name_of_a_class_arrives(tmp_path):
    net = make_net((6, 5, len(NAMES)))
    images = description.parse(
        {'shape': [2, 3], 'classes': list(NAMES), 'preparation': 'plain'}, 6,
        len(NAMES))
    net.images = images
    accuracy = canonical.Accuracy(9, 10, 'a*/\n#error b??/\n\udc80\\')
    path = write(tmp_path, net, accuracy)
    (tmp_path / 'main.c').write_text(
        '#define QUANTIZED_NET_HEADER\n#define QUANTIZED_NET_NAMES\n'
        '#include "net.c"\n#include <stdio.h>\n'
        'int main(void) { for (int i = 0; i < QUANTIZED_NET_CLASSES; i++)\n'
        '    puts(quantized_net_class_names[i]); return 0; }\n')
    build(path, '-c', '-std=c99', *STRICT, '-trigraphs',
          '-DQUANTIZED_NET_NAMES', name='net.o')
    program = build(tmp_path / 'main.c', '-std=c99', 'net.o', name='main')
    printed = subprocess.run([program], capture_output=True, check=True)
    assert printed.stdout.decode('utf-8') == ''.join(f'{n}\n' for n in NAMES)


def test_the_comment_says_what_the_net_is():
    net = make_net((6, 5, 4, 3))
    net.images = description.Description((2, 3), ('cat', 'dog', 'c\xf6w'),
                                         'plain')
    text = ' '.join(c_source.write(canonical.fold(net, canonical.Accuracy(
        9, 10, 'pets'))).decode().split('*/')[0].replace('\n *', '').split())
    for part in ('6 pixels, 5 and 4 hidden units, 3 classes; 90.00 % of the '
                 '10 test images of pets right. Classes: 0 "cat", 1 "dog", '
                 '2 "c\\xf6w".',
                 '3 pixels wide and 2 high', 'returns its class, 0 to 2.'):
        assert part in text


def test_the_file_is_ascii_in_short_lines_and_always_the_same(mnist_net):
    path, net = mnist_net
    content = path.read_bytes()
    assert content == c_source.write(canonical.fold(net))
    lines = content.decode('ascii').split('\n')
    assert max(map(len, lines)) < 80
    assert not any(line != line.rstrip() for line in lines)
    assert not re.search(r'\b(float|double|malloc)\b',
                         content.decode().split('*/', 1)[1])


def test_the_program_writes_one(tmp_path):
    path = tmp_path / 'net.c'
    process = subprocess.run(
        [sys.executable, str(ROOT / 'predict_mnist.py'), 'net.npz',
         '--export', 'net.c'], cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 2
    make_net((784, 9, 10)).save(str(tmp_path / 'net.npz'))
    process = subprocess.run(
        [sys.executable, str(ROOT / 'predict_mnist.py'), 'net.npz',
         '--export', 'net.c'], cwd=tmp_path, capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, '')
    assert process.stdout.startswith('exported: net.c, ')
    assert formats.writer('a/NET.C') is c_source.write
    net = PackedMLP.load(str(tmp_path / 'net.npz'))
    assert path.read_bytes() == c_source.write(canonical.fold(net))


# What it needs


def figures(path):
    """Returns the comment's table: name of a row: figures for each word."""
    rows = re.findall(r'^ \* {5}(\S.*?) +([\d,]+) +([\d,]+) +([\d,]+) +'
                      r'([\d,]+)$', path.read_text(), re.M)
    return {name: [int(n.replace(',', '')) for n in numbers]
            for name, *numbers in rows}


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


def size_of(tool, folder):
    output = subprocess.run([tool, 'net.o'], cwd=folder, capture_output=True,
                            text=True, check=True).stdout
    return tuple(map(int, output.split('\n')[1].split()[:3]))


def stack_of(folder):
    """Returns the frames of all functions together, as gcc lists them."""
    lines = (folder / 'net.su').read_text().split('\n')
    return sum(int(line.split('\t')[1]) for line in lines if line)


# Emulated machines


@pytest.mark.slow
@pytest.mark.parametrize(('compiler', 'emulator'), [
    pytest.param(compiler, emulator, marks=needs(compiler, emulator))
    for compiler, emulator in [
        ('arm-linux-gnueabihf-gcc', 'qemu-arm'),
        ('aarch64-linux-gnu-gcc', 'qemu-aarch64'),
        ('powerpc-linux-gnu-gcc', 'qemu-ppc')]])
def test_other_processors_give_the_same_classes(compiler, emulator, mnist_net):
    path, net = mnist_net
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
