"""The sound of a recorded call: left what was said, right what was heard, silence elsewhere."""

import wave
from pathlib import Path

import numpy as np
import pytest

from relay.media import g711
from relay.record.entries import ClearSent, FromCaller
from relay.record.sides import CallSides
from relay.record.stereo import stereo, write_stereo
from tests.support.recordings_of_calls import attached, call_of, ended, sent, spoken


def test_each_side_is_where_it_belongs_and_the_rest_is_silent(tmp_path: Path) -> None:
    said, played = spoken(0.1, 2), sent(0.5, 3)
    sides = CallSides(call_of(attached(), *said, *played, ClearSent(0.545), ended(1.0)))
    both = stereo(sides)
    write_stereo(tmp_path / "call.wav", sides)
    left, right = np.zeros(8000, np.int16), np.zeros(8000, np.int16)
    left[800:1120] = g711.decode(b"".join(frame.data for frame in said))
    right[4000:4360] = g711.decode(b"".join(frame.data for frame in played))[:360]

    assert np.array_equal(both, np.stack([left, right], axis=1))
    with wave.open(str(tmp_path / "call.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 8000, 8000)
        assert file.readframes(8000) == both.tobytes()


@pytest.mark.parametrize("rate_hz", [16000, 48000])
def test_a_browser_has_its_own_rate(rate_hz: int) -> None:
    samples = np.arange(rate_hz // 50, dtype="<i2")
    call = call_of(attached(), FromCaller(0.02, 0.0, 0, samples.tobytes()), ended(0.1), rate_hz=rate_hz)
    both = stereo(CallSides(call))

    assert both.shape == (rate_hz // 10, 2)
    assert np.array_equal(both[: rate_hz // 50, 0], samples)


def test_sound_behind_the_end_of_the_call_is_left_out() -> None:
    sides = CallSides(call_of(attached(), *spoken(0.0, 5), *sent(0.05, 10), ended(0.1)))

    assert stereo(sides).shape == (800, 2)


def test_a_call_of_no_length_has_no_sound() -> None:
    assert stereo(CallSides(call_of())).shape == (0, 2)
