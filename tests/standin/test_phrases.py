"""The recorded speech is there, once, and as loud and long as speech is."""

from pathlib import Path

import pytest

import relay
from relay.media.frames import TELEPHONE
from relay.standin.phrases import phrase, spoken, texts

PACKAGE = Path(relay.__file__).parent


def test_every_text_has_one_recording_and_every_recording_a_text() -> None:
    assert sorted(path.stem for path in PACKAGE.rglob("*.wav")) == sorted(texts())


def test_a_name_that_is_not_recorded_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        phrase("silence")


@pytest.mark.parametrize("name", ["greeting", "description", "apology", "stop", "question", "goodbye"])
def test_a_phrase_is_16_khz_speech_with_its_text(name: str) -> None:
    found = phrase(name)
    assert found.rate_hz == 16000
    assert 0.08 < found.duration_s / len(found.text.split()) < 1.0
    assert 22000 < int(abs(found.samples).max()) < 24000  # about -3 dBFS


def test_the_description_lasts_about_30_seconds() -> None:
    assert 29 < phrase("description").duration_s < 32


def test_the_recordings_are_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in PACKAGE.rglob("*.wav")) < 1_600_000


def test_a_phrase_for_the_telephone_has_8000_bytes_a_second() -> None:
    assert len(spoken("stop", TELEPHONE)) / 8000 == pytest.approx(phrase("stop").duration_s, abs=0.001)
