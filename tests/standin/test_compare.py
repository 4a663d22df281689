"""Sound is found again after any telephone coding, and nothing else is taken for it."""

import numpy as np
import pytest
import soxr

from relay.media.frames import TELEPHONE
from relay.standin.compare import FRAME_SAMPLES, SAME, SearchedAudio, audible_frames, explain, in_band, missing_frames
from relay.standin.phrases import spoken
from relay.standin.sound import Samples, mulaw_to_samples, samples_to_mulaw


def said(name: str) -> Samples:
    return mulaw_to_samples(spoken(name, TELEPHONE))


def silence(ms: int) -> Samples:
    return np.zeros(ms * 8, np.int16)


def later_by(samples: Samples, part: int) -> Samples:
    """The same sound, `part` sixteenths of a sample later, through 16 kHz and mu-law."""
    fine = soxr.resample(samples.astype(np.float32), 8000, 128000)
    coarse = soxr.resample(np.concatenate([np.zeros(part, np.float32), fine]), 128000, 8000)
    return mulaw_to_samples(samples_to_mulaw(np.clip(coarse, -32768, 32767).astype(np.int16)))


@pytest.mark.parametrize("part", [0, 4, 8, 12])
def test_all_of_it_is_found_whatever_part_of_a_sample_it_was_delayed_by(part: int) -> None:
    source = np.concatenate([silence(500), said("question"), silence(500)])
    heard = np.concatenate([silence(1234), later_by(source, part)])

    assert missing_frames(source, heard) == 0


def test_a_frame_that_was_lost_is_missed() -> None:
    source = said("question")
    at = audible_frames(source)[40]
    heard = source.copy()
    heard[at - FRAME_SAMPLES : at + 2 * FRAME_SAMPLES] = 0

    assert 1 <= missing_frames(source, heard) <= 5


def test_all_of_it_is_missed_when_something_else_was_heard() -> None:
    source = said("goodbye")

    assert missing_frames(source, said("description")[:40000]) > len(audible_frames(source)) * 0.8


def test_nothing_is_missing_of_silence() -> None:
    assert missing_frames(silence(300), silence(10)) == 0


def test_two_turns_are_told_apart() -> None:
    old, new = said("description")[8000:40000], said("question")
    heard = later_by(np.concatenate([old[4000:7200], silence(400), new]), 8)

    frames = explain(heard, old, new)

    assert all(frame.first > max(SAME, frame.second) for frame in frames if frame.at < 3200 - 2 * FRAME_SAMPLES)
    assert all(frame.second > max(SAME, frame.first) for frame in frames if frame.at > 6400 + 2 * FRAME_SAMPLES)


@pytest.mark.parametrize("length", range(41, 3656, 160))
def test_no_place_is_more_than_the_same_wherever_a_loud_sound_ends(length: int) -> None:
    recording = np.zeros(8000)
    recording[3576 : 3576 + length] = 8000 * np.sin(np.arange(length) * 0.5)
    windows = [200 * np.sin(np.arange(480) * step + 1) for step in (0.02, 0.1, 0.5)]

    assert max(SearchedAudio(recording).find(window)[0] for window in windows) <= 1.001


def test_only_the_band_of_a_telephone_is_compared() -> None:
    time_s = np.arange(8000) / 8000
    tones = sum(4000 * np.sin(2 * np.pi * hz * time_s) for hz in (100, 1000, 3500))
    assert isinstance(tones, np.ndarray)

    spectrum = np.abs(np.fft.rfft(in_band(tones.astype(np.int16)).astype(np.float64)))

    assert spectrum[1000] > 100 * max(spectrum[100], spectrum[3500])
