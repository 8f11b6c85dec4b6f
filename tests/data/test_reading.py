import argparse

import pytest

from data import reading
from data.description import DIGITS, Description, parse
from data.reading import Reading
from system.errors import InputError


def parse_flags(*arguments):
    parser = argparse.ArgumentParser()
    reading.add_flags(parser)
    return reading.from_args(parser.parse_args(arguments))


def test_what_no_flag_says_is_not_said():
    assert parse_flags() == reading.DEFAULT == Reading()


def test_each_flag_is_an_attribute():
    assert parse_flags(
        '--plain', '--size', '30x40', '--no-transposed', '--test-share', '.3',
        '--split-seed', '4') == Reading(False, .3, 4, True, (30, 40))
    assert parse_flags('--size', '7', '--no-plain', '--transposed') == (
        Reading(True, None, None, False, (7, 7)))


@pytest.mark.parametrize('text', [
    '0', '513', '-1', '1x', 'x1', '1x2x3', '1.5', '', '0x5', '5x0', 'ax5',
    '99999', '٣', '1 x 2'])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match='HEIGHTxWIDTH'):
        reading.size(text)


@pytest.mark.parametrize(('text', 'size'), [
    ('1', (1, 1)), ('512X1', (512, 1)), ('028', (28, 28))])
def test_a_size_is_one_number_or_two(text, size):
    assert reading.size(text) == size


@pytest.mark.parametrize('how', [
    Reading(), Reading(transposed=True), Reading(test_share=.25,
                                                 split_seed=0)])
@pytest.mark.parametrize('background', [0, 1, 255])
def test_what_is_recorded_comes_back(how, background):
    images = Description((28, 28), ('a', 'b'), 'plain', background, how)
    value = images.to_json()
    assert parse(value, 784, 2) == images
    # Older versions had these alone.
    assert ({'background', 'reading'} <= value.keys()) == (
        how != Reading() and background > 0)


@pytest.mark.parametrize('change', [
    {'background': -1}, {'background': 256}, {'background': 1.},
    {'background': True}, {'background': None}, {'reading': None},
    {'reading': []}, {'reading': {'transposed': 1}},
    {'reading': {'transposed': False}}, {'reading': {'other': 1}},
    {'reading': {'test_share': 1}}, {'reading': {'test_share': 0.}},
    {'reading': {'test_share': float('nan')}},
    {'reading': {'split_seed': -1}}, {'reading': {'split_seed': 1 << 32}},
    {'reading': {'plain': True}}, {'classes': ['a'] * 10},
])
def test_a_wrong_record_is_refused(change):
    with pytest.raises(InputError, match='images: '):
        parse({**DIGITS.to_json(), **change}, 784, 10)


def test_digits_are_of_one_size():
    value = {**DIGITS.to_json(), 'shape': [14, 56]}
    with pytest.raises(InputError, match='of digits of 28 x 28 pixels'):
        parse(value, 784, 10)
