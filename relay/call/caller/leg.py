"""What the call knows of a caller's socket: events that come in, messages that go out. The carrier is hidden."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from relay.logic.caller.reorder import ReorderStatistics
from relay.media.frames import AudioFormat
from relay.net.outbox import Entry


@dataclass(frozen=True, slots=True)
class CallerAudio:
    """Audio in the leg's format; no bytes, where a converter held them back.

    `timestamp_ms` is media time since the leg's start, `arrived_at` clock time.
    """

    timestamp_ms: float
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
