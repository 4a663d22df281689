from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.logic.playback.fence import PauseMeter


def feed(meter: PauseMeter, arrivals: list[tuple[float, bool]]) -> list[float]:
    return [meter.measure(audible=audible, now=at) for at, audible in arrivals]


def real_time(start: float, frames: int, audible: bool = True) -> list[tuple[float, bool]]:
    return [(start + 0.02 * n, audible) for n in range(frames)]


def test_before_the_first_sound_all_was_a_pause() -> None:
    assert feed(PauseMeter(), [(5.0, False), (5.02, True)]) == [inf, inf]


def test_silence_that_was_sent_counts_by_its_frames() -> None:
    pauses = feed(PauseMeter(), [*real_time(0, 10), *real_time(0.2, 30, False), (0.8, True), (0.82, True)])

    assert pauses[-2:] == [pytest.approx(0.6), 0.0]


def test_silence_that_was_not_sent_counts_by_the_clock() -> None:
    assert feed(PauseMeter(), [*real_time(0, 10), (0.95, True)])[-1] == pytest.approx(0.75)


def test_sent_and_unsent_silence_add_up() -> None:
    assert feed(PauseMeter(), [*real_time(0, 10), *real_time(0.2, 10, False), (1.0, True)])[-1] == pytest.approx(0.8)


def test_audio_faster_than_real_time_has_no_pause_until_the_clock_has_caught_up() -> None:
    meter = PauseMeter()
    feed(meter, [(0.0, True)] * 500)

    assert meter.sound_until == pytest.approx(10.0)
    assert meter.measure(audible=True, now=9.0) == 0.0
    assert meter.measure(audible=True, now=11.02) == pytest.approx(1.0)


@given(st.lists(st.integers(0, 100), min_size=2, max_size=200))
def test_chunks_of_speech_that_jitter_by_100_ms_have_no_pause(jitter_ms: list[int]) -> None:
    arrivals, last = [], 0.0
    for n, late_ms in enumerate(jitter_ms):
        last = max(last, n * 0.06 + late_ms / 1000)
        arrivals += [(last, True)] * 3

    assert set(feed(PauseMeter(), arrivals)[1:]) == {0.0}
