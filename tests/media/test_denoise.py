"""Noise reduction: the noise gets weaker, the speech stays, and time is kept exactly."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from relay.media.denoise import RATE_HZ, Denoiser
from relay.standin import phrases

SECOND = RATE_HZ
DELAY = 6 * RATE_HZ // 1000
NOISE = np.random.default_rng(5).normal(0, 500, 6 * SECOND).astype(np.int16)


def level_db(samples: NDArray[np.int16] | NDArray[np.float64]) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-9))


def test_steady_noise_gets_weaker() -> None:
    cleaned = Denoiser().push(NOISE)

    assert level_db(cleaned[2 * SECOND :]) <= level_db(NOISE) - 4


def test_speech_in_strong_noise_comes_closer_to_the_speech_alone() -> None:
    """Speech and noise are equally loud; in weaker noise the gain is less, and none from 15 dB on."""
    speech = phrases.phrase("description").samples[: 5 * SECOND].astype(np.float64)
    noise = NOISE[: len(speech)] * np.sqrt(np.mean(speech**2)) / 500
    cleaned = Denoiser().push((speech + noise).clip(-32768, 32767).astype(np.int16))
    speech, noise, heard = speech[SECOND:-DELAY], noise[SECOND:-DELAY], cleaned[SECOND + DELAY :]

    assert level_db(heard - speech) <= level_db(noise) - 2


def test_sound_comes_out_6_ms_later() -> None:
    click = np.zeros(SECOND, np.int16)
    click[4000] = 20000

    assert int(np.argmax(np.abs(Denoiser().push(click)))) == 4000 + DELAY


def test_frames_of_20_ms_come_out_at_their_length() -> None:
    denoiser = Denoiser()

    assert [len(denoiser.push(NOISE[at : at + 320])) for at in range(0, 3200, 320)] == [320] * 10


@given(st.lists(st.integers(0, 700), max_size=20))
def test_chunking_changes_nothing(sizes: list[int]) -> None:
    edges = np.cumsum([0, *sizes])
    whole = NOISE[: edges[-1]]
    chunked, at_once = Denoiser(), Denoiser()
    pieces = [chunked.push(whole[first:last]) for first, last in pairwise(edges)]

    cleaned = np.concatenate((np.zeros(0, np.int16), *pieces))
    assert len(cleaned) == len(whole) // 160 * 160
    assert cleaned.tolist() == at_once.push(whole).tolist()


def test_silence_stays_digital_silence() -> None:
    assert not Denoiser().push(np.zeros(SECOND, np.int16)).any()


def test_streams_share_nothing() -> None:
    one, other = Denoiser(), Denoiser()
    one.push(NOISE)

    assert not other.push(np.zeros(3200, np.int16)).any()


@pytest.mark.parametrize("sample", [-32768, 32767])
def test_full_scale_is_taken(sample: int) -> None:
    square = np.where(np.arange(SECOND) // 20 % 2, sample, -1 - sample).astype(np.int16)

    assert level_db(Denoiser().push(square)) == pytest.approx(level_db(square), abs=7)
