"""The ear finds the caller's speech by its energy, on the clock of the audio itself.

A block of 20 ms is loud above -38 dBFS, and once somebody speaks, above -44 dBFS. Speech is confirmed
`detect_after_ms` after its first loud block, unless 200 ms of quiet come in between or too little of it was loud;
it ends after 600 ms of quiet, or after a minute in any case.
"""

from dataclasses import dataclass, field

from relay.media.frames import AudioFormat
from relay.standin.sound import decode, level_dbfs

_BLOCK_MS = 20.0
_LOUD_DBFS = -38.0
_STILL_LOUD_DBFS = -44.0
_FORGET_AFTER_MS = 200.0
_END_AFTER_MS = 600.0
_LONGEST_MS = 60_000.0
_LEAST_LOUD = 0.4


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller speaks since `onset_ms` of the audio received."""

    onset_ms: float


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller is done; `audio` is what was said, in the call's format, without the quiet after it."""

    onset_ms: float
    audio: bytes = field(repr=False)


Heard = SpeechStarted | SpeechStopped


class Ear:
    """The caller's audio goes in, the beginnings and ends of speech come out.

    `speaking`: speech was confirmed and has not ended. To this ear a steady noise is speech, too.
    """

    def __init__(self, form: AudioFormat, detect_after_ms: float) -> None:
        self._form = form
        self._detect_after_ms = detect_after_ms
        self._block_bytes = form.frame_bytes
        self._partial = bytearray()
        self._since_onset = bytearray()
        self._clock_ms = 0.0
        self._onset_ms: float | None = None
        self._loud_ms = 0.0
        self._quiet_ms = 0.0
        self.speaking = False

    def feed(self, data: bytes) -> list[Heard]:
        """What this audio shows; bytes of any number, a part of a block waits for the rest."""
        self._partial += data
        heard: list[Heard] = []
        while len(self._partial) >= self._block_bytes:
            block = bytes(self._partial[: self._block_bytes])
            del self._partial[: self._block_bytes]
            found = self._block(block)
            if found is not None:
                heard.append(found)
        return heard

    def _block(self, block: bytes) -> Heard | None:
        loud = level_dbfs(decode(block, self._form)) > (_STILL_LOUD_DBFS if self.speaking else _LOUD_DBFS)
        if loud and self._onset_ms is None:
            self._onset_ms = self._clock_ms
        self._clock_ms += _BLOCK_MS
        if self._onset_ms is None:
            return None
        self._since_onset += block
        self._loud_ms += _BLOCK_MS if loud else 0.0
        self._quiet_ms = 0.0 if loud else self._quiet_ms + _BLOCK_MS
        return self._while_speaking(self._onset_ms) if self.speaking else self._while_unsure(self._onset_ms)

    def _while_unsure(self, onset_ms: float) -> Heard | None:
        """Something is loud: is it speech by now, or was it a click?"""
        if self._quiet_ms >= _FORGET_AFTER_MS:
            self._forget()
            return None
        since_ms = self._clock_ms - onset_ms
        if since_ms < self._detect_after_ms or self._loud_ms < _LEAST_LOUD * since_ms:
            return None
        self.speaking = True
        return SpeechStarted(onset_ms)

    def _while_speaking(self, onset_ms: float) -> Heard | None:
        """Is the caller done?"""
        if self._quiet_ms < _END_AFTER_MS and self._clock_ms - onset_ms < _LONGEST_MS:
            return None
        quiet_bytes = int(self._quiet_ms / _BLOCK_MS) * self._block_bytes
        stopped = SpeechStopped(onset_ms, bytes(self._since_onset[: len(self._since_onset) - quiet_bytes]))
        self._forget()
        return stopped

    def _forget(self) -> None:
        self.speaking = False
        self._onset_ms = None
        self._loud_ms = self._quiet_ms = 0.0
        self._since_onset.clear()
