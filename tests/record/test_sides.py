"""Where each side of a call is on its time line: drops, late audio, clocks that differ, cuts, and lost streams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from relay.record.entries import ClearSent, FromCaller, MarkReturned, Timed, ToCaller
from relay.record.sides import CallSides
from tests.support.recordings_of_calls import FRAME, attached, call_of, ended, sent, spoken, told


def starts(sides: CallSides) -> list[float]:
    return [round(frame.start_ms, 3) for frame in sides.said]


def heard(sides: CallSides) -> list[tuple[float, float]]:
    return [(round(frame.start_ms, 3), round(frame.end_ms, 3)) for frame in sides.heard]


def test_what_the_caller_said_begins_where_it_was_spoken_and_leaves_out_nothing() -> None:
    sides = CallSides(call_of(attached(5.0), *spoken(5.1, 4), ended(6.0)))

    assert starts(sides) == [100, 120, 140, 160]
    assert sides.end_ms == pytest.approx(1000)


def test_frames_that_never_came_leave_their_time_free() -> None:
    frames = spoken(0.0, 100)
    sides = CallSides(call_of(attached(), *frames[:10], *frames[13:], ended(2.0)))

    assert starts(sides) == [n * 20 for n in range(100) if n not in {10, 11, 12}]


@given(st.lists(st.floats(0, 0.8), min_size=150, max_size=150))
def test_late_frames_are_where_they_were_spoken(late_s: list[float]) -> None:
    """Twilio's stamps say where that is. In any ten seconds some frame comes as soon as it can."""
    late_s[0] = 0.0
    arrivals = [replace(it, at_s=it.at_s + late) for it, late in zip(spoken(0.0, 150), late_s, strict=True)]
    in_order = [replace(it, at_s=max(other.at_s for other in arrivals[: n + 1])) for n, it in enumerate(arrivals)]
    sides = CallSides(call_of(attached(), *in_order, ended(5.0)))

    assert starts(sides) == [n * 20 for n in range(150)]


def test_stamps_that_stand_still_in_a_burst_or_are_rounded_make_no_gaps() -> None:
    frames = [replace(it, stamp_ms=n // 5 * 100 + n % 3) for n, it in enumerate(spoken(0.0, 200))]
    sides = CallSides(call_of(attached(), *frames, ended(4.0)))

    assert max(abs(at - n * 20) for n, at in enumerate(starts(sides))) <= 5


def test_without_stamps_the_times_of_arrival_say_what_is_missing() -> None:
    frames = [replace(it, stamp_ms=None) for it in spoken(0.0, 100)]
    sides = CallSides(call_of(attached(), *frames[:20], *frames[40:], ended(2.0)))

    assert starts(sides)[19:21] == [380, 800]


@pytest.mark.parametrize("drift", [-200e-6, 0.0, 200e-6])
def test_after_an_hour_of_clocks_that_differ_with_drops_both_sides_are_aligned_to_5_ms(drift: float) -> None:
    """The caller hears a click each minute, and an echo of it comes back at once: both are at one place."""
    frames = [
        FromCaller((n + 1) * 0.02 * (1 + drift), n * 20.0, 0, FRAME)
        for n in range(180_000)
        if n % 1000 not in range(7, 19)
    ]
    clicks = [frame.at_s for n, frame in enumerate(frames) if n % 3000 == 2999]
    down = [ToCaller(at - 0.06, 1, n * 20 + 20, True, 0, FRAME) for n, at in enumerate(clicks)]
    marks = [MarkReturned(at, 1, n * 20 + 20) for n, at in enumerate(clicks)]
    sides = CallSides(call_of(attached(), *frames, *down, *marks, ended(3600 * (1 + drift))))
    said = [frame.start_ms for n, frame in enumerate(sides.said) if n % 3000 == 2999]

    assert sides.end_ms == pytest.approx(3_600_000, abs=20)
    assert sides.said[-1].start_ms == pytest.approx(3_600_000 - 20, abs=5)
    assert max(abs(a - b.start_ms) for a, b in zip(said, sides.heard, strict=True)) < 5


def test_frames_are_heard_one_after_the_other_however_early_they_were_sent() -> None:
    sides = CallSides(call_of(attached(), *spoken(0.0, 50), *sent(0.2, 3), *sent(0.9, 1, position_ms=60), ended(1.0)))

    assert heard(sides) == [(200, 220), (220, 240), (240, 260), (900, 920)]


def test_at_a_clear_the_rest_is_not_heard_to_the_sample() -> None:
    entries: list[Timed] = [*spoken(0.0, 50), *sent(0.2, 10), ClearSent(0.2475), *sent(0.4, 1, turn=2, position_ms=200)]
    sides = CallSides(call_of(attached(), *entries, ended(1.0)))

    assert heard(sides) == [(200, 220), (220, 240), (240, 247.5), (400, 420)]


def test_the_marks_say_how_long_all_takes_there_and_back() -> None:
    """The quickest says it: a slow one was held up. One that came back because of the `clear` says nothing else."""
    entries: list[Timed] = [*spoken(0.0, 50), *sent(0.2, 10), *sent(0.6, 5, turn=2, position_ms=200)]
    marks: list[Timed] = [
        MarkReturned(0.4, 1, 100),
        ClearSent(0.35),
        MarkReturned(0.451, 1, 200),
        MarkReturned(0.78, 2, 300),
    ]
    sides = CallSides(call_of(attached(), *entries, *marks, ended(1.0)))

    assert heard(sides)[0] == (280, 300)
    assert heard(sides)[-1] == (760, 780)
    assert heard(sides)[-6] == (420, 430)


def test_what_a_lost_stream_had_not_played_is_not_heard_and_the_next_goes_on_behind_the_time_between() -> None:
    first: list[Timed] = [attached(), *spoken(0.0, 10), *sent(0.1, 10), told(0.2, "caller.lost", error="x")]
    again: list[Timed] = [told(0.71, "caller.reattached", gap_ms=510.0), *spoken(0.7, 10, stamp_ms=900), *sent(0.7, 2)]
    sides = CallSides(call_of(*first, *again, ended(1.0)))

    assert starts(sides) == [*(n * 20 for n in range(10)), *(700 + n * 20 for n in range(10))]
    assert heard(sides) == [*((100 + n * 20, 120 + n * 20) for n in range(5)), (700, 720), (720, 740)]


def test_a_browser_that_changes_its_connection_goes_on_playing() -> None:
    lost = told(0.2, "caller.lost", transport="websocket")
    sides = CallSides(call_of(attached(), *spoken(0.0, 50), *sent(0.1, 10), lost, ended(1.0)))

    assert heard(sides)[-1] == (280, 300)


def test_in_another_process_positions_begin_anew() -> None:
    first: list[Timed] = [attached(), *spoken(0.0, 10), *sent(0.1, 2, position_ms=5000)]
    second: list[Timed] = [attached(0.5), *spoken(0.5, 10), *sent(0.5, 2), MarkReturned(0.57, 1, 40), ended(1.0)]
    sides = CallSides(call_of(*first, *second))

    assert heard(sides)[2:] == [(530, 550), (550, 570)]


def test_a_call_without_a_caller_has_sides_all_the_same() -> None:
    sides = CallSides(call_of(told(0.0, "call.started"), ended(2.5)))

    assert (sides.said, sides.heard, sides.end_ms) == ([], [], 2500)
