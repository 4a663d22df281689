"""The caller's socket as the call sees it: events come in, messages go out, and the carrier is hidden."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from msgspec import Struct

from relay.logic.caller.reorder import ReorderStatistics
from relay.media.frames import AudioFormat
from relay.net.outbox import Entry
from relay.net.sockets import Found


class CallerAudio(Struct, frozen=True, gc=False):
    """Audio in the leg's format, in order; no bytes, where a converter held them back.

    `stamp_ms` is the time of its first sample as the sender says, on a clock of the sender's; None if it does not say.
    `arrived_at` is our clock's time. `missing` messages of the sender are missing before this one.
    """

    stamp_ms: float | None
    data: bytes
    arrived_at: float
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """A mark came back: the caller's side has played all that was sent up to `position_ms`, or has forgotten it at a
    `clear`. `turn` is the assistant's turn that plays there."""

    turn: int
    position_ms: int


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """The caller pressed a key of the phone: a DTMF digit."""

    digit: str


@dataclass(frozen=True, slots=True)
class CallerGone:
    """The caller hung up."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A message of the caller was not used: `cause` is a cause of dropped frames."""

    cause: Literal["overflow", "late", "duplicate"]


@dataclass(frozen=True, slots=True)
class TooManyMalformed:
    """The caller's side goes on sending messages that are none of the protocol."""


CallerEvent = CallerAudio | Heard | KeyPressed | Dropped | TooManyMalformed | CallerGone


class CallerOutbox(Protocol):
    """The queue in front of a caller: see `Outbox`, which it is where a leg is one socket."""

    @property
    def room(self) -> int: ...

    async def put(self, entry: Entry) -> None: ...

    def put_now(self, *entries: Entry) -> bool: ...

    def flush_and_put(self, entries: Iterable[Entry]) -> object: ...

    def close(self) -> None: ...


class CallerLeg(Protocol):
    """One socket of the caller. The call reads it, and writes to it only through its outbox."""

    @property
    def format(self) -> AudioFormat: ...

    @property
    def outbox(self) -> CallerOutbox: ...

    @property
    def joins_frames(self) -> bool:
        """Whether a message may hold more than one frame."""

    def order(self) -> ReorderStatistics:
        """Returns how many of its messages came out of order, or never."""

    async def receive_each(self, take: Callable[[CallerEvent], Found | None]) -> Found:
        """Give each event to `take`, until that returns something, which is returned.

        `take` may be called by another task, in the context of this one: it must not wait.

        Raises LegLost or LegClosed at the end, RemoteProtocolError for a message that breaks the protocol, after which
        the leg goes on. Cancel-safe.
        """

    def audio(self, data: bytes) -> str | bytes:
        """The message that plays this audio, which is in the leg's format."""

    def mark(self, turn: int, position_ms: int) -> str | bytes:
        """The message that asks to be told when all before it was played: the answer is `Heard`."""

    def clear(self) -> str | bytes:
        """The message that makes the caller's side forget what it has not played."""
