"""Puts the audio of a stream in order whose other messages share its run of numbers, and may not wait.

Twilio Media Streams ("WebSocket messages") count all messages of a stream in `sequenceNumber`. Audio that comes before
its turn is held for a moment, for the message that is missing. Everything else is acted on when it comes, and only
takes its place in the run.

A number that has passed, on audio that is newer than all before, is no late message: the sender began to count anew. So
it did when a number is far ahead.
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

from relay.logic.caller.reorder import Pushed, ReorderBuffer, ReorderStatistics

Item = TypeVar("Item")

AHEAD_MAX = 1000
"""Twenty seconds of messages: no network loses so many and goes on."""


class StreamOrder(Generic[Item]):
    """One per stream. `first` is the number of its first message; times are monotonic seconds."""

    def __init__(self, max_ms: float, first: int) -> None:
        self._buffer = ReorderBuffer[Item | None](max_ms, first)
        self._newest_ms = -1.0

    @property
    def deadline(self) -> float | None:
        """When `expire` has something to do."""
        return self._buffer.next_deadline

    def audio(self, number: int, timestamp_ms: float, item: Item, now: float) -> Pushed[Item]:
        """Audio came, of this place in the media. Returns what is in order now, or why this is dropped."""
        ahead = self._buffer.ahead(number)
        newer = timestamp_ms > self._newest_ms
        self._newest_ms = max(self._newest_ms, timestamp_ms)
        anew = ahead > AHEAD_MAX or (ahead < 0 and newer)
        held = self._buffer.restart(number) if anew else []
        pushed = self._buffer.push(number, item, now)
        return Pushed(_audio(held + pushed.ready), pushed.dropped)

    def other(self, number: int, now: float) -> list[Item]:
        """Another message came. Returns the audio that waited for it."""
        if not 0 <= self._buffer.ahead(number) <= AHEAD_MAX:
            return []
        return _audio(self._buffer.push(number, None, now).ready)

    def expire(self, now: float) -> list[Item]:
        """What is in order once the gaps whose time is over are given up."""
        return _audio(self._buffer.expire(now))

    def end(self) -> list[Item]:
        """The stream is over: what waits will not be followed by what it waited for."""
        return _audio(self._buffer.restart())

    def statistics(self) -> ReorderStatistics:
        return self._buffer.statistics()


def _audio(ready: Iterable[Item | None]) -> list[Item]:
    return [item for item in ready if item is not None]
