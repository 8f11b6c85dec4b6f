import pytest

from data import description
from data.description import Description
from system.errors import InputError

KNOWN = Description((2, 3), ('cat', 'a dog'), 'plain')


def test_a_description_comes_back_from_json():
    assert description.parse(KNOWN.to_json(), 6, 2) == KNOWN


@pytest.mark.parametrize(('sizes', 'expected'), [
    ((784, 10), description.DIGITS),
    ((9, 2), Description((3, 3), ('0', '1'), 'plain')),
    ((5, 2), Description((1, 5), ('0', '1'), 'plain')),
])
def test_what_an_older_file_does_not_say_is_guessed(sizes, expected):
    assert description.parse(None, *sizes) == expected


@pytest.mark.parametrize(('change', 'match'), [
    ({'shape': [3, 3]}, r'shape is \[3, 3\], the net takes 6'),
    ({'shape': [2.0, 3]}, 'shape is'),
    ({'shape': [-2, -3]}, 'shape is'),
    ({'shape': [True, 6]}, 'shape is'),
    ({'shape': None}, 'shape is None'),
    ({'shape': [1] * 10 ** 5}, r'shape is .{60}\.\.\., the net'),
    ({'classes': ['a']}, 'not 2 names'),
    ({'classes': ['a', '']}, 'not 2 names'),
    ({'classes': ['a', 'b\n']}, 'not 2 names'),
    ({'classes': ['a', 5]}, 'not 2 names'),
    ({'classes': 'ab'}, 'not 2 names'),
    ({'preparation': 'plane'}, "preparation is 'plane'"),
    ({'preparation': []}, r'preparation is \[\]'),
])
def test_a_wrong_description_is_refused(change, match):
    with pytest.raises(InputError, match=match):
        description.parse({**KNOWN.to_json(), **change}, 6, 2)


def test_what_is_no_dictionary_is_refused():
    with pytest.raises(InputError, match='no dictionary'):
        description.parse([], 6, 2)
