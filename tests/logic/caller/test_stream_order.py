"""The order of a stream whose audio and other messages share one run of numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.caller.stream_order import AHEAD_MAX, InOrder, StreamOrder

MAX_MS = 80.0


def order(first: int = 2) -> StreamOrder[int]:
    return StreamOrder(MAX_MS, first)


def audio(subject: StreamOrder[int], number: int, now: float = 0.0) -> list[int]:
    return items(subject.audio(number, number * 20, number, now).ready)


def items(ready: list[InOrder[int]]) -> list[int]:
    return [item for item, _ in ready]


def test_another_message_fills_its_place_and_never_waits() -> None:
    subject = order()
    assert audio(subject, 2) == [2]
    assert audio(subject, 4) == []
    assert subject.other(3, 0.0) == [(4, 0)]
    assert subject.other(3, 0.0) == [], "a number that passed frees nothing"
    assert subject.statistics().missing == 0


@pytest.mark.parametrize("number", [1, 5, 299, 10_000, -(10**30)])
def test_numbers_that_begin_anew_lose_no_audio(number: int) -> None:
    """Whatever a peer does to its numbers, newer audio is heard."""
    subject = order()
    for good in range(2, 300):
        audio(subject, good)
    heard = [subject.audio(number + n, (300 + n) * 20, 300 + n, 0.0) for n in range(5)]
    assert [item for pushed in heard for item, _ in pushed.ready] == [300, 301, 302, 303, 304]
    assert {pushed.dropped for pushed in heard} == {None}


def test_all_audio_under_one_number_is_heard() -> None:
    subject = order()
    assert [items(subject.audio(2, n * 20, n, 0.0).ready) for n in range(5)] == [[0], [1], [2], [3], [4]]


def test_old_audio_under_an_old_number_is_dropped() -> None:
    subject = order()
    for number in (2, 3, 4):
        audio(subject, number)
    assert subject.audio(3, 60, 3, 0.0) == ([], "duplicate")


def test_what_waits_at_the_end_is_given_out() -> None:
    subject = order()
    assert audio(subject, 4) == audio(subject, 6) == []
    assert subject.end() == [(4, 2), (6, 1)]


def test_missing_messages_are_counted_before_the_audio_behind_them_whatever_lies_between() -> None:
    """Numbers 3, 4 and 6 never come; 5 is a mark."""
    subject = order()
    assert audio(subject, 2) == [2]
    assert subject.other(5, 0.0) == []
    assert subject.audio(7, 140, 7, 0.0).ready == []
    assert subject.expire(1.0) == [(7, 3)]
    assert subject.audio(8, 160, 8, 1.0).ready == [(8, 0)]


def test_where_numbers_begin_anew_nothing_is_missing() -> None:
    subject = order()
    audio(subject, 2)

    assert subject.audio(90_000, 60, 3, 0.0).ready == [(3, 0)]


@given(
    st.lists(st.sampled_from(["audio", "other"]), min_size=1, max_size=60),
    st.lists(st.integers(0, 3), min_size=60, max_size=60),
)
def test_any_order_within_the_time_comes_out_in_order_and_whole(kinds: list[str], delays: list[int]) -> None:
    """Each message up to 60 ms late, in 20 ms steps: less than is waited for."""
    arrivals = sorted(range(len(kinds)), key=lambda n: (n + delays[n], delays[n]))
    subject, heard = order(0), list[InOrder[int]]()
    for n in arrivals:
        now = (n + delays[n]) * 0.02
        heard += subject.expire(now)
        if kinds[n] == "audio":
            pushed = subject.audio(n, n * 20, n, now)
            assert pushed.dropped is None
            heard += pushed.ready
        else:
            heard += subject.other(n, now)
    heard += subject.end()
    assert heard == [(n, 0) for n, kind in enumerate(kinds) if kind == "audio"]


@given(st.lists(st.tuples(st.integers(-5, 2 * AHEAD_MAX), st.integers(0, 100)), max_size=80))
def test_whatever_comes_nothing_is_given_out_twice_or_kept_too_long(messages: list[tuple[int, int]]) -> None:
    subject, heard, dropped = order(), list[InOrder[int]](), 0
    for index, (number, timestamp) in enumerate(messages):
        now = index * 0.02
        pushed = subject.audio(number, timestamp * 20, index, now)
        dropped += pushed.dropped is not None
        heard += pushed.ready
        heard += subject.expire(now)
        deadline = subject.deadline
        assert deadline is None or now < deadline <= now + MAX_MS / 1000
    heard += subject.end()
    assert len(heard) == len({item for item, _ in heard})
    assert len(heard) + dropped == len(messages)
