import re

import pytest

from layers import summary


def numbers(line):
    return [float(n.replace(',', '')) for n in re.findall(r'[\d,.]+', line)]


@pytest.fixture
def lines():
    table = summary.table([784, 1000, 1000, 10])
    return {line.strip('| ').split('  ')[0]: line
            for line in table.splitlines()}


def test_layers_have_their_parameters_and_macs(lines):
    # Name, bits of the input, batch and outputs, 1-bit, 32-bit, kB, MACs.
    assert numbers(lines['l1']) == [
        1, 8, 1, 1000, 784000, 1000, 102, 0, 784000]
    assert numbers(lines['l2']) == [
        2, 1, 1, 1000, 1000000, 1000, 129, 1000000, 0]
    assert numbers(lines['bn3']) == [3, 1, 10, 0, 40, .16, 0, 0]
    assert numbers(lines['Total']) == [
        1794000, 10050, 264.45, 1010000, 784000]


def test_totals_are_compared_with_those_of_float32(lines):
    def total(name):
        return numbers(lines[name].replace(name, ''))

    assert total('Total params') == [1804050]
    assert total('Trainable params') == [1800030]
    assert total('Non-trainable params') == [4020]
    assert total('Model size') == [264.45]
    assert total('Float-32 equivalent') == [7216.2]
    assert total('Compression ratio of memory') == [.0366]
    assert total('Number of MACs') == [1794000]
    assert total('Ratio of MACs that are binary') == [.563]


def test_all_lines_of_a_table_are_of_one_length():
    for sizes in [784, 10], [784, 7, 10], [784, 4096, 4096, 4096, 10]:
        for box in summary.table(sizes).split('\n\n'):
            assert len({len(line) for line in box.splitlines()}) == 1


def test_parameters_are_those_of_the_net():
    import chainer_compat

    from net import MnistMLP
    net = MnistMLP(784, 30, 10)
    line = next(line for line in summary.table([784, 30, 30, 10]).splitlines()
                if 'Trainable' in line)
    assert numbers(line) == [net.count_params()]


def test_convolutions_have_shapes_of_images_and_a_row_for_a_pooling():
    text = summary.table([13 * 11, 5, 6, 7, 3], image_shape=(13, 11),
                         pool_sizes=[1, 2])
    rows = {line.strip('| ').split('  ')[0]: line
            for line in text.splitlines()}
    for row in (
            r'l1 +8 +\(-1, 5, 13, 11\) +45 +5 +0.03 +0 +6,435',
            r'bn1 +- +\(-1, 5, 13, 11\) +0 +20 +0.08 +0 +0',
            r'l2 +1 +\(-1, 6, 13, 11\) +270 +6 +0.06 +38,610 +0',
            r'pool2 +- +\(-1, 6, 6, 5\) +0 +0 +0.00 +0 +0',
            r'bn2 +- +\(-1, 6, 6, 5\) +0 +24 +0.10 +0 +0',
            r'l3 +1 +\(-1, 7\) +1,260 +7 +0.19 +1,260 +0',
            r'l4 +1 +\(-1, 3\) +21 +3 +0.01 +21 +0',
            r'Total +1,596 +105 +0.62 +39,891 +6,435'):
        assert re.search(row, rows[row.split()[0]]), row
    assert 'pool1' not in rows
    assert len({len(line) for line in text.split('\n\n')[0].splitlines()}) == 1


def test_parameters_of_convolutions_are_those_of_the_net():
    import chainer_compat

    from net import MnistConvNet
    from recipes import build, choices
    chosen = {**choices.RECIPES['conv'], 'channels': 3, 'blocks': 3,
              'layers': 2, 'unit': 9, 'weight_quantizer': 'linear:4'}
    text = build.summary(chosen, 500, 10, (25, 20))
    net = MnistConvNet((25, 20), 3, 9, 10, n_blocks=3, n_hidden=2)
    line = next(line for line in text.splitlines() if 'Trainable' in line)
    assert numbers(line) == [net.count_params()]
    assert text.count('pool') == 3
    assert '# 4-bit' in text


def test_weights_of_more_bits_take_more_memory_and_are_not_binary():
    text = summary.table([784, 100, 10], weight_bits=4, activation_bits=2)
    assert '# 4-bit' in text
    assert re.search(r'l1 +8 +\(-1, 100\) +78,400 +100 +39.60 +0 +78,400',
                     text)
    assert re.search(r'l2 +2 +\(-1, 10\) +1,000 +10 +0.54 +0 +1,000', text)
    assert re.search(r'that are binary +0.0000', text)
