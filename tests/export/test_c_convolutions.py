"""net.c of nets with convolutions, compiled and run."""
import subprocess

import numpy
import pytest

from export import c_source, canonical
from tests.helpers.c_programs import (
    CC, MAIN, STRICT, build, classify, figures, make_images,
    make_packed_conv_net, needs, pattern_flags, sanitizer_flags, size_of,
    stack_of, word, write)

needs_compiler = pytest.mark.skipif(CC is None, reason='needs a C compiler')

# Odd sizes, channels that leave bits of a word over and that do not, an image
# of which pooling leaves one pixel, two and no hidden layers.
NETS = [((28, 28), 8, 2, 1, 'unit'), ((13, 11), 5, 1, 2, 'symmetric'),
        ((9, 11), 40, 3, 1, 'unit'), ((4, 5), 32, 2, 1, 'symmetric'),
        ((6, 2), 64, 1, 0, 'unit')]
on_each_net = pytest.mark.parametrize('kind', NETS, ids=str)


@needs_compiler
@on_each_net
def test_images_get_the_packed_nets_class(kind, tmp_path):
    net = make_packed_conv_net(*kind)
    path = write(tmp_path, net)
    x = make_images(200, net.sizes[0])
    expected = net.predict(x)
    assert (numpy.bincount(expected) > 3).sum() >= 2
    flags = pattern_flags(tmp_path)
    for bits in c_source.WORDS:
        program = build(path, '-std=c99', '-O1', MAIN, *STRICT, *flags,
                        *word(bits))
        numpy.testing.assert_array_equal(classify(x, program), expected)


@needs_compiler
@pytest.mark.slow
@on_each_net
def test_sanitizers_find_nothing(kind, tmp_path):
    flags = sanitizer_flags(tmp_path)
    net = make_packed_conv_net(*kind)
    path = write(tmp_path, net)
    x = make_images(50, net.sizes[0])
    for bits in c_source.WORDS:
        program = build(path, MAIN, *flags, *word(bits))
        numpy.testing.assert_array_equal(classify(x, program), net.predict(x))


@needs('gcc', 'size')
@pytest.mark.parametrize('kind', NETS[:2], ids=str)
@pytest.mark.parametrize('optimize', ['-Os', '-O2'])
def test_it_needs_what_it_says(kind, optimize, tmp_path):
    path = write(tmp_path, make_packed_conv_net(*kind))
    table = figures(path)
    assert list(table) == [
        'QUANTIZED_NET_WORD', 'flash for the tables', 'stack']
    for i, bits in enumerate(c_source.WORDS):
        build(path, optimize, '-c', '-fstack-usage', *word(bits),
              '-fno-asynchronous-unwind-tables', compiler='gcc', name='net.o')
        text, data, bss = size_of('size', tmp_path)
        flash = table['flash for the tables'][i]
        assert 0 < text - flash <= c_source.CONVOLUTIONS.code
        assert (data, bss) == (0, 0)
        # What lies in the red zone is in no frame.
        assert -128 <= stack_of(tmp_path) - table['stack'][i] <= (
            c_source.CONVOLUTIONS.stack)


@needs('gcc')
def test_it_is_cpp_as_well(tmp_path):
    path = write(tmp_path, make_packed_conv_net(*NETS[1]))
    if subprocess.run(['g++', '--version'], capture_output=True).returncode:
        pytest.skip('needs g++')
    build(path, '-xc++', '-c', '-Wall', '-Wextra', '-Werror', compiler='gcc',
          name='net.o')


def test_the_comment_tells_the_layers():
    net = make_packed_conv_net(*NETS[0])
    text = c_source.write(canonical.fold(net)).decode()
    assert ('784 pixels, convolutions of 8 and 8 and 16 and 16 channels, 40 '
            'hidden') in text
    assert 'PLANES' not in text
    assert max(map(len, text.split('\n'))) <= 100
