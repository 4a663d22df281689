"""Voices: who speaks clearly enough to be heard before a clip, or as the assistant."""

import numpy as np
import pytest

from relay.media.sound import Sound
from relay.vad.evaluation import Recording
from relay.vad.voices import voices

RATE_HZ = 1000


def speaking(*speech: tuple[float, float], noise: int = 10, **more: object) -> tuple[Recording, Sound]:
    """A recording of 20 s, loud where somebody speaks."""
    samples = np.full(20 * RATE_HZ, noise, np.int16)
    for start, end in speech:
        samples[round(start * RATE_HZ) : round(end * RATE_HZ)] = 5000
    return Recording("x.wav", 20.0, "speech", list(speech), **more), Sound(samples, RATE_HZ)  # type: ignore[arg-type]


CLEAR = speaking((1.0, 4.0), (5.0, 7.0), (9.0, 12.0))


def test_a_voice_lasts_from_the_first_word_to_the_last() -> None:
    (voice,) = voices([CLEAR])

    assert voice.samples.tolist() == CLEAR[1].samples[1000:12000].tolist()


@pytest.mark.parametrize(("longest_s", "duration_s"), [(10.9, 6.0), (6.0, 6.0), (5.9, 3.0), (2.0, 2.0)])
def test_a_shorter_voice_ends_with_a_word_if_it_can(longest_s: float, duration_s: float) -> None:
    (voice,) = voices([CLEAR], longest_s)

    assert voice.duration_s == pytest.approx(duration_s)


@pytest.mark.parametrize(
    "unclear",
    [
        speaking(),
        speaking((1.0, 4.9)),
        speaking((1.0, 6.0), noise=600),
        speaking((1.0, 6.0), label_precision="turn"),
        speaking((1.0, 6.0), clips=[(0.0, 8.0)]),
    ],
)
def test_what_is_short_noisy_or_labelled_by_turns_is_no_voice(unclear: tuple[Recording, Sound]) -> None:
    assert len(voices([CLEAR, unclear])) == 1


def test_a_voice_is_made_up_where_there_is_none() -> None:
    (voice,) = voices([], 5.0)

    assert voice.duration_s == pytest.approx(5.0)
