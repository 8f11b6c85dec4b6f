import json
import os

import pytest

from tests.helpers.fuzzing import CASES


@pytest.fixture(scope='session', autouse=True)
def _counts():
    yield
    if 'FUZZ_COUNTS' in os.environ:
        with open(os.environ['FUZZ_COUNTS'], 'w') as f:
            json.dump({**CASES, 'all': sum(CASES.values())}, f)
