"""Whole recordings at another rate."""

import numpy as np
import pytest

from relay.media.sound import RATE_MAX_HZ, RATE_MIN_HZ, Sound, convert
from tests.support.recordings import fit_sine, sine

RATES = [RATE_MIN_HZ, 8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000, RATE_MAX_HZ]


def tone(rate_hz: int) -> Sound:
    return Sound((sine(rate_hz) * 32768).round().astype(np.int16), rate_hz)


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("other_hz", [8000, 16000])
def test_a_tone_stays_the_tone_in_its_place_whatever_the_rates(rate_hz: int, other_hz: int) -> None:
    converted = convert(tone(rate_hz), other_hz)
    fit = fit_sine(converted.samples, other_hz)

    assert converted.rate_hz == other_hz
    assert len(converted.samples) == len(tone(rate_hz).samples) * other_hz // rate_hz
    assert fit.peak == pytest.approx(16384, rel=0.01)
    assert fit.late_ms == pytest.approx(0, abs=0.1)
    assert fit.rest < 30


def test_the_same_rate_is_the_same_sound() -> None:
    sound = tone(8000)

    assert convert(sound, 8000) is sound


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("n_samples", [0, 1, 7])
def test_a_sound_of_next_to_nothing_stays_one(rate_hz: int, n_samples: int) -> None:
    converted = convert(Sound(np.zeros(n_samples, np.int16), rate_hz), 16000)

    assert len(converted.samples) == n_samples * 16000 // rate_hz
