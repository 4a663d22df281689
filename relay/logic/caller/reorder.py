"""Puts numbered messages in order again, and waits only so long for those that are missing.

A message that comes before its turn is held. As soon as what was missing comes, all that is in order now is given out;
`max_ms` after the first message behind a gap the gap is given up. Numbers are unsigned and 32 bits wide and start again
from 0 (serial number arithmetic, RFC 1982). The connection they come by does not matter: the buffer outlives it.
"""

from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

Item = TypeVar("Item")

MODULUS = 2**32
MAX_HELD = 512
"""Ten seconds of 20 ms messages within the bound: a flood. The first gap is given up to make room."""
REMEMBERED = 1024
"""So many numbers before the last one behind a gap are known to have been given up or to have come, to tell a late
message from one that came twice: a window of bits, as in RFC 4303, 3.4.3."""
_WINDOW = (1 << REMEMBERED) - 1


@dataclass(frozen=True, slots=True)
class ReorderStatistics:
    """Messages so far: `reordered`, put in order after they came out of it; `missing`, given up."""

    reordered: int = 0
    missing: int = 0


class Pushed(NamedTuple, Generic[Item]):
    """What became of a message: the items that are in order now, and why this one is not used, if it is not.

    It is "late" when its place had been given up, "duplicate" when it had come before.
    """

    ready: list[Item]
    dropped: Literal["late", "duplicate"] | None = None


class ReorderBuffer(Generic[Item]):
    """For one sequence of numbers. Times are monotonic seconds.

    `first` is the number that the sequence begins with; None: whatever comes first, and what is before it is late.
    """

    def __init__(self, max_ms: float, first: int | None = None) -> None:
        self._max_s = max_ms / 1000
        self._held: dict[int, tuple[float, Item]] = {}
        self._given_up = 0
        """A bit for each number in the window, which begins at `_window_at`: whether it was given up, and has not come
        since."""
        self._window_at = 0
        self._reordered = self._missing = 0
        self._next = self._origin = first
        self._highest = -1

    @property
    def next_deadline(self) -> float | None:
        """When `expire` will give up a gap; None while nothing is held."""
        if not self._held:
            return None
        arrived, _ = next(iter(self._held.values()))
        return arrived + self._max_s

    def ahead(self, seq: int) -> int:
        """How many messages are still to come before this one; negative for one whose turn has passed."""
        return 0 if self._next is None else self._place(seq) - self._next

    def take_turn(self, seq: int) -> bool:
        """As `push`, for a message that is the next while nothing is held, as nearly all are: it is in order.

        False: nothing was done, and it is to be pushed.
        """
        if self._held or self._next is None or (seq - self._next) % MODULUS:
            return False
        self._highest = self._next
        self._next += 1
        return True

    def push(self, seq: int, item: Item, now: float) -> Pushed[Item]:
        """Take a message; returns what is in order now, often just this one."""
        if self.take_turn(seq):
            return Pushed([item])
        ready: list[Item] = []
        while (deadline := self.next_deadline) is not None and deadline < now:
            ready += self._release_through(next(iter(self._held)))
        place = self._place(seq)
        if dropped := self._refusal(place):
            return Pushed(ready, dropped)
        self._reordered += place < self._highest
        self._highest = max(self._highest, place)
        self._held[place] = now, item
        ready += self._in_order()
        if len(self._held) > MAX_HELD:
            ready += self._release_through(min(self._held))
        return Pushed(ready + self.expire(now))

    def expire(self, now: float) -> list[Item]:
        """What is in order once the gaps whose time is over are given up."""
        ready: list[Item] = []
        while (deadline := self.next_deadline) is not None and deadline <= now:
            ready += self._release_through(next(iter(self._held)))
        return ready

    def restart(self, first: int | None = None) -> list[Item]:
        """A new sequence begins; returns what was held of the old one."""
        ready = self._release_through(self._highest)
        self._next = self._origin = first
        self._highest = -1
        self._given_up = 0
        return ready

    def statistics(self) -> ReorderStatistics:
        return ReorderStatistics(self._reordered, self._missing)

    def _place(self, seq: int) -> int:
        """The number as it would be if it had any number of bits."""
        if self._next is None:
            self._next = self._origin = seq
        ahead = (seq - self._next) % MODULUS
        return self._next + (ahead if ahead < MODULUS // 2 else ahead - MODULUS)

    def _refusal(self, place: int) -> Literal["late", "duplicate"] | None:
        assert self._next is not None
        assert self._origin is not None
        if place >= self._next and place not in self._held:
            return None
        if place < self._origin:
            return "late"
        at = place - self._window_at
        if not (0 <= at < REMEMBERED and self._given_up >> at & 1):
            return "duplicate"
        self._given_up ^= 1 << at
        return "late"

    def _release_through(self, place: int) -> list[Item]:
        """Everything up to this place, whatever is missing in it, and what follows it without a gap."""
        ready: list[Item] = []
        for held in sorted(held for held in self._held if held <= place):
            self._give_up_before(held)
            ready += self._in_order()
        return ready

    def _give_up_before(self, place: int) -> None:
        if self._next is None or place <= self._next:
            return
        missing = place - self._next
        self._missing += missing
        window_at = place - REMEMBERED
        kept = self._given_up >> max(0, window_at - self._window_at)
        self._given_up = kept | (_WINDOW << max(0, REMEMBERED - missing)) & _WINDOW
        self._window_at = window_at
        self._next = place

    def _in_order(self) -> list[Item]:
        ready: list[Item] = []
        while self._next is not None and self._next in self._held:
            ready.append(self._held.pop(self._next)[1])
            self._next += 1
        return ready
