"""Matching finds, by content, when each frame came out: delays, losses, cuts, silence, whatever the chunks."""

import numpy as np
import pytest

from relay.bench.match import Arrivals, deliveries, trace
from relay.bench.sounds import FRAME_SAMPLES, Waveform, caller_track, reference

FRAMES = 300
TIMES = [frame * 0.02 for frame in range(FRAMES)]


def sound(frames: int = FRAMES) -> Waveform:
    return np.resize(reference("mulaw").waveform, frames * FRAME_SAMPLES)


def arrivals(pieces: list[tuple[float, Waveform]], begin: int = 0) -> Arrivals:
    ends = np.cumsum([len(piece) for _, piece in pieces]).tolist()
    begins = [begin if end > begin else 0 for end in ends]
    return Arrivals([at for at, _ in pieces], ends, begins, np.concatenate([piece for _, piece in pieces]))


def frame(of: Waveform, number: int) -> Waveform:
    return of[number * FRAME_SAMPLES : (number + 1) * FRAME_SAMPLES]


def measured(got: Arrivals, sent: Waveform) -> list[float | None]:
    """Delay of each frame in whole milliseconds, None for a lost one."""
    out = deliveries(got, trace(got, sent, TIMES), range(FRAMES), TIMES)
    return [None if np.isnan(delay) else round(delay * 1000) for delay in out.delay_s]


@pytest.mark.parametrize("sent", [sound(), np.resize(caller_track().waveform, FRAMES * FRAME_SAMPLES)])
def test_each_frame_has_its_own_delay(sent: Waveform) -> None:
    delays = [(7 * number) % 19 for number in range(FRAMES)]
    pieces = [(TIMES[number] + delays[number] / 1000, frame(sent, number)) for number in range(FRAMES)]

    assert measured(arrivals(pieces), sent) == delays


def test_several_frames_in_one_message_are_as_late_as_the_message() -> None:
    sent = sound()
    pieces = [(TIMES[first + 4] + 0.003, sent[first * 160 : (first + 5) * 160]) for first in range(0, FRAMES, 5)]

    assert measured(arrivals(pieces), sent)[:5] == [83, 63, 43, 23, 3]


def test_what_a_resampler_holds_back_is_told_apart_from_the_delay() -> None:
    sent = sound()
    late = np.concatenate((np.zeros(14, np.float32), sent))
    got = arrivals([(TIMES[number] + 0.002, frame(late, number)) for number in range(FRAMES)])

    out = deliveries(got, trace(got, sent, TIMES), range(10, FRAMES), TIMES)

    assert np.allclose(out.delay_s, 0.002)
    assert np.allclose(out.lag_ms, 1.75)


def test_only_the_last_frame_of_a_message_says_what_a_resampler_holds_back() -> None:
    sent = sound()
    late = np.concatenate((np.zeros(14, np.float32), sent))
    pieces = [(TIMES[first + 4], late[first * 160 : (first + 5) * 160]) for first in range(0, FRAMES, 5)]
    got = arrivals(pieces)

    out = deliveries(got, trace(got, sent, TIMES), range(10, 20), TIMES)

    assert np.flatnonzero(~np.isnan(out.lag_ms)).tolist() == [4, 9]
    assert np.allclose(out.lag_ms[[4, 9]], 1.75)


def test_frames_that_never_come_are_lost_and_no_others() -> None:
    sent = sound()
    lost = {40, *range(100, 110)}
    kept = [number for number in range(FRAMES) if number not in lost]
    pieces = [(TIMES[number] + 0.004, frame(sent, number)) for number in kept]

    got = measured(arrivals(pieces), sent)

    assert {number for number, delay in enumerate(got) if delay is None} == lost
    assert {delay for delay in got if delay is not None} == {4}


def test_after_a_cut_the_first_frame_is_found_without_what_came_before() -> None:
    sent = sound()
    kept = [*range(100), *range(150, FRAMES)]
    pieces = [(TIMES[number] + 0.004, frame(sent, number)) for number in kept]

    got = measured(arrivals(pieces, begin=100 * FRAME_SAMPLES), sent)

    assert [number for number, delay in enumerate(got) if delay is None] == list(range(100, 150))


def test_a_tail_that_never_came_is_lost_and_silence_is_found_nowhere() -> None:
    sent = sound()
    pieces = [(TIMES[number] + 0.004, frame(sent, number)) for number in range(200)]
    pieces += [(TIMES[number] + 0.004, np.zeros(FRAME_SAMPLES, np.float32)) for number in range(200, FRAMES)]

    got = measured(arrivals(pieces), sent)

    assert None not in got[:200]
    assert set(got[200:]) == {None}
