"""Decides when speech starts and ends by a threshold alone: the rule that the detector is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from relay.media.detector import WINDOW_MS

HYSTERESIS = 0.15
"""Speech goes on down to this much under the threshold, as in silero-vad's own segmentation."""
HANGOVER_MS = 256.0

PlainRule = tuple[float, int]
"""A threshold, and how many windows in a row must reach it; on what the model says without amplification."""


@dataclass(frozen=True, slots=True)
class GateOpened:
    """Speech began at `onset_ms`; the window that settled it ended at `decided_ms`. Times of the caller's audio."""

    onset_ms: float
    decided_ms: float


@dataclass(frozen=True, slots=True)
class GateClosed:
    """Speech ended at `at_ms`; the window that settled it ended at `decided_ms`. Times of the caller's audio."""

    at_ms: float
    decided_ms: float


class SpeechGate:
    """Applies a threshold with hysteresis to windows that follow each other.

    Speech starts after windows at or over `threshold` in a row that cover `onset_ms` (at least one), and began with
    the first of them. It ends after windows under `threshold` - 0.15 in a row that cover `hangover_ms` (at least one),
    and ended with the last window before them.
    """

    __slots__ = ("_hangover_windows", "_onset_windows", "_run", "_speaking", "_threshold")

    def __init__(self, threshold: float, onset_ms: float, hangover_ms: float) -> None:
        self._threshold = threshold
        self._onset_windows = max(1, ceil(onset_ms / WINDOW_MS))
        self._hangover_windows = max(1, ceil(hangover_ms / WINDOW_MS))
        self._run = 0
        self._speaking = False

    def push(self, probability: float, window_end_ms: float) -> GateOpened | GateClosed | None:
        """Take the next window; return the start or the end that it settles, if any."""
        if self._speaking:
            against, needed = probability < self._threshold - HYSTERESIS, self._hangover_windows
        else:
            against, needed = probability >= self._threshold, self._onset_windows
        self._run = self._run + 1 if against else 0
        if self._run < needed:
            return None
        turned_ms = window_end_ms - self._run * WINDOW_MS
        self._speaking = not self._speaking
        self._run = 0
        return GateOpened(turned_ms, window_end_ms) if self._speaking else GateClosed(turned_ms, window_end_ms)


def plain_starts_ms(judged: Sequence[float], rule: PlainRule) -> list[float]:
    """Return when the rule declares starts, given the probability of each window: each at the end of a window."""
    threshold, in_a_row = rule
    gate = SpeechGate(threshold, in_a_row * WINDOW_MS, HANGOVER_MS)
    events = [gate.push(probability, index * WINDOW_MS) for index, probability in enumerate(judged, 1)]
    return [event.decided_ms for event in events if isinstance(event, GateOpened)]
