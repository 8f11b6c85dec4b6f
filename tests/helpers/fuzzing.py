"""What the tests in fuzz/ share.

FUZZ_EXAMPLES sets the number of examples of each property, FUZZ_COUNTS names
a file that the numbers of cases are written to.
"""
import collections
import os

import hypothesis
from hypothesis import strategies as st

N_EXAMPLES = int(os.environ.get('FUZZ_EXAMPLES', 25))
CASES = collections.Counter()

examples = hypothesis.settings(
    max_examples=N_EXAMPLES, deadline=None, database=None,
    derandomize='FUZZ_EXAMPLES' not in os.environ,
    suppress_health_check=list(hypothesis.HealthCheck))


def refusal(error, function, *args, **kwargs):
    """Returns the message of the one error that a call may raise, or None."""
    try:
        function(*args, **kwargs)
    except error as e:
        return ' '.join(str(e).split())
    return None


# Places in a file, from 0 to 1, and the bits that change there.
flips = st.lists(st.tuples(st.floats(0, 1, exclude_max=True),
                           st.integers(1, 255)), min_size=1, max_size=4)


def flip(data, changes):
    """Returns data with changed bits."""
    data = bytearray(data)
    for place, bits in changes:
        data[int(place * len(data))] ^= bits
    return bytes(data)
