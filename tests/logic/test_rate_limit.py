"""Token buckets: the burst, then the rate, each key on its own, and no more keys than allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.rate_limit import ROUNDING_S, RateLimit


def test_a_burst_then_the_rate() -> None:
    limit = RateLimit(per_s=50, burst=100)

    assert [limit.allow("a", 10.0) for _ in range(101)] == [True] * 100 + [False]
    assert [limit.allow("a", 10.1) for _ in range(6)] == [True] * 5 + [False]


@given(st.floats(0, 1e7), st.sampled_from([(10 / 3600, 10.0), (7200 / 3600, 7200.0), (0.3, 7.0)]))
def test_a_whole_burst_may_come_at_once_whatever_the_clock_says(now: float, bounds: tuple[float, float]) -> None:
    per_s, burst = bounds
    limit = RateLimit(per_s=per_s, burst=burst)

    assert limit.wait_s("a", now, burst) == 0
    assert limit.allow("a", now, burst)
    assert limit.wait_s("a", now, burst) > 0


def test_keys_do_not_share() -> None:
    limit = RateLimit(per_s=1, burst=1)

    assert limit.allow("a", 0.0)
    assert not limit.allow("a", 0.5)
    assert limit.allow("b", 0.5)


def test_an_idle_key_is_forgotten_and_the_number_of_keys_is_bounded() -> None:
    limit = RateLimit(per_s=1, burst=2, max_keys=3)
    for key in "abcd":
        limit.allow(key, 0.0)
    assert len(limit) == 3

    limit.allow("e", 5.0)
    assert len(limit) == 1


def test_how_long_to_wait_is_exact() -> None:
    limit = RateLimit(per_s=4, burst=2)
    assert limit.allow("a", 0.0, 2)
    wait_s = limit.wait_s("a", 0.0)

    assert not limit.allow("a", wait_s - 0.01)
    assert limit.allow("a", wait_s + 0.001)
    assert limit.wait_s("a", 0.0, 3) == float("inf")


@given(st.lists(st.floats(0, 0.5), max_size=200))
def test_over_any_stretch_no_more_than_burst_and_rate(pauses_s: list[float]) -> None:
    limit, now = RateLimit(per_s=10, burst=5), 0.0
    allowed_at = []
    for pause_s in pauses_s:
        now += pause_s
        if limit.allow("a", now):
            allowed_at.append(now)

    for first in range(len(allowed_at)):
        for last in range(first, len(allowed_at)):
            assert last - first + 1 <= 5 + 10 * (allowed_at[last] - allowed_at[first] + 2 * ROUNDING_S)


@pytest.mark.parametrize(("per_s", "burst", "left", "full_s"), [(8, 16, 14, 0.25), (1, 2, 0, 2.0), (0.5, 5, 3, 4.0)])
def test_what_was_used_stays_used_under_other_bounds(per_s: float, burst: int, left: int, full_s: float) -> None:
    limit = RateLimit(per_s=1, burst=2)
    used = [limit.allow("a", 0.0) for _ in range(3)]
    limit.change(0.0, per_s=per_s, burst=burst)

    assert used == [True, True, False]
    assert limit.wait_s("a", 0.0, burst) == pytest.approx(full_s)
    assert [limit.allow("a", 0.0) for _ in range(left + 1)] == [True] * left + [False]
    assert limit.allow("b", 0.0)
