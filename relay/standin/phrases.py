"""The committed speech of the stand-ins: names, texts and samples (made by scripts/make_speech.py)."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from relay.media.frames import AudioFormat
from relay.media.wav import read_wav
from relay.standin.sound import Samples, encode

_FOLDER = Path(__file__).parent / "speech"


@dataclass(frozen=True, slots=True, eq=False)
class Phrase:
    """Something said: its words and its sound."""

    text: str
    samples: Samples
    rate_hz: int

    def in_format(self, form: AudioFormat) -> bytes:
        return encode(self.samples, self.rate_hz, form)

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz


@cache
def texts() -> dict[str, str]:
    table = json.loads((_FOLDER / "phrases.json").read_text(encoding="utf-8"))
    return {entry["name"]: entry["text"] for entry in table}


@cache
def phrase(name: str) -> Phrase:
    """The committed phrase of that name; `KeyError` if there is none."""
    text = texts()[name]
    sound = read_wav(_FOLDER / f"{name}.wav")
    return Phrase(text, sound.samples, sound.rate_hz)


@cache
def spoken(name: str, form: AudioFormat) -> bytes:
    """That phrase in a format, converted once for all calls."""
    return phrase(name).in_format(form)
