"""Made-up sounds: the same each time, each different, as loud as sounds on the telephone are."""

import numpy as np
import pytest

from relay.vad.labels import Labelled
from relay.vad.made_up import CLIP_S, SECONDS, made_up, names


@pytest.fixture(scope="module")
def sounds() -> list[Labelled]:
    return list(made_up(names()))


def test_there_are_forty_minutes_without_speech_in_clips(sounds: list[Labelled]) -> None:
    assert sum(sound.duration_s for _, sound in sounds) >= 40 * 60
    for recording, sound in sounds:
        assert sound.duration_s == recording.duration_s
        assert recording.speech == []
        assert recording.clips == [(float(at), float(at + CLIP_S)) for at in range(0, SECONDS, CLIP_S)]


def test_each_sound_is_the_same_each_time(sounds: list[Labelled]) -> None:
    """Whichever others are made."""
    wanted = names()[3:5]

    assert [sound.samples.tobytes() for _, sound in sounds[3:5]] == [
        sound.samples.tobytes() for _, sound in made_up(wanted)
    ]


def test_no_two_sounds_are_alike(sounds: list[Labelled]) -> None:
    assert len({recording.file for recording, _ in sounds}) == len(sounds)
    assert len({sound.samples.tobytes() for _, sound in sounds}) == len(sounds)


def test_each_is_loud_enough_to_be_heard_and_none_is_clipped(sounds: list[Labelled]) -> None:
    for _, sound in sounds:
        peak = int(np.abs(sound.samples.astype(int)).max())
        assert 1000 < peak < 32767
