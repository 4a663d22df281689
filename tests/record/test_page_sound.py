"""The sound of the page: both sides, aligned, small."""

import io

import numpy as np
import pytest
import soundfile

from relay.media import g711
from relay.record.entries import FromCaller
from relay.record.page_sound import PIECE_S, page_sound
from relay.record.sides import CallSides
from tests.support.recordings_of_calls import attached, call_of, ended, sent, spoken, told

TONE = g711.encode((8000 * np.sin(np.arange(160) * 2 * np.pi * 400 / 8000)).astype(np.int16))


def said(from_s: float, frames: int) -> list[FromCaller]:
    silent = [FromCaller((n + 1) * 0.02, n * 20.0, 0, b"\xff" * 160) for n in range(round(from_s * 50))]
    first = len(silent)
    return [*silent, *(FromCaller((first + n + 1) * 0.02, (first + n) * 20.0, 0, TONE) for n in range(frames))]


def test_the_caller_is_left_what_they_heard_right_and_both_are_where_they_were_to_5_ms() -> None:
    sound = page_sound(CallSides(call_of(attached(), *said(1.5, 25), *sent(3.0, 25), ended(4.0))))
    assert sound is not None
    both, rate_hz = soundfile.read(io.BytesIO(sound.data), dtype="int16")
    begins = [int(np.flatnonzero(np.abs(both[:, side]) > 2000)[0]) / rate_hz for side in (0, 1)]

    assert begins == pytest.approx([1.5, 3.0], abs=0.005)
    assert len(both) / rate_hz == pytest.approx(4.0, abs=0.005)


def test_it_is_a_tenth_of_what_came_over_the_line_and_goes_beyond_a_piece() -> None:
    sound = page_sound(CallSides(call_of(attached(), *said(0.0, (PIECE_S + 5) * 50), ended(PIECE_S + 5.0))))
    assert sound is not None
    both, rate_hz = soundfile.read(io.BytesIO(sound.data), dtype="int16")

    assert len(both) / rate_hz == pytest.approx(PIECE_S + 5, abs=0.005)
    assert len(sound.data) < 0.1 * 2 * 8000 * (PIECE_S + 5) * 3


def test_of_a_browsers_call_it_has_the_browsers_rate() -> None:
    sound = page_sound(CallSides(call_of(attached(), *spoken(0.0, 100), ended(1.0), rate_hz=16000)))
    assert sound is not None

    assert soundfile.info(io.BytesIO(sound.data)).samplerate in {16000, 48000}


def test_where_nothing_was_said_nor_heard_there_is_none() -> None:
    assert page_sound(CallSides(call_of(told(0.0, "call.started"), ended(1.0)))) is None
