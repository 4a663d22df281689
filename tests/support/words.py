"""Real speech for a mu-law call, each of whose audible frames can be named where it arrives.

Mu-law passes the relay byte for byte. So a frame of 20 ms that is found anywhere is one that was said, and silence that
some machine put between two frames changes neither of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from relay.media.frames import TELEPHONE
from relay.standin.phone.player import AUDIBLE_DBFS, BLOCK_BYTES
from relay.standin.phrases import phrase
from relay.standin.sound import encode, level_dbfs, mulaw_to_samples

PHRASES = ("question", "request", "agreement")
GAIN_STEPS = 40
Name = tuple[int, int]
"""Which sentence, and which frame of it."""


@dataclass
class Words:
    """What one caller says. A frame that is like one of another sentence has no name."""

    sentences: list[list[int]] = field(default_factory=list)
    """Of each, the frames that are audible."""
    _names: dict[bytes, Name | None] = field(default_factory=dict)

    def new(self) -> bytes:
        """The next sentence: another phrase, or another loudness."""
        number = len(self.sentences)
        chosen = phrase(PHRASES[number % len(PHRASES)])
        gain = 1 - 0.5 * (number // len(PHRASES) % GAIN_STEPS) / GAIN_STEPS
        audio = encode((chosen.samples * gain).astype("int16"), chosen.rate_hz, TELEPHONE)
        audible = []
        for at, frame in _frames(audio):
            if level_dbfs(mulaw_to_samples(frame)) > AUDIBLE_DBFS:
                name = (number, at)
                self._names[frame] = None if frame in self._names else name
                audible.append(at)
        self.sentences.append(audible)
        return audio

    def name(self, frame: bytes) -> Name | None:
        """Which frame of which sentence this is."""
        return self._names.get(frame)

    def named(self, number: int) -> list[Name]:
        """All of a sentence."""
        known = {name for name in self._names.values() if name is not None}
        return [name for name in ((number, at) for at in self.sentences[number]) if name in known]


def _frames(audio: bytes) -> Iterator[tuple[int, bytes]]:
    for at in range(len(audio) // BLOCK_BYTES):
        yield at, bytes(audio[at * BLOCK_BYTES : (at + 1) * BLOCK_BYTES])


def once_and_in_order(names: list[Name]) -> bool:
    return all(a < b for a, b in pairwise(names))
