"""Decides which of many equal reports are told: the first at once, and how many followed it once in a while."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Kind = TypeVar("Kind", bound=Hashable)
Report = TypeVar("Report")


@dataclass(slots=True)
class _Window(Generic[Report]):
    first: Report
    ends_at: float
    untold: int = 0


class Repeats(Generic[Kind, Report]):
    """The reports of each kind within the last `window_s`. Times are monotonic seconds.

    So much is told in a window at most: one report and one count of each kind, of which there are `max_kinds`.
    """

    def __init__(self, *, window_s: float, max_kinds: int) -> None:
        self._window_s = window_s
        self._max_kinds = max_kinds
        self._windows: dict[Kind, _Window[Report]] = {}

    def note(self, kind: Kind, report: Report, now: float) -> Literal["tell", "counted", "full"]:
        """What to do with a report: tell it; nothing, as it is counted for `due`; or it is not kept, as the table of
        kinds is full."""
        if window := self._windows.get(kind):
            window.untold += 1
            return "counted"
        if len(self._windows) >= self._max_kinds:
            return "full"
        self._windows[kind] = _Window(report, now + self._window_s)
        return "tell"

    def due(self, now: float) -> list[tuple[Report, int]]:
        """The first report of each kind whose window is over, with how many more there were. That begins another
        window; a kind without more is forgotten."""
        over = [(kind, window) for kind, window in self._windows.items() if window.ends_at <= now]
        told = []
        for kind, window in over:
            del self._windows[kind]
            if window.untold:
                told.append((window.first, window.untold))
                self._windows[kind] = _Window(window.first, now + self._window_s)
        return told
