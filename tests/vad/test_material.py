"""The count of minutes: what is heard twice is no more sound, and silence is none."""

import numpy as np
import pytest

from relay.media.sound import Sound
from relay.vad.cases import clips, whole
from relay.vad.evaluation import Recording
from relay.vad.made_up import MADE_UP
from relay.vad.material import material
from relay.vad.sound import Route

RATE_HZ = 8000
MINUTE = np.where(np.arange(60 * RATE_HZ) < 15 * RATE_HZ, 1000, 0).astype(np.int16)
"""A quarter of it can be heard."""
SOUND = Sound(MINUTE, RATE_HZ)


def test_minutes_are_counted_once_and_those_heard_as_often_as_they_were() -> None:
    noise = Recording("noise.wav", 60.0, "noise", [])
    (counted,) = material([(noise, SOUND)], list(whole(noise, SOUND, Route.TELEPHONE)))

    assert (counted.kind, counted.source, counted.made_up, counted.clips) == ("noise", "noise", False, 0)
    assert counted.minutes == 1.0
    assert counted.audible_minutes == pytest.approx(0.25, abs=0.001)
    assert counted.heard_minutes == 4.0


def test_speech_and_its_margins_are_left_out() -> None:
    speech = Recording("speech.wav", 60.0, "speech", [(0.15, 9.65)])
    (counted,) = material([(speech, SOUND)], list(whole(speech, SOUND, Route.TELEPHONE)))

    assert counted.minutes == pytest.approx(50 / 60)
    assert counted.audible_minutes == pytest.approx(5 / 60, abs=0.001)


def test_words_count_no_minutes() -> None:
    words = Recording("words.wav", 60.0, "words", [(1.0, 2.0)], count_false_starts=False)
    (counted,) = material([(words, SOUND)], list(whole(words, SOUND, Route.TELEPHONE)))

    assert (counted.minutes, counted.audible_minutes, counted.heard_minutes) == (0.0, 0.0, 0.0)


def test_clips_are_heard_alone_and_behind_speech() -> None:
    coughs = Recording("coughs.wav", 60.0, MADE_UP, [], clips=[(0.0, 30.0), (30.0, 60.0)])
    (counted,) = material([(coughs, SOUND)], list(clips(coughs, SOUND, [SOUND])))

    assert (counted.made_up, counted.clips, counted.minutes, counted.heard_minutes) == (True, 2, 1.0, 4.0)


def test_what_no_case_is_made_of_is_left_out() -> None:
    assert material([(Recording("noise.wav", 60.0, "noise", []), SOUND)], []) == []
