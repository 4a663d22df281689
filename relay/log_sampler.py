"""Leaves out of the log what repeats without being about a call, and says how often it did.

The first line of a kind is written at once. How many followed it is `repeated` of one more line a minute, whose other
values are those of the first. Refusals are sampled before they come here, see `relay.refusals`.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog
from structlog.typing import EventDict, WrappedLogger

from relay.logic.repeats import Repeats

WINDOW_S = 60.0
KINDS_MAX = 200
"""Kinds beyond it have one line of their event."""
EVENTS_MAX = 50
"""Events that have more kinds; the program has fewer that repeat."""
REPEATS = "repeats"
"""A value that marks a line which anything but a call can make repeat without end. It is a tuple of what makes lines of
an event one kind, and is not written."""

_EXCEPTION = ("exc_info", "exception")


class _SampledLine(NamedTuple):
    level: str
    values: EventDict


class LogSampler:
    """A processor for structlog, the first of all. Lines may come from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds = Repeats[tuple[object, ...], _SampledLine](window_s=WINDOW_S, max_kinds=KINDS_MAX)
        self._events = Repeats[str, _SampledLine](window_s=WINDOW_S, max_kinds=EVENTS_MAX)

    def __call__(self, _logger: WrappedLogger, level: str, values: EventDict) -> EventDict:
        """Raises structlog.DropEvent for a line that is only counted."""
        if REPEATS not in values:
            return values
        event = values["event"]
        kind = (event, *values.pop(REPEATS))
        line = _SampledLine(level, {name: value for name, value in values.items() if name not in _EXCEPTION})
        now = self._clock()
        with self._lock:
            done = self._kinds.note(kind, line, now)
            if done == "full":
                done = self._events.note(event, line, now)
        if done != "tell":
            raise structlog.DropEvent
        return values

    def say_counts(self, *, of_all: bool = False) -> None:
        """Write how many lines were left out, where it is time, or `of_all`."""
        now = float("inf") if of_all else self._clock()
        with self._lock:
            due = [*self._kinds.due(now), *self._events.due(now)]
        for (level, values), repeated in due:
            getattr(structlog.get_logger(), level)(**values, repeated=repeated)
