"""The recorded speech is had here by its name: texts and samples, made by scripts/make_speech.py."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from relay.media.frames import AudioFormat
from relay.media.wav import read_wav
from relay.standin.sound import Samples, encode

# No stand-in says the relay's own apology, which is in the second folder; `relay vad --calibrate` listens for it.
_FOLDERS = (Path(__file__).parent / "speech", Path(__file__).parent.parent / "media" / "sounds")


@dataclass(frozen=True, slots=True, eq=False)
class Phrase:
    """Something said: its words and its sound."""

    text: str
    samples: Samples
    rate_hz: int

    def in_format(self, form: AudioFormat) -> bytes:
        """The whole sound, as `form` carries it."""
        return encode(self.samples, self.rate_hz, form)

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz


@cache
def texts() -> dict[str, str]:
    """The words of every phrase, by its name."""
    tables = [json.loads((folder / "phrases.json").read_text(encoding="utf-8")) for folder in _FOLDERS]
    return {entry["name"]: entry["text"] for table in tables for entry in table}


@cache
def phrase(name: str) -> Phrase:
    """The committed phrase of that name; `KeyError` if there is none."""
    text = texts()[name]
    path = next(path for folder in _FOLDERS if (path := folder / f"{name}.wav").exists())
    sound = read_wav(path)
    return Phrase(text, sound.samples, sound.rate_hz)


@cache
def spoken(name: str, form: AudioFormat) -> bytes:
    """That phrase in a format, converted once for all calls."""
    return phrase(name).in_format(form)
