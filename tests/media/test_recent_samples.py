"""The newest samples of a stream, however it was cut."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from relay.media.recent_samples import SPARE_PART, RecentSamples

KEPT = 100
STREAM = np.arange(20_000, dtype=np.int16)


@given(st.lists(st.integers(0, 3 * KEPT), max_size=60))
def test_it_has_the_last_push_and_as_much_before_it_as_it_should_keep(sizes: list[int]) -> None:
    recent, came = RecentSamples(KEPT), 0
    for size in sizes:
        recent.push(STREAM[came : came + size])
        came += size
        samples = recent.samples

        assert samples.tolist() == STREAM[came - len(samples) : came].tolist()
        assert len(samples) >= min(came, KEPT + size)


@given(st.lists(st.integers(0, KEPT // SPARE_PART), max_size=60))
def test_with_small_pushes_it_has_no_more_than_a_quarter_beyond_that(sizes: list[int]) -> None:
    recent = RecentSamples(KEPT)
    for size in sizes:
        recent.push(STREAM[:size])

        assert len(recent.samples) <= KEPT + KEPT // SPARE_PART


def test_what_was_seen_stays_when_more_is_pushed() -> None:
    recent = RecentSamples(KEPT)
    recent.push(STREAM[:KEPT])
    seen = recent.samples

    for at in range(KEPT, 5 * KEPT, 10):
        recent.push(STREAM[at : at + 10])

    assert seen.tolist() == STREAM[:KEPT].tolist()


def test_a_long_push_takes_room_for_as_long_as_it_is_recent() -> None:
    recent = RecentSamples(KEPT)
    recent.push(STREAM[: 100 * KEPT])
    for at in range(0, 100 * KEPT, 20):
        recent.push(STREAM[at : at + 20])

    base = recent.samples.base
    assert base is not None
    assert len(base) == KEPT + KEPT // SPARE_PART
