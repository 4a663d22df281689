"""The sounds of the benchmark: frames fit, onsets are where they are said to be."""

import numpy as np
import pytest

from relay.bench.sounds import FRAME_SAMPLES, caller_track, reference, wideband

LOUD_RMS = 0.01 * 32768


def test_the_callers_frames_are_the_waveform_in_20_ms_of_mulaw() -> None:
    track = caller_track()

    assert {len(frame) for frame in track.frames} == {FRAME_SAMPLES}
    assert len(track.frames) * FRAME_SAMPLES == len(track.waveform)
    assert len(track.assistant_talks) == len(track.frames)


def test_at_an_onset_speech_begins_after_silence_while_the_assistant_talks() -> None:
    track = caller_track()

    assert len(track.onsets) == 4
    for onset in track.onsets:
        before, after = track.waveform[onset - 4000 : onset], track.waveform[onset : onset + 800]
        assert np.sqrt(np.mean(before**2)) < LOUD_RMS < np.sqrt(np.mean(after**2))
        frame = onset // FRAME_SAMPLES
        assert track.assistant_talks[frame]
        assert not track.assistant_talks[frame + 20]


def test_a_browser_says_the_same_at_twice_the_rate() -> None:
    track = caller_track()
    frames = wideband(track)
    samples = np.frombuffer(b"".join(frames), "<i2").astype(np.float64)

    assert {len(frame) for frame in frames} == {640}
    assert np.array_equal(samples[::2], track.waveform)
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    assert spectrum[len(spectrum) // 2 + 100 :].sum() < 1e-4 * spectrum.sum(), "nothing over 4 kHz was invented"


@pytest.mark.parametrize(("audio", "frame_bytes"), [("mulaw", 160), ("pcm", 640)])
def test_the_reference_is_loud_in_every_frame(audio: str, frame_bytes: int) -> None:
    sound = reference(audio)

    assert {len(frame) for frame in sound.frames} == {frame_bytes} == {len(sound.silence)}
    assert np.std(sound.waveform.reshape(-1, FRAME_SAMPLES), axis=1).min() > LOUD_RMS
