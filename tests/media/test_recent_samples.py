"""The newest samples of a stream, however it was cut."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from relay.daemon.garbage import resident_bytes
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


def test_it_stays_where_it_is_in_memory() -> None:
    recent = RecentSamples(KEPT)
    recent.push(STREAM[:10])
    base = recent.samples.base

    for at in range(10, 5 * KEPT, 10):
        recent.push(STREAM[at : at + 10])

    assert recent.samples.base is base


def test_what_nobody_keeps_is_the_systems_again() -> None:
    """And not the C library's, which has something in use behind each of them."""
    before, many, between = resident_bytes(), list[RecentSamples](), list[bytearray]()
    for _ in range(200):
        many.append(RecentSamples(len(STREAM)))
        many[-1].push(STREAM)
        between.append(bytearray(1000))
    assert resident_bytes() > before + 190 * STREAM.nbytes

    many.clear()
    assert resident_bytes() < before + 20 * STREAM.nbytes


def test_a_long_push_takes_room_for_as_long_as_it_is_recent() -> None:
    recent = RecentSamples(KEPT)
    recent.push(STREAM[: 100 * KEPT])
    for at in range(0, 100 * KEPT, 20):
        recent.push(STREAM[at : at + 20])

    base = recent.samples.base
    assert base is not None
    assert len(base) == KEPT + KEPT // SPARE_PART
