import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.caller.reorder import MAX_HELD, MODULUS, ReorderBuffer, ReorderStatistics

MAX_MS = 80.0


def buffer(first: int | None = 1, max_ms: float = MAX_MS) -> ReorderBuffer[int]:
    return ReorderBuffer(max_ms, first)


def test_what_comes_in_order_goes_on_at_once() -> None:
    subject = buffer()

    assert [subject.push(n, n, 0.0).ready for n in (1, 2, 3)] == [[1], [2], [3]]
    assert subject.next_deadline is None
    assert subject.statistics() == ReorderStatistics(reordered=0, missing=0)


def test_a_turn_is_taken_only_by_the_next_message_while_nothing_is_held() -> None:
    buffer = ReorderBuffer[int](80, first=MODULUS - 1)

    assert [buffer.take_turn(seq) for seq in (5, MODULUS - 2, MODULUS - 1, 0, 0)] == [False, False, True, True, False]
    assert buffer.push(2, 2, now=0).ready == []
    assert not buffer.take_turn(1), "2 waits behind it"
    assert buffer.push(1, 1, now=0).ready == [1, 2]
    assert not ReorderBuffer[int](80).take_turn(0), "nobody knows yet what comes first"


def test_what_comes_too_early_waits_for_what_is_missing() -> None:
    subject = buffer()

    assert [subject.push(n, n, 0.0).ready for n in (3, 2, 5, 1)] == [[], [], [], [1, 2, 3]]
    assert subject.statistics() == ReorderStatistics(reordered=2, missing=0)


def test_a_gap_is_given_up_when_the_time_of_the_first_message_behind_it_is_over() -> None:
    subject = buffer()
    subject.push(2, 2, 10.0)
    subject.push(3, 3, 10.05)
    assert subject.next_deadline == pytest.approx(10.08)

    assert subject.expire(10.079) == []
    assert subject.expire(10.08) == [2, 3]
    assert subject.statistics().missing == 1
    assert subject.next_deadline is None


def test_a_later_gap_keeps_its_own_time() -> None:
    subject = buffer()
    subject.push(2, 2, 10.0)
    subject.push(4, 4, 10.05)

    assert subject.expire(10.08) == [2]
    assert subject.next_deadline == pytest.approx(10.13)
    assert subject.push(3, 3, 10.1).ready == [3, 4]


def test_a_message_that_comes_after_the_time_is_over_finds_its_gap_given_up_even_if_nobody_asked_to_expire() -> None:
    subject = buffer()
    subject.push(2, 2, 10.0)

    assert subject.push(1, 1, 10.2) == ([2], "late")
    assert subject.statistics() == ReorderStatistics(reordered=0, missing=1)


def test_late_and_duplicate_are_told_apart() -> None:
    subject = buffer()
    subject.push(1, 1, 0.0)
    subject.push(3, 3, 0.0)
    assert subject.push(3, 3, 0.0) == ([], "duplicate")
    subject.expire(1.0)
    dropped = {0: "late", 1: "duplicate", 2: "late", 3: "duplicate"}
    for n, why in dropped.items():
        assert subject.push(n, n, 1.0) == ([], why)
    assert subject.push(2, 2, 1.0) == ([], "duplicate"), "it has come by now"

    assert subject.statistics() == ReorderStatistics(reordered=0, missing=1)


def test_without_a_first_number_the_sequence_begins_with_what_comes_first() -> None:
    subject = buffer(first=None)

    assert [subject.push(n, n, 0.0) for n in (700, 701, 699)] == [([700], None), ([701], None), ([], "late")]


def test_numbers_wrap_around() -> None:
    subject = buffer(first=MODULUS - 2)

    assert [subject.push(n, n, 0.0).ready for n in (MODULUS - 2, 0, 1, MODULUS - 1)] == [
        [MODULUS - 2],
        [],
        [],
        [MODULUS - 1, 0, 1],
    ]
    assert subject.push(MODULUS - 1, 0, 0.0) == ([], "duplicate")


def test_with_no_time_to_wait_nothing_is_held() -> None:
    subject = buffer(max_ms=0)

    assert [subject.push(n, n, 1.0).ready for n in (2, 1, 4)] == [[2], [], [4]]


def test_a_flood_gives_up_the_first_gap_instead_of_growing() -> None:
    subject = buffer()
    ready: list[int] = []
    for n in range(2, 2 * MAX_HELD):
        ready += subject.push(n, n, 0.0).ready
        assert n - 1 - len(ready) <= MAX_HELD

    assert ready == list(range(2, 2 * MAX_HELD))


def test_a_wild_jump_costs_neither_time_nor_memory() -> None:
    subject = buffer()
    subject.push(2**31 - 1, 7, 0.0)

    assert subject.expire(1.0) == [7]
    assert subject.statistics().missing == 2**31 - 2


def test_a_jump_costs_no_more_for_the_jumps_before_it_and_is_no_loop_over_what_is_missing() -> None:
    subject = buffer(max_ms=0)
    lines = 0

    def count(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        for n in range(100):
            subject.push(2**20 * (n + 1), n, 0.0)
    finally:
        sys.settrace(before)

    assert lines < 100 * 100


def test_a_late_message_is_known_as_one_behind_any_number_of_gaps() -> None:
    subject = buffer(max_ms=0)
    for n in range(2, 1000, 3):
        subject.push(n, n, 0.0)

    assert {subject.push(n, n, 0.0).dropped for n in range(3, 999, 3)} == {"late"}
    assert {subject.push(n, n, 0.0).dropped for n in range(3, 999, 3)} == {"duplicate"}


def test_a_new_sequence_gives_out_what_was_held_of_the_old_one_and_counts_on() -> None:
    subject = buffer()
    for n in (1, 3, 5):
        subject.push(n, n, 0.0)

    assert subject.restart(first=1) == [3, 5]
    assert [subject.push(n, 10 * n, 0.0).ready for n in (2, 1)] == [[], [10, 20]]
    assert subject.statistics() == ReorderStatistics(reordered=1, missing=2)


def test_an_unused_sequence_can_be_restarted() -> None:
    assert buffer(first=None).restart() == []


ARRIVALS = st.lists(st.one_of(st.none(), st.integers(0, 250), st.tuples(st.integers(0, 250), st.integers(0, 250))))


@given(st.sampled_from([1, 0, MODULUS - 3, MODULUS - 1, 2**31 - 2]), ARRIVALS)
def test_any_network(first: int, delays: list[int | tuple[int, int] | None]) -> None:
    """Messages sent every 20 ms, each lost, delayed, or sent twice: all that arrive within the bound come out, once,
    in order; what does not is counted."""
    arrivals: list[tuple[float, int]] = []
    for n, delay in enumerate(delays):
        each = delay if isinstance(delay, tuple) else () if delay is None else (delay,)
        arrivals += [(20.0 * n + ms, n) for ms in each]
    arrivals.sort(key=lambda arrival: arrival[0])
    max_ms = 79.5
    subject = buffer(first, max_ms)
    out: list[int] = []
    dropped = 0
    for at_ms, n in arrivals:
        while (deadline := subject.next_deadline) is not None and deadline <= at_ms / 1000:
            out += subject.expire(deadline)
        pushed = subject.push((first + n) % MODULUS, n, at_ms / 1000)
        out += pushed.ready
        dropped += pushed.dropped is not None
    while (deadline := subject.next_deadline) is not None:
        out += subject.expire(deadline)

    came_at: dict[int, float] = {}
    for at_ms, n in arrivals:
        came_at.setdefault(n, at_ms)
    in_time = [
        n for n, at in came_at.items() if all(at <= other_at + max_ms for m, other_at in came_at.items() if m > n)
    ]
    assert out == sorted(in_time)
    assert len(arrivals) == len(out) + dropped
    assert subject.statistics().missing == max(out, default=-1) + 1 - len(out)
