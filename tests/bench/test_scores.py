"""From records to figures: what counts as delay, as loss and as an answered interruption."""

import math

import numpy as np
import pytest

from relay.bench.assistant import AssistantRecord, SentFrame
from relay.bench.caller import CallerRecord
from relay.bench.scores import Direction, SampleWindow, percentiles, score_barge_in, score_down, score_up
from relay.bench.sounds import FRAME_SAMPLES, caller_track, reference

TRACK = caller_track()
WINDOW = SampleWindow(1.0, 8.0)
TIMES = [frame * 0.02 for frame in range(500)]


def down(frames: list[SentFrame], caller: CallerRecord) -> Direction:
    direction = Direction()
    score_down(caller, AssistantRecord(sent=frames), reference("mulaw"), 200, into=[(WINDOW, direction)], mulaw=True)
    return direction


def spoken(turn_of: list[int]) -> list[SentFrame]:
    """A frame every 20 ms, each of the turn given; places count from the turn's first."""
    return [SentFrame(TIMES[index], index, turn, index - turn_of.index(turn)) for index, turn in enumerate(turn_of)]


def heard(frames: list[SentFrame], delay_s: float) -> list[tuple[float, bytes]]:
    sound = reference("mulaw").frames
    return [(frame.at + delay_s, sound[frame.reference_index or 0]) for frame in frames]


@pytest.mark.parametrize("mulaw", [True, False])
def test_up_is_from_the_callers_write_to_the_assistants_read(*, mulaw: bool) -> None:
    frames = [TRACK.frames[(7 + index) % len(TRACK.frames)] for index in range(400)]
    if not mulaw:
        waves = [TRACK.waveform[(7 + i) * FRAME_SAMPLES % len(TRACK.waveform) :][:FRAME_SAMPLES] for i in range(400)]
        frames = [np.repeat(wave, 2).astype("<i2").tobytes() for wave in waves]
    assistant = AssistantRecord(received=[(TIMES[i] + 0.005, frame) for i, frame in enumerate(frames) if i != 200])
    direction = Direction()

    score_up(CallerRecord(sent=TIMES[:400]), assistant, TRACK, 7, into=[(WINDOW, direction)], mulaw=mulaw)

    assert (direction.frames, direction.lost) == (300, 1), "frames of 1 s to 7 s, one of them lost"
    assert np.allclose(direction.delay_ms, 5)


def test_down_leaves_out_the_frames_that_wait_for_the_buffer_to_fill() -> None:
    frames = spoken([0] * 100 + [1] * 400)

    direction = down(frames, CallerRecord(received=heard(frames, 0.105)))

    assert direction.lost == 0
    assert direction.frames == 300
    assert len(direction.delay_ms) == 290, "turn 1 begins at 2 s, its first 200 ms are not scored"
    assert np.allclose(direction.delay_ms, 105)


def test_down_to_a_browser_is_measured_the_same() -> None:
    frames, sound, direction = spoken([0] * 300), reference("pcm"), Direction()
    caller = CallerRecord(received=[(frame.at + 0.105, sound.frames[frame.reference_index or 0]) for frame in frames])

    score_down(caller, AssistantRecord(sent=frames), sound, 200, into=[(WINDOW, direction)], mulaw=False)

    assert (direction.frames, direction.lost) == (250, 0)
    assert np.allclose(direction.delay_ms, 105)


def test_each_of_several_windows_gets_what_was_sent_in_it() -> None:
    frames = spoken([0] * 500)
    delay_s = [0.105 if frame.at < 4 else 0.125 for frame in frames]
    received = [(at, data) for delay, frame in zip(delay_s, frames, strict=True) for at, data in heard([frame], delay)]
    first, second = Direction(), Direction()

    score_down(
        CallerRecord(received=received),
        AssistantRecord(sent=frames),
        reference("mulaw"),
        200,
        into=[(SampleWindow(1, 4), first), (SampleWindow(4, 7), second)],
        mulaw=True,
    )

    assert (first.frames, second.frames) == (100, 100)
    assert np.allclose(first.delay_ms, 105)
    assert np.allclose(second.delay_ms, 125)


def test_what_an_interruption_took_is_not_lost() -> None:
    frames = spoken([0] * 150 + [1] * 350)
    kept = frames[:120] + frames[150:]

    direction = down(frames, CallerRecord(received=heard(kept, 0.1), clears=[2.6]))

    assert direction.lost == 0
    assert direction.frames == 270


def test_what_was_cut_before_the_window_is_not_lost_in_it() -> None:
    frames = spoken([0] * 60 + [1] * 440)
    kept = frames[:40] + frames[60:]

    assert down(frames, CallerRecord(received=heard(kept, 0.1), clears=[0.95])).lost == 0


def test_a_hole_in_a_turn_is_lost_with_an_interruption_or_without() -> None:
    frames = spoken([0] * 150 + [1] * 350)
    kept = frames[:100] + frames[105:120] + frames[150:]

    assert down(frames, CallerRecord(received=heard(kept, 0.1), clears=[2.6])).lost == 5


def test_a_turn_that_is_never_heard_is_lost_when_nobody_cut_it() -> None:
    frames = spoken([0] * 100 + [1] * 100 + [2] * 300)

    assert down(frames, CallerRecord(received=heard(frames[:100] + frames[200:], 0.1))).lost == 100


def test_an_interruption_runs_from_its_first_sample_to_the_clear() -> None:
    onset = TRACK.onsets[0]
    first = onset // FRAME_SAMPLES
    offset = first - 100
    at = TIMES[100] - 0.02 + onset % FRAME_SAMPLES / 8000

    answered, missed = score_barge_in(CallerRecord(sent=TIMES, clears=[at + 0.15, at + 0.4]), TRACK, offset, WINDOW)

    assert answered == [pytest.approx(150)]
    assert missed == 0


def test_an_interruption_without_a_clear_is_missed() -> None:
    offset = TRACK.onsets[0] // FRAME_SAMPLES - 100

    assert score_barge_in(CallerRecord(sent=TIMES, clears=[0.5, 7.0]), TRACK, offset, WINDOW) == ([], 1)


def test_percentiles_of_nothing_are_unknown() -> None:
    assert percentiles([], 50, 99) == {"p50": None, "p99": None}
    assert percentiles([1.0, 2.0, 3.0], 50) == {"p50": 2.0}
    assert not any(math.isnan(value or 0.0) for value in percentiles([1.0], 99).values())
