"""The comfort sound: how long, how loud, which notes, and no click where it begins again."""

import numpy as np
import pytest
from numpy.typing import NDArray

from relay.media import g711
from relay.media.comfort import comfort_frames
from relay.media.frames import TELEPHONE, WIDEBAND, AudioFormat, Encoding
from relay.media.silence import silence_test

NARROW = AudioFormat(Encoding.PCM_S16LE, 8000)
FORMATS = pytest.mark.parametrize("audio_format", [TELEPHONE, NARROW, WIDEBAND], ids=str)


def period(audio_format: AudioFormat) -> NDArray[np.float64]:
    """The samples of one period."""
    data = b"".join(comfort_frames(audio_format))
    samples = g711.decode(data) if audio_format is TELEPHONE else np.frombuffer(data, "<i2")
    return samples.astype(np.float64)


@FORMATS
def test_a_period_is_1200_ms_in_whole_frames_of_the_format(audio_format: AudioFormat) -> None:
    assert [len(frame) for frame in comfort_frames(audio_format)] == [audio_format.frame_bytes] * 60


@FORMATS
def test_it_is_a_note_of_440_hz_then_one_of_523_then_silence(audio_format: AudioFormat) -> None:
    samples, rate_hz = period(audio_format), audio_format.rate_hz
    first, second = samples[: rate_hz // 4], samples[rate_hz // 4 : rate_hz // 2]
    loudest_hz = [
        float(np.argmax(np.abs(np.fft.rfft(note * np.hanning(len(note)), 8 * rate_hz))) / 8) for note in (first, second)
    ]

    assert loudest_hz == pytest.approx([440, 523.25], abs=2)
    assert all(silence_test(audio_format)(frame) for frame in comfort_frames(audio_format)[26:])


@FORMATS
def test_its_peak_is_34_db_under_full_scale(audio_format: AudioFormat) -> None:
    assert 20 * np.log10(np.abs(period(audio_format)).max() / 32768) == pytest.approx(-34, abs=0.5)


@FORMATS
def test_played_in_a_circle_it_has_no_step_that_would_click(audio_format: AudioFormat) -> None:
    """A tone of 523 Hz at its peak moves by less than this from one sample to the next."""
    steepest = 2 * np.pi * 523.25 / audio_format.rate_hz * 0.02 * 32768
    steps = np.abs(np.diff(np.tile(period(audio_format), 2)))

    assert steps.max() < 1.2 * steepest
