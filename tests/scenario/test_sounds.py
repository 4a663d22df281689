"""The sounds of a scenario are those that a telephone carries, with the bounds of what is heard of them."""

from pathlib import Path

import numpy as np
import pytest

from relay.scenario.sounds import made_up_cough, sound_named, sound_of
from relay.standin.phrases import texts
from relay.standin.sound import level_dbfs, samples_to_mulaw, tone, write_wav

QUIET = b"\xff" * 800


def test_the_bounds_are_those_of_what_is_audible() -> None:
    sound = sound_of(QUIET + samples_to_mulaw(tone(440, 0.5, 8000)) + QUIET * 2)

    assert sound.onset_s == pytest.approx(0.1, abs=0.02)
    assert sound.end_s == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize("mulaw", [b"", QUIET, samples_to_mulaw(tone(440, 0.5, 8000, peak=0.001))])
def test_what_nobody_would_hear_is_no_sound(mulaw: bytes) -> None:
    with pytest.raises(ValueError, match="loud enough"):
        sound_of(mulaw)


def test_every_phrase_is_had_by_its_name() -> None:
    for name in texts():
        assert sound_named(name, Path()).end_s > 0.2


def test_a_recording_is_looked_for_in_the_folder(tmp_path: Path) -> None:
    write_wav(tmp_path / "one.WAV", 48000, tone(440, 0.5, 48000))

    assert len(sound_named("one.WAV", tmp_path).mulaw) == 4000


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("one.wav", None, "cannot be read"),
        ("one.wav", b"RIFF", "one.wav"),
        ("hello", None, "must be a file that ends in .wav, or one of agreement"),
    ],
)
def test_what_cannot_be_said_is_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(ValueError, match=said):
        sound_named(name, tmp_path)


def test_the_made_up_cough_is_short_loud_and_begins_at_once() -> None:
    cough = made_up_cough()

    assert cough.onset_s == 0
    assert 0.2 < cough.end_s < 0.5
    assert level_dbfs(cough.samples[:400]) > -20
    assert np.abs(cough.samples[:160]).max() > 8000
