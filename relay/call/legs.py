"""What the call knows of a caller's socket: events that come in, messages that go out. The carrier is hidden."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import trio

from relay.errors import LegClosed, LegLost
from relay.logic.reorder import ReorderStatistics
from relay.logic.stream_order import StreamOrder
from relay.media.frames import TELEPHONE, AudioFormat
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

    def order(self) -> ReorderStatistics:
        """What the numbers of its messages say about their order."""

    async def receive(self) -> CallerEvent | None:
        """The next event; None for a message without meaning for the call.

        Raises LegLost or LegClosed at the end, RemoteProtocolError for a message that breaks the protocol, after which
        the leg goes on. Cancel-safe.
        """

    def audio(self, data: bytes) -> str | bytes: ...

    def mark(self, turn: int, position_ms: int) -> str | bytes: ...

    def clear(self) -> str | bytes: ...


class TwilioLeg:
    """A `<Connect><Stream>` after its `start` message (Twilio Media Streams), which had the number before `first`.

    Audio that overtook other messages waits for them, for `reorder_ms` at most.
    """

    format = TELEPHONE

    def __init__(
        self, socket: MessageSocket, outbox: Outbox, stream_sid: str, *, first: int, reorder_ms: float
    ) -> None:
        self.outbox = outbox
        self.stream_sid = stream_sid
        self._socket = socket
        self._order = StreamOrder[CallerAudio](reorder_ms, first)
        self._ready: deque[CallerEvent] = deque()

    def order(self) -> ReorderStatistics:
        return self._order.statistics()

    async def receive(self) -> CallerEvent | None:
        if self._ready:
            await trio.lowlevel.checkpoint()
            return self._ready.popleft()
        try:
            message = await self._next_message()
        except (LegLost, LegClosed):
            self._ready += self._order.end()
            if not self._ready:
                raise
            return self._ready.popleft()
        if message is None:
            self._ready += self._order.expire(trio.current_time())
            return self._ready.popleft() if self._ready else None
        return self._take(twilio.parse(message))

    async def _next_message(self) -> str | bytes | None:
        """None when audio has waited long enough for what is missing."""
        deadline = self._order.deadline
        if deadline is None:
            return await self._socket.receive()
        with trio.move_on_at(deadline):
            return await self._socket.receive()
        return None

    def _take(self, event: twilio.Event) -> CallerEvent | None:
        now = trio.current_time()
        match event:
            case twilio.Media(sequence=number, timestamp_ms=timestamp_ms, payload=payload):
                return self._take_audio(number, CallerAudio(timestamp_ms, payload, now))
            case twilio.MarkEcho() | twilio.Dtmf() | twilio.Stop():
                self._ready += self._order.other(event.sequence, now)
        match event:
            case twilio.MarkEcho(name=name):
                mark = twilio.parse_mark(name)
                return Heard(*mark) if mark else None
            case twilio.Dtmf(digit=digit):
                return KeyPressed(digit)
            case twilio.Stop():
                return CallerGone()
        return None

    def _take_audio(self, number: int, audio: CallerAudio) -> CallerEvent | None:
        late, duplicate = self._order.late, self._order.duplicate
        self._ready += self._order.audio(number, audio.timestamp_ms, audio, audio.arrived_at)
        if self._order.late > late:
            return Dropped("late")
        if self._order.duplicate > duplicate:
            return Dropped("duplicate")
        return self._ready.popleft() if self._ready else None

    def audio(self, data: bytes) -> str:
        return twilio.media(self.stream_sid, data)

    def mark(self, turn: int, position_ms: int) -> str:
        return twilio.mark(self.stream_sid, twilio.mark_name(turn, position_ms))

    def clear(self) -> str:
        return twilio.clear(self.stream_sid)
