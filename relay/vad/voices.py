"""Finds speech without noise among labelled recordings, to be heard before a clip or as the assistant's."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from relay.media.resample import Samples
from relay.media.sound import Sound
from relay.standin import phrases
from relay.vad.evaluation import EARLY_S, LATE_S, Recording
from relay.vad.labels import Labelled

SHORTEST_S = 4.0
"""Of speech in a recording."""
CLEAR_DB = 20.0
"""So much louder is speech than what is heard when nobody speaks."""
MADE_UP_VOICE = "description"
"""The phrase that serves where no recording is clear."""


def voices(labelled: Sequence[Labelled], longest_s: float = float("inf")) -> list[Sound]:
    """Return the clear speech of each recording, from its first word to the last that ends within `longest_s`.

    Recordings of clips and those labelled by turns are left out. If none is left, one voice is made up.
    """
    found = [_spoken(*each, longest_s) for each in labelled if _is_clear(*each)]
    if found:
        return found
    phrase = phrases.phrase(MADE_UP_VOICE)
    whole = Recording(MADE_UP_VOICE, phrase.duration_s, "speech", [(0.0, phrase.duration_s)])
    return [_spoken(whole, Sound(phrase.samples, phrase.rate_hz), longest_s)]


def _spoken(recording: Recording, sound: Sound, longest_s: float) -> Sound:
    first_s = recording.speech[0][0]
    last_s = max((end for _, end in recording.speech if end - first_s <= longest_s), default=first_s + longest_s)
    return Sound(sound.samples[round(first_s * sound.rate_hz) : round(last_s * sound.rate_hz)], sound.rate_hz)


def _is_clear(recording: Recording, sound: Sound) -> bool:
    if recording.clips or not recording.scored or sum(end - start for start, end in recording.speech) < SHORTEST_S:
        return False
    speech = _inside(recording, sound, 0.0, 0.0)
    quiet = ~_inside(recording, sound, EARLY_S, LATE_S)
    return _power(sound.samples[speech]) > _power(sound.samples[quiet]) * 10 ** (CLEAR_DB / 10)


def _inside(recording: Recording, sound: Sound, before_s: float, after_s: float) -> NDArray[np.bool]:
    """Return which samples lie in speech and its margins."""
    inside = np.zeros(len(sound.samples), np.bool)
    for start, end in recording.speech:
        inside[round(max(0.0, start - before_s) * sound.rate_hz) : round((end + after_s) * sound.rate_hz)] = True
    return inside


def _power(samples: Samples) -> float:
    return float(np.mean(samples.astype(np.float64) ** 2)) if len(samples) else 0.0
