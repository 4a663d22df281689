"""The journal brings the events of three processes into the order in which they happened."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from relay.demo.event import DemoEvent

HOLD_S = 0.2
"""How long a line may be on its way through the daemon's pipe before its place in the order is given away."""


@dataclass(frozen=True, slots=True)
class JournalLine:
    """An event with its time since the call was placed, and since the line before it."""

    at_ms: float
    gap_ms: float
    event: DemoEvent


@dataclass(slots=True)
class Journal:
    """Takes events in any order; gives each out once, in order, when nothing older can come any more.

    One that comes later than that is given out at once, and has its right place in `lines()` only.
    """

    origin_s: float
    _events: list[DemoEvent] = field(default_factory=list)
    _waiting: list[DemoEvent] = field(default_factory=list)
    _last_s: float | None = None

    def add(self, event: DemoEvent) -> None:
        """Take an event in, in whatever order."""
        self._events.append(event)
        self._waiting.append(event)

    def due(self, now_s: float) -> Iterator[JournalLine]:
        """The lines that can be shown now."""
        self._waiting.sort(key=lambda event: event.at_s)
        while self._waiting and self._waiting[0].at_s + HOLD_S <= now_s:
            event = self._waiting.pop(0)
            before_s = event.at_s if self._last_s is None else self._last_s
            self._last_s = max(before_s, event.at_s)
            yield self._line(event, before_s)

    def lines(self) -> list[JournalLine]:
        """All lines so far, in their order."""
        ordered = sorted(self._events, key=lambda event: event.at_s)
        first = ordered[:1]
        return [self._line(event, before.at_s) for before, event in pairwise([*first, *ordered])]

    def _line(self, event: DemoEvent, before_s: float) -> JournalLine:
        return JournalLine((event.at_s - self.origin_s) * 1000, (event.at_s - before_s) * 1000, event)


def in_plain(line: JournalLine) -> str:
    """One line of text: seconds since the call was placed, milliseconds since the line before, who, what."""
    event = line.event
    return f"{line.at_ms / 1000:7.3f} {line.gap_ms:+6.0f} ms  {event.who:<9} {event.text}"


def all_in_plain(lines: Sequence[JournalLine]) -> str:
    """The lines as a text file."""
    return "".join(in_plain(line) + "\n" for line in lines)
