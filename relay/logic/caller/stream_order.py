"""Puts the audio of a stream in order whose other messages share its run of numbers, and may not wait.

Twilio Media Streams ("WebSocket messages") count all messages of a stream in `sequenceNumber`. Audio that comes before
its turn is held for a moment, for the message that is missing. Everything else is acted on when it comes, and only
takes its place in the run.

A number that has passed, on audio that is newer than all before, is no late message: the sender began to count anew. So
it did when a number is far ahead.
"""

from collections.abc import Iterable
from typing import Generic, Literal, NamedTuple, TypeVar

from relay.logic.caller.reorder import MODULUS, ReorderBuffer, ReorderStatistics

Item = TypeVar("Item")

AHEAD_MAX = 1000
"""Twenty seconds of messages: no network loses so many and goes on."""


class InOrder(NamedTuple, Generic[Item]):
    """Audio whose turn has come, and how many messages of the stream are missing before it."""

    item: Item
    missing: int


class Sequenced(NamedTuple, Generic[Item]):
    """What became of audio that came: what is in order now, and why this is not used, if it is not (see `Pushed`)."""

    ready: list[InOrder[Item]]
    dropped: Literal["late", "duplicate"] | None = None


class StreamOrder(Generic[Item]):
    """One per stream. `first` is the number of its first message; times are monotonic seconds."""

    def __init__(self, max_ms: float, first: int) -> None:
        self._buffer = ReorderBuffer[tuple[int, Item | None]](max_ms, first)
        self._newest_ms = -1.0
        self._next = first
        self._missing = 0

    @property
    def deadline(self) -> float | None:
        """When `expire` has something to do."""
        return self._buffer.next_deadline

    def take_turn(self, number: int, timestamp_ms: float) -> bool:
        """As `audio`, for what is the next while nothing is held or missing, as nearly all is: it is in order.

        False: nothing was done.
        """
        if number != self._next or self._missing or not self._buffer.take_turn(number):
            return False
        self._newest_ms = max(self._newest_ms, timestamp_ms)
        self._next = (number + 1) % MODULUS
        return True

    def audio(self, number: int, timestamp_ms: float, item: Item, now: float) -> Sequenced[Item]:
        """Audio came, of this place in the media. Returns what is in order now, or why this is dropped."""
        if self.take_turn(number, timestamp_ms):
            return Sequenced([InOrder(item, 0)])
        newer = timestamp_ms > self._newest_ms
        self._newest_ms = max(self._newest_ms, timestamp_ms)
        ahead = self._buffer.ahead(number)
        ready: list[InOrder[Item]] = []
        if ahead > AHEAD_MAX or (ahead < 0 and newer):
            ready = self._audio(self._buffer.restart(number))
            self._next, self._missing = number, 0
        pushed = self._buffer.push(number, (number, item), now)
        return Sequenced(ready + self._audio(pushed.ready), pushed.dropped)

    def other(self, number: int, now: float) -> list[InOrder[Item]]:
        """Another message came. Returns the audio that waited for it."""
        if not 0 <= self._buffer.ahead(number) <= AHEAD_MAX:
            return []
        return self._audio(self._buffer.push(number, (number, None), now).ready)

    def expire(self, now: float) -> list[InOrder[Item]]:
        """What is in order once the gaps whose time is over are given up."""
        return self._audio(self._buffer.expire(now))

    def end(self) -> list[InOrder[Item]]:
        """The stream is over: what waits will not be followed by what it waited for."""
        return self._audio(self._buffer.restart())

    def statistics(self) -> ReorderStatistics:
        return self._buffer.statistics()

    def _audio(self, ready: Iterable[tuple[int, Item | None]]) -> list[InOrder[Item]]:
        """Missing messages count for the audio behind them, whatever else comes first."""
        audio: list[InOrder[Item]] = []
        for number, item in ready:
            self._missing += (number - self._next) % MODULUS
            self._next = (number + 1) % MODULUS
            if item is not None:
                audio.append(InOrder(item, self._missing))
                self._missing = 0
        return audio
