"""net.c, compiled and run, and its text."""
import re
import subprocess
import sys

import numpy
import pytest

from data import description, mnist
from export import c_source, canonical, formats
from prediction.packed_net import PackedNet
from tests.helpers import ROOT
from tests.helpers.c_programs import (
    CC, MAIN, STRICT, build, classify, initializer, make_images, make_net,
    needs, on, pattern_flags, sanitizer_flags, write)

needs_compiler = pytest.mark.skipif(CC is None, reason='needs a C compiler')
on_each_word = pytest.mark.parametrize('bits', c_source.WORDS)
with_and_without_planes = pytest.mark.parametrize('planes', [0, 1])

# 784-101-77-10 has odd sizes; of the others, rows that end with each number
# of bytes, vectors that are shorter than those before them in the same place,
# one of everything, tables of each type.
ODD = [(30, 5, 3), (1, 1, 2), (65, 64, 129, 63, 7), (33, 300, 31, 40, 1, 4),
       (8, 7, 300, 2), (9, 4, 1), (5000, 3, 2), (32, 72, 12), (54, 20, 45, 4)]


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
    flags = pattern_flags(tmp_path)
    for bits in c_source.WORDS:
        for planes in 0, 1:
            program = build(path, '-O1', MAIN, *STRICT, *flags,
                            *on(bits, planes))
            numpy.testing.assert_array_equal(classify(x, program), expected)


@needs_compiler
@pytest.mark.slow
@on_each_word
def test_sanitizers_find_nothing(bits, tmp_path):
    flags = sanitizer_flags(tmp_path)
    for sizes in (1000, 40, 45, 10), (33, 300, 31, 40, 1, 4), (1, 1, 2):
        net = make_net(sizes)
        path = write(tmp_path, net)
        x = make_images(200, sizes[0])
        for planes in 0, 1:
            program = build(path, MAIN, *flags, *on(bits, planes))
            numpy.testing.assert_array_equal(
                classify(x, program), net.predict(x))


@needs_compiler
def test_equal_logits_give_the_first_class(tmp_path):
    # Pixel 0 decides. Its logits: 1 and 2 are equal and above 0 and 3, or
    # below them, which are equal as well.
    net = PackedNet.from_arrays({
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
    net = PackedNet.from_arrays({
        'l1/W': numpy.ones((4, 6), numpy.float32),
        'l2/W': numpy.ones((3, 4), numpy.float32),
        'bn2/gamma': numpy.zeros(3, numpy.float32),
        'bn2/beta': numpy.array(beta, numpy.float32)})
    x = make_images(5, 6)
    assert set(net.predict(x).tolist()) == {found}
    program = build(write(tmp_path, net), MAIN)
    assert set(classify(x, program).tolist()) == {found}


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
    net = PackedNet.load(str(tmp_path / 'net.npz'))
    assert path.read_bytes() == c_source.write(canonical.fold(net))
