"""The record of a call's socket keeps what passed over it, with its times; tests and the demo read it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.media.frames import AudioFormat
from relay.standin.sound import Samples, decode, lay_out, write_wav


@dataclass(slots=True)
class Track:
    """One direction's audio: the first `limit_bytes` of it, and for each message when it came and how long it was."""

    limit_bytes: int
    audio: bytearray = field(default_factory=bytearray)
    arrivals: list[tuple[float, int]] = field(default_factory=list)

    def add(self, at_s: float, data: bytes) -> None:
        """Keep a message, whole or not at all."""
        if len(self.audio) + len(data) <= self.limit_bytes:
            self.audio += data
            self.arrivals.append((at_s, len(data)))

    def samples(self, form: AudioFormat, origin_s: float) -> Samples:
        """The track on a time line that begins at `origin_s`; an odd last byte is left out."""
        whole = self.audio[: len(self.audio) // form.block_bytes * form.block_bytes]
        samples = decode(whole, form)
        pieces, position = [], 0
        for at_s, n_bytes in self.arrivals:
            begin, position = position, position + n_bytes
            pieces.append((at_s - origin_s, samples[begin // form.block_bytes : position // form.block_bytes]))
        return lay_out(pieces, form.rate_hz)


@dataclass(frozen=True, slots=True)
class TextEvent:
    """A text message. `at_s` is on trio's clock; `outgoing` when the assistant sent it."""

    at_s: float
    outgoing: bool
    message: dict[str, Any]


@dataclass(slots=True)
class SocketRecord:
    """The first `seconds` of audio each way, and as many texts as 50 a second would be. Times are on trio's clock."""

    format: AudioFormat
    seconds: float
    received: Track = field(init=False)
    sent: Track = field(init=False)
    events: list[TextEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        limit_bytes = int(self.seconds * self.format.rate_hz) * self.format.block_bytes
        self.received, self.sent = Track(limit_bytes), Track(limit_bytes)

    def note(self, at_s: float, *, outgoing: bool, message: dict[str, Any]) -> None:
        """Keep a text message."""
        if len(self.events) < self.seconds * 50:
            self.events.append(TextEvent(at_s, outgoing, message))

    def sent_messages(self, message_type: str) -> list[TextEvent]:
        """Those that the assistant sent, of one type."""
        return [e for e in self.events if e.outgoing and e.message.get("type") == message_type]

    def write_wav(self, path: Path, origin_s: float) -> None:
        """Left: what the assistant received; right: what it sent."""
        left, right = (track.samples(self.format, origin_s) for track in (self.received, self.sent))
        write_wav(path, self.format.rate_hz, left, right)
