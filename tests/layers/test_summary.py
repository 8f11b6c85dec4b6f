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


def test_weights_of_more_bits_take_more_memory_and_are_not_binary():
    text = summary.table([784, 100, 10], weight_bits=4, activation_bits=2)
    assert '# 4-bit' in text
    assert re.search(r'l1 +8 +\(-1, 100\) +78,400 +100 +39.60 +0 +78,400',
                     text)
    assert re.search(r'l2 +2 +\(-1, 10\) +1,000 +10 +0.54 +0 +1,000', text)
    assert re.search(r'that are binary +0.0000', text)
