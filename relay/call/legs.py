"""What the call knows of a caller's socket: events that come in, messages that go out. The carrier is hidden."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import trio

from relay.media.frames import TELEPHONE, AudioFormat
from relay.media.gaps import SequenceCounter
from relay.net.outbox import Entry, Outbox
from relay.net.sockets import MessageSocket
from relay.wire import twilio


@dataclass(frozen=True, slots=True)
class CallerAudio:
    """Audio in the leg's format. `timestamp_ms` is media time since the leg's start, `arrived_at` clock time."""

    timestamp_ms: int
    data: bytes
    arrived_at: float


@dataclass(frozen=True, slots=True)
class Heard:
    """The caller's side has played everything up to `position_ms` of all that was sent, if no `clear` came in between:
    `turn` is the turn that played there."""

    turn: int
    position_ms: int


@dataclass(frozen=True, slots=True)
class KeyPressed:
    digit: str


@dataclass(frozen=True, slots=True)
class CallerGone:
    """The caller hung up."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A message of the caller was not used: `cause` is a cause of dropped frames."""

    cause: Literal["overflow", "late", "duplicate"]


CallerEvent = CallerAudio | Heard | KeyPressed | Dropped | CallerGone


class CallerOutbox(Protocol):
    """The queue in front of a caller: see `Outbox`, which it is where a leg is one socket."""

    async def put(self, entry: Entry) -> None: ...

    def flush_and_put(self, entries: Iterable[Entry]) -> object: ...

    def close(self) -> None: ...


class CallerLeg(Protocol):
    """One socket of the caller. The call reads it, and writes to it only through its outbox."""

    @property
    def format(self) -> AudioFormat: ...

    @property
    def outbox(self) -> CallerOutbox: ...

    @property
    def messages_missing(self) -> int:
        """Messages that the numbering says were sent and that never came."""

    async def receive(self) -> CallerEvent | None:
        """The next event; None for a message without meaning for the call.

        Raises LegLost or LegClosed at the end, RemoteProtocolError for a message that breaks the protocol, after which
        the leg goes on. Cancel-safe.
        """

    def audio(self, data: bytes) -> str | bytes: ...

    def mark(self, turn: int, position_ms: int) -> str | bytes: ...

    def clear(self) -> str | bytes: ...


class TwilioLeg:
    """A `<Connect><Stream>` after its `start` message (Twilio Media Streams)."""

    format = TELEPHONE

    def __init__(self, socket: MessageSocket, outbox: Outbox, stream_sid: str) -> None:
        self.outbox = outbox
        self.stream_sid = stream_sid
        self._socket = socket
        self._sequence = SequenceCounter()

    @property
    def messages_missing(self) -> int:
        return self._sequence.missing

    async def receive(self) -> CallerEvent | None:
        event = twilio.parse(await self._socket.receive())
        if not isinstance(event, twilio.Connected):
            self._sequence.note(event.sequence)
        match event:
            case twilio.Media(timestamp_ms=timestamp_ms, payload=payload):
                return CallerAudio(timestamp_ms, payload, trio.current_time())
            case twilio.MarkEcho(name=name):
                mark = twilio.parse_mark(name)
                return Heard(*mark) if mark else None
            case twilio.Dtmf(digit=digit):
                return KeyPressed(digit)
            case twilio.Stop():
                return CallerGone()
        return None

    def audio(self, data: bytes) -> str:
        return twilio.media(self.stream_sid, data)

    def mark(self, turn: int, position_ms: int) -> str:
        return twilio.mark(self.stream_sid, twilio.mark_name(turn, position_ms))

    def clear(self) -> str:
        return twilio.clear(self.stream_sid)
