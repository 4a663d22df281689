"""Silence goes only where something is missing, and what was too much of it is known."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relay.media.gaps import MAX_FILL_MS, WINDOW_MS, MediaClock

STAMPS = st.lists(st.floats(-1e15, 1e15), min_size=1, max_size=100)


def steady(clock: MediaClock, first_ms: float, messages: int) -> None:
    """Messages of 20 ms whose stamps march in step."""
    for number in range(messages):
        assert clock.place(first_ms + 20 * number, 20) == 0


@given(STAMPS)
def test_whatever_the_stamps_of_consecutive_messages_nothing_is_put_between_them(stamps: list[float]) -> None:
    clock = MediaClock()

    assert {clock.place(stamp, 20) for stamp in stamps} == {0.0}
    assert clock.surplus_ms == 0


@given(st.lists(st.tuples(st.sampled_from([-40, 0, 20, 40, 500]), st.sampled_from([0, 0, 0, 5])), max_size=200))
@example([(-40, 5), *[(0, 0)] * 60])
def test_the_surplus_is_what_all_stamps_of_the_last_second_leave_of_the_silence(
    steps: list[tuple[int, int]],
) -> None:
    """Computed again from all that came, each time: `ahead` is how far a stamp is before the one that was due."""
    clock, offsets, ahead_ms, silence_ms, base_ms = MediaClock(), list[float](), 0, 0, 0.0
    for number, (more_ahead_ms, silent_frames) in enumerate([(0, 0), *steps]):
        clock.note_invented(20 * silent_frames)
        silence_ms = (silence_ms + 20 * silent_frames) if number else 0
        ahead_ms += more_ahead_ms
        clock.place(155 + 20 * number + ahead_ms, 20)
        offsets = [*offsets, 155.0 + ahead_ms][-WINDOW_MS // 20 - 1 :]
        base_ms = min(base_ms, offsets[-1]) if number else offsets[-1]
        if offsets[-1] - base_ms > silence_ms:
            base_ms += max(0.0, min(offsets) - base_ms - silence_ms)

        assert clock.surplus_ms == max(0.0, silence_ms - (max(offsets) - base_ms))


@pytest.mark.parametrize(("missing", "fill_ms"), [(1, 0), (2, 0), (3, 60), (4, 80), (25, 500), (50, 1000), (51, 1000)])
def test_missing_messages_from_60_ms_are_filled_with_silence_up_to_a_second(missing: int, fill_ms: int) -> None:
    clock = MediaClock()
    steady(clock, 155, 50)

    assert clock.place(155 + 1000 + missing * 20, 20, missing) == fill_ms
    assert clock.surplus_ms == 0


@pytest.mark.parametrize("missing", [10**6, 2**32])
def test_a_wild_number_invents_no_more_than_a_second(missing: int) -> None:
    assert MediaClock().place(0, 20, missing) == MAX_FILL_MS


def test_a_hole_in_which_silence_was_invented_is_filled_up_only() -> None:
    clock = MediaClock()
    steady(clock, 0, 50)
    clock.note_invented(400)

    assert clock.place(1500, 20, 25) == 100
    assert clock.surplus_ms == 0


def test_silence_before_the_first_message_is_no_surplus() -> None:
    """Nothing could be late that nobody had begun to send."""
    clock = MediaClock()
    clock.note_invented(8000)
    steady(clock, 155, 50)

    assert clock.surplus_ms == 0


def test_silence_in_the_place_of_audio_that_was_only_late_is_a_surplus() -> None:
    clock = MediaClock()
    steady(clock, 0, 50)
    clock.note_invented(300)
    assert clock.surplus_ms == 300, "nothing says yet that time has passed"
    steady(clock, 1000, 1)

    assert clock.surplus_ms == 300


def test_silence_in_the_place_of_a_pause_of_the_sender_is_none() -> None:
    """Not with the first message behind it, and not later."""
    clock = MediaClock()
    steady(clock, 0, 50)
    clock.note_invented(2980)
    for number in range(200):
        clock.place(4000 + 20 * number, 20)
        assert clock.surplus_ms == 0


def test_what_is_left_out_of_pauses_makes_up_for_it() -> None:
    clock = MediaClock()
    steady(clock, 0, 50)
    clock.note_invented(300)
    steady(clock, 1000, 1)
    clock.note_left_out(200)

    assert clock.surplus_ms == 100
    clock.note_left_out(100)
    assert clock.surplus_ms == 0


def test_time_that_passed_without_audio_and_without_silence_does_not_hide_a_later_surplus() -> None:
    """A sender leaves out 200 ms, ten times, which nobody fills; then audio is late for 300 ms."""
    clock, stamp = MediaClock(), 0.0
    for _ in range(10):
        steady(clock, stamp, 100)
        stamp += 2200
    steady(clock, stamp, 100)
    clock.note_invented(300)
    steady(clock, stamp + 2000, 1)

    assert clock.surplus_ms == pytest.approx(300)


@pytest.mark.parametrize("burst", [2, 5, 10])
def test_bursts_that_bear_the_time_of_sending_are_no_pauses(burst: int) -> None:
    """Behind a stall of 300 ms the surplus is found all the same, but for what the stamps of a burst leave open."""
    clock = MediaClock()
    for number in range(500):
        clock.place(burst * 20 * (1 + number // burst), 20)
    clock.note_invented(300)
    for number in range(500, 1000):
        clock.place(burst * 20 * (1 + number // burst), 20)

    assert 300 - burst * 20 <= clock.surplus_ms <= 300


def test_a_burst_after_a_stall_that_is_known_by_its_arrival_alone_is_found_to_be_late_within_a_second() -> None:
    """Without stamps of the sender the time of arrival stands in: late within the burst, and right again behind it."""
    clock = MediaClock()
    steady(clock, 0, 50)
    clock.note_invented(600)
    for _ in range(30):
        clock.place(1600, 20)
    assert clock.surplus_ms == 0, "it may have been a pause"
    steady(clock, 1600, WINDOW_MS // 20 + 1)

    assert clock.surplus_ms == pytest.approx(600, abs=20)


@pytest.mark.parametrize("jump_ms", [-(10**12), -5000, 5000, 10**12])
def test_a_sender_that_counts_anew_is_followed_within_a_second(jump_ms: int) -> None:
    clock = MediaClock()
    steady(clock, 10**6, 100)
    steady(clock, 10**6 + 2000 + jump_ms, 100)
    clock.note_invented(200)
    steady(clock, 10**6 + 4000 + jump_ms, 1)

    assert clock.surplus_ms == pytest.approx(200)


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(0, 500), st.integers(0, 100)), max_size=200))
def test_the_surplus_is_never_more_than_the_silence_that_was_put_in(steps: list[tuple[float, float, int]]) -> None:
    clock, silence_ms = MediaClock(), 0.0
    for stamp, invented_ms, missing in steps:
        clock.note_invented(invented_ms)
        silence_ms += invented_ms + clock.place(stamp, 20, missing)
        assert 0 <= clock.surplus_ms <= silence_ms + 1e-6
