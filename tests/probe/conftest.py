"""Fixtures of the probe's tests."""

import pytest
from trio.testing import MockClock

from tests.support.quick import quick_clock


@pytest.fixture
def clock() -> MockClock:
    """Tests that take it wait on real sockets in next to no time."""
    return quick_clock()
