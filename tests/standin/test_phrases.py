from pathlib import Path

import pytest

import relay.standin
from relay.media.frames import TELEPHONE
from relay.standin.phrases import phrase, spoken, texts

FOLDER = Path(relay.standin.__file__).parent / "speech"


def test_every_text_has_its_recording_and_the_other_way_round() -> None:
    assert {path.stem for path in FOLDER.glob("*.wav")} == set(texts())


@pytest.mark.parametrize("name", ["greeting", "description", "apology", "stop", "question", "goodbye"])
def test_a_phrase_is_16_khz_speech_with_its_text(name: str) -> None:
    found = phrase(name)
    assert found.rate_hz == 16000
    assert 0.08 < found.duration_s / len(found.text.split()) < 1.0
    assert 22000 < int(abs(found.samples).max()) < 24000  # about -3 dBFS


def test_the_description_lasts_about_30_seconds() -> None:
    assert 29 < phrase("description").duration_s < 32


def test_the_recordings_are_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_600_000


def test_a_phrase_for_the_telephone_has_8000_bytes_a_second() -> None:
    assert len(spoken("stop", TELEPHONE)) / 8000 == pytest.approx(phrase("stop").duration_s, abs=0.001)
