"""The silence that belongs before each message of a leg whose messages carry timestamps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.media.gaps import MediaClock, Placement


def clock_at(end_ms: float) -> MediaClock:
    """A clock whose media ends at `end_ms`."""
    clock = MediaClock()
    clock.place(end_ms - 20, 20)
    return clock


@pytest.mark.parametrize("origin_ms", [0, 5, 123_456, 10**12])
def test_the_first_message_sets_the_origin(origin_ms: int) -> None:
    clock = MediaClock()

    assert clock.place(origin_ms, 20) == Placement()
    assert clock.place(origin_ms + 20, 20) == Placement()


@pytest.mark.parametrize(
    ("hole_ms", "fill_ms"),
    [
        (0, 0),
        (20, 0),
        (40, 0),
        (59, 0),
        (60, 60),
        (69, 60),
        (71, 80),
        (99, 100),
        (100, 100),
        (500, 500),
        (1000, 1000),
        (1001, 1000),
        (2500, 1000),
        (60_000, 1000),
    ],
)
def test_holes_from_60_ms_are_filled_with_whole_frames_up_to_a_second_each(hole_ms: int, fill_ms: int) -> None:
    clock = clock_at(1000)

    assert clock.place(1000 + hole_ms, 20) == Placement(fill_ms)
    assert clock.place(1020 + hole_ms, 20) == Placement()
    assert clock.place(1040 + 2 * hole_ms, 20) == Placement(fill_ms)


@pytest.mark.parametrize("timestamp_ms", [980, 979, 500, 0])
def test_a_message_wholly_in_the_past_is_late_and_does_not_move_the_clock(timestamp_ms: int) -> None:
    """980 repeats the timestamp of the message before: a duplicate."""
    clock = clock_at(1000)

    assert clock.place(timestamp_ms, 20) == Placement(late=True)
    assert clock.place(1000, 20) == Placement()


def test_a_message_partly_in_the_past_is_kept() -> None:
    assert clock_at(1000).place(981, 20) == Placement()


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=500))
def test_jitter_of_the_timestamps_never_adds_up(jitter_ms: list[int]) -> None:
    clock = MediaClock()

    placements = [clock.place(index * 20 + jitter, 20) for index, jitter in enumerate(jitter_ms)]

    assert set(placements) == {Placement()}


def test_a_clock_that_runs_1_percent_fast_opens_no_gap() -> None:
    clock = MediaClock()

    assert {clock.place(index * 20.2, 20) for index in range(50_000)} == {Placement()}


def test_lost_single_frames_are_left_out_however_many() -> None:
    clock = MediaClock()

    assert {clock.place(index * 20, 20) for index in range(3000) if index % 3} == {Placement()}


def test_silence_that_was_invented_meanwhile_is_not_inserted_again() -> None:
    clock = clock_at(1000)
    for _ in range(20):
        clock.note_invented(20)

    assert clock.place(1500, 20) == Placement(fill_ms=100)


def test_silence_invented_for_all_of_the_hole_leaves_nothing_to_fill() -> None:
    clock = clock_at(1000)
    clock.note_invented(460)

    assert clock.place(1500, 20) == Placement()


def test_media_that_was_only_delayed_is_kept_after_silence_was_invented() -> None:
    """The timestamps go on without a hole: nothing is late, and later gaps are filled in full."""
    clock = clock_at(1000)
    clock.note_invented(300)

    assert [clock.place(1000 + 20 * index, 20) for index in range(15)] == [Placement()] * 15
    assert clock.place(1500, 20) == Placement(fill_ms=200)


def test_silence_invented_before_the_first_message_fills_no_later_hole() -> None:
    clock = MediaClock()
    clock.note_invented(200)
    clock.place(0, 20)

    assert clock.place(220, 20) == Placement(fill_ms=200)


def test_a_late_message_does_not_use_up_what_was_invented() -> None:
    clock = clock_at(1000)
    clock.note_invented(200)
    clock.place(900, 20)

    assert clock.place(1200, 20) == Placement()


@pytest.mark.parametrize(
    ("timestamp_ms", "fill_ms"), [(4 * 3_600_000, 1000), (61_021, 1000), (-10, 0), (-(10**9), 0), (10**15, 1000)]
)
def test_after_an_absurd_jump_time_goes_on_from_there_with_one_bounded_fill(timestamp_ms: int, fill_ms: int) -> None:
    clock = clock_at(1020)

    assert clock.place(timestamp_ms, 20) == Placement(fill_ms)
    assert clock.place(timestamp_ms + 20, 20) == Placement()
    assert clock.place(timestamp_ms + 140, 20) == Placement(100)


messages = st.lists(st.tuples(st.integers(-3000, 100_000), st.integers(1, 200)), max_size=60)


@given(messages, st.lists(st.integers(0, 400), max_size=60))
def test_whatever_comes_the_fill_is_bounded_whole_and_never_more_than_missing(
    placed: list[tuple[int, int]], invented_ms: list[int]
) -> None:
    clock = MediaClock()
    end_ms: int | None = None
    for index, (timestamp_ms, duration_ms) in enumerate(placed):
        credit_ms = invented_ms[index] if index < len(invented_ms) else 0
        clock.note_invented(credit_ms)
        placement = clock.place(timestamp_ms, duration_ms)

        assert 0 <= placement.fill_ms <= 1000
        assert placement.fill_ms % 20 == 0
        if placement.fill_ms:
            assert end_ms is not None
            assert placement.fill_ms <= timestamp_ms - end_ms - credit_ms + 10
        if placement.late:
            assert end_ms is not None
            assert timestamp_ms + duration_ms <= end_ms
            assert placement == Placement(late=True)
        else:
            end_ms = timestamp_ms + duration_ms


@given(st.sets(st.integers(1, 400)), st.integers(0, 10**6))
def test_media_with_pieces_lost_keeps_its_length_but_for_short_holes(lost: set[int], origin_ms: int) -> None:
    """What goes out is as long as what was sent, less the holes under 60 ms and what is over the bound."""
    clock = MediaClock()
    out_ms = short_ms = over_ms = hole_ms = 0
    for index in range(450):
        if index in lost:
            hole_ms += 20
            continue
        placement = clock.place(origin_ms + index * 20, 20)
        short_ms += hole_ms if hole_ms < 60 else 0
        over_ms += max(0, hole_ms - 1000)
        out_ms += placement.fill_ms + 20
        hole_ms = 0

    assert out_ms == 450 * 20 - short_ms - over_ms
