"""Numbers what goes down to a client that may change its connection: one rising sequence, whatever carries it.

A message waits until a connection takes it; then it gets the next number, and is kept for a while, because the
connection may have been lost with the message in it. The next connection says which number it had last, and reads on
from there: sending again is the same reading with an older cursor. Numbers begin at 1 and have no holes.

| a message is | what a flush does | leaves when                                          |
|--------------|-------------------|------------------------------------------------------|
| waiting      | drops its audio   | it is read (-> kept), or too many wait (-> kept)     |
| kept         | nothing           | newer ones pass `max_kept` or `max_bytes` (-> gone)  |
| gone         |                   | a cursor before it is answered with a stated gap     |
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Queued(Generic[Item]):
    """`turn` of the assistant's audio; None for what no flush removes."""

    item: Item
    turn: int | None = None
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Reading(Generic[Item]):
    """Messages with their numbers, in order. `gap`: first and last number behind the cursor that are gone, if any."""

    messages: list[tuple[int, Queued[Item]]]
    gap: tuple[int, int] | None = None


class MessageLog(Generic[Item]):
    """For one session. Plain object; nothing in it waits."""

    def __init__(self, *, max_waiting: int, max_kept: int, max_bytes: int) -> None:
        self._max_waiting = max_waiting
        self._max_kept = max_kept
        self._max_bytes = max_bytes
        self._waiting: deque[Queued[Item]] = deque()
        self._kept: deque[Queued[Item]] = deque()
        self._kept_bytes = 0
        self.audio_waiting = 0
        """Messages with a turn among those that wait."""
        self.last = 0
        """The highest number given so far."""

    @property
    def text_waiting(self) -> int:
        return len(self._waiting) - self.audio_waiting

    def number_from(self, last: int) -> None:
        """Let numbers go on behind this one, which another log has given. What was numbered here so far moves."""
        self.last += last

    def put(self, queued: Queued[Item]) -> None:
        """Behind all others. When too many wait, the oldest is numbered unread: it can be had until it is gone."""
        self._waiting.append(queued)
        self.audio_waiting += queued.turn is not None
        while len(self._waiting) > self._max_waiting:
            self._number()

    def put_first(self, queued: Iterable[Queued[Item]]) -> None:
        """Before all that wait, in the order given; the bound may be passed by these."""
        first = list(queued)
        self._waiting.extendleft(reversed(first))
        self.audio_waiting += sum(one.turn is not None for one in first)

    def flush(self) -> None:
        """Drop all waiting audio."""
        self._waiting = deque(one for one in self._waiting if one.turn is None)
        self.audio_waiting = 0

    def has_after(self, cursor: int) -> bool:
        """Whether there is anything to read behind this number."""
        return bool(self._waiting) or cursor < self.last

    def read(self, cursor: int, limit: int) -> Reading[Item]:
        """At most `limit` messages behind number `cursor`: what was read before comes again, then what is new.

        `ValueError` for a cursor that no message had.
        """
        if not 0 <= cursor <= self.last:
            raise ValueError(f"cursor {cursor} is not from 0 to {self.last}")
        first = max(cursor, self.last - len(self._kept)) + 1
        for _ in range(min(len(self._waiting), max(0, first + limit - 1 - self.last))):
            self._number()
        oldest = self.last - len(self._kept) + 1
        first = max(cursor + 1, oldest)
        last = min(self.last, first + limit - 1)
        gap = (cursor + 1, oldest - 1) if cursor + 1 < oldest else None
        return Reading([(number, self._kept[number - oldest]) for number in range(first, last + 1)], gap)

    def _number(self) -> None:
        queued = self._waiting.popleft()
        self.audio_waiting -= queued.turn is not None
        self.last += 1
        self._kept.append(queued)
        self._kept_bytes += queued.size_bytes
        while len(self._kept) > self._max_kept or (self._kept_bytes > self._max_bytes and len(self._kept) > 1):
            self._kept_bytes -= self._kept.popleft().size_bytes
