"""The player is Twilio's playout: what the relay sends is checked, queued and played in real time to the caller.

Sources: Twilio docs, "Media Streams - WebSocket messages", and the pages of warnings 31931, 31950 and 31951.
"""

import base64
import binascii
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from relay.standin.sound import level_dbfs, mulaw_to_samples

RATE_HZ = 8000
BLOCK_BYTES = 160
AUDIBLE_DBFS = -45.0
BUFFER_LIMIT_S = 600
"""So much audio waits to be played at most; what is above is refused."""
_UNDERRUN_LIMIT_S = 0.2
"""A longer hole is taken for the end of what was said."""
_QUIET = b"\xff"

Kind = Literal["media", "mark", "clear", "warning", "mark-returned"]


@dataclass(frozen=True, slots=True)
class StreamLine:
    """One line of a stream's log: a message that came, a warning, or a mark that went back.

    `n_bytes` is the length of a media message's `audio`. `detail` names the mark, or says what the warning is about;
    for a mark that went back because of a `clear` it ends in " (cleared)".
    """

    at_s: float
    kind: Kind
    n_bytes: int = 0
    detail: str = ""
    audio: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Clear:
    """A `clear`: when, how much audio it took away, how many marks it sent back."""

    at_s: float
    cleared_ms: float
    marks: int


@dataclass(frozen=True, slots=True)
class Underrun:
    """The queue ran dry in the middle of audio: for so long nothing was there to play."""

    at_s: float
    gap_ms: float


class MessageRejected(Exception):
    """A message that Twilio drops, with the number of its warning."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


_SHAPES: dict[str, tuple[set[str], str | None]] = {
    "media": ({"event", "streamSid", "media"}, "payload"),
    "mark": ({"event", "streamSid", "mark"}, "name"),
    "clear": ({"event", "streamSid"}, None),
}


def check(message: str | bytes, stream_sid: str) -> tuple[str, str]:
    """The event and its one value (base64 payload, mark name, or ""); `MessageRejected` if Twilio would not take it."""
    if isinstance(message, bytes):
        raise MessageRejected(31950, "binary message")
    try:
        value = json.loads(message)
    except (ValueError, RecursionError):
        raise MessageRejected(31951, "not JSON") from None
    if not isinstance(value, dict) or value.get("event") not in _SHAPES:
        raise MessageRejected(31951, "unknown event")
    event = str(value["event"])
    keys, inner = _SHAPES[event]
    if set(value) != keys:
        raise MessageRejected(31951, f"{event}: keys {sorted(set(value) ^ keys)}")
    if value["streamSid"] != stream_sid:
        raise MessageRejected(31951, f"{event}: wrong streamSid")
    return event, "" if inner is None else _inner(event, value[event], inner)


def _inner(event: str, body: Any, name: str) -> str:
    if not isinstance(body, dict) or set(body) != {name} or not isinstance(body[name], str):
        raise MessageRejected(31951, f"{event}: must hold {name}, a string, and nothing else")
    return str(body[name])


@dataclass(slots=True)
class Player:
    """One stream. Times are seconds on one monotonic clock and never go back; `heard` begins at `started_s`.

    `receive` and `advance` answer with the names of the marks that go back to the relay now, in order.
    """

    stream_sid: str
    started_s: float
    heard: bytearray = field(default_factory=bytearray)
    log: list[StreamLine] = field(default_factory=list)
    clears: list[Clear] = field(default_factory=list)
    underruns: list[Underrun] = field(default_factory=list)
    audible_ms: float = 0.0
    level_dbfs: float = -100.0
    _queue: deque[bytes | str] = field(default_factory=deque)
    _queued_bytes: int = 0
    _dry_at_byte: int | None = None
    _measured_bytes: int = 0

    @property
    def warnings(self) -> list[StreamLine]:
        return [line for line in self.log if line.kind == "warning"]

    @property
    def queued_ms(self) -> float:
        """How much audio waits to be played."""
        return self._queued_bytes * 1000 / RATE_HZ

    def next_mark_s(self) -> float | None:
        """When the next mark goes back if nothing else happens; None when none waits."""
        ahead_bytes = 0
        for item in self._queue:
            if isinstance(item, str):
                return self.started_s + (len(self.heard) + ahead_bytes) / RATE_HZ
            ahead_bytes += len(item)
        return None

    def receive(self, message: str | bytes, now_s: float) -> list[str]:
        """Take a message; one that Twilio would not take becomes a warning in the log."""
        returned = self.advance(now_s)
        try:
            event, value = check(message, self.stream_sid)
            if event == "media":
                self._media(value, now_s)
            elif event == "clear":
                returned += self._clear(now_s)
            else:
                self.log.append(StreamLine(now_s, "mark", detail=value))
                self._queue.append(value)
                returned += self.advance(now_s)
        except MessageRejected as error:
            self.warn(now_s, str(error))
        return returned

    def warn(self, now_s: float, text: str) -> None:
        """Log a warning; its text begins with Twilio's number for it."""
        self.log.append(StreamLine(now_s, "warning", detail=text))

    def advance(self, now_s: float) -> list[str]:
        """Play until `now_s`."""
        until = int((now_s - self.started_s) * RATE_HZ + 1e-6)  # rounding must not cost a sample
        returned: list[str] = []
        while self._queue and (isinstance(self._queue[0], str) or len(self.heard) < until):
            item = self._queue.popleft()
            if isinstance(item, str):
                returned.append(item)
                self.log.append(StreamLine(now_s, "mark-returned", detail=item))
                continue
            room = until - len(self.heard)
            self.heard += item[:room]
            self._queued_bytes -= min(room, len(item))
            if len(item) > room:
                self._queue.appendleft(item[room:])
            if not self._queued_bytes:
                self._dry_at_byte = len(self.heard)
        self.heard += _QUIET * (until - len(self.heard))
        self._measure()
        return returned

    def _media(self, payload: str, now_s: float) -> None:
        try:
            audio = base64.b64decode(payload, validate=True)
        except (binascii.Error, ValueError):
            raise MessageRejected(31951, "media: the payload is not base64") from None
        if not audio:
            raise MessageRejected(31951, "media: empty payload")
        if self._queued_bytes + len(audio) > BUFFER_LIMIT_S * RATE_HZ:
            raise MessageRejected(31931, f"more than {BUFFER_LIMIT_S} s of audio are waiting")
        self.log.append(StreamLine(now_s, "media", len(audio), audio=audio))
        if self._dry_at_byte is not None and not self._queued_bytes:
            gap_s = (len(self.heard) - self._dry_at_byte) / RATE_HZ
            if 0 < gap_s <= _UNDERRUN_LIMIT_S:
                self.underruns.append(Underrun(now_s, gap_s * 1000))
        self._dry_at_byte = None
        self._queue.append(audio)
        self._queued_bytes += len(audio)

    def _clear(self, now_s: float) -> list[str]:
        marks = [item for item in self._queue if isinstance(item, str)]
        self.log.append(StreamLine(now_s, "clear", self._queued_bytes))
        self.log += [StreamLine(now_s, "mark-returned", detail=f"{name} (cleared)") for name in marks]
        self.clears.append(Clear(now_s, self.queued_ms, len(marks)))
        self._queue.clear()
        self._queued_bytes = 0
        self._dry_at_byte = None
        return marks

    def _measure(self) -> None:
        while len(self.heard) - self._measured_bytes >= BLOCK_BYTES:
            block = self.heard[self._measured_bytes : self._measured_bytes + BLOCK_BYTES]
            self._measured_bytes += BLOCK_BYTES
            self.level_dbfs = level_dbfs(mulaw_to_samples(block))
            if self.level_dbfs > AUDIBLE_DBFS:
                self.audible_ms += BLOCK_BYTES * 1000 / RATE_HZ
