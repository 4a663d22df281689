"""A line holds each piece of data until it is due. It has no clock: time is an argument, in seconds."""

import heapq
from random import Random

from relay.standin.lab.schedule import LinkConditions

_MS = 1000
_PARETO_SHAPE = 2.5
"""One in a hundred is over eight times the mean: rare, and long."""


class LabLine:
    """One direction of a link. Pieces go in with `put` and are had back from `pop` once they are due."""

    def __init__(self, link: LinkConditions, rng: Random) -> None:
        self._link = link
        self._rng = rng
        self._waiting: list[tuple[float, int, bytes]] = []
        self._number = 0
        self._free_at = 0.0
        self._last_due = 0.0
        self.held_bytes = 0

    def put(
        self, data: bytes, now: float, *, kbit_s: float | None = None, may_be_held: bool = False, last: bool = False
    ) -> None:
        """Take a piece in.

        Args:
            kbit_s: what the line carries just now, if that is less than the link does.
            may_be_held: it is a whole message, which others may overtake.
            last: nothing may overtake it, and it overtakes nothing.
        """
        due = self._sent_at(len(data), now, kbit_s) + (self._link.delay_ms + self._jitter_ms()) / _MS
        due = max(due, self._last_due)
        if may_be_held and self._link.reorder_share and self._rng.random() < self._link.reorder_share:
            due += self._rng.uniform(0, self._link.reorder_ms) / _MS
        else:
            due = max([due, *(at for at, _, _ in self._waiting)]) if last else due
            self._last_due = due
        self._number += 1
        heapq.heappush(self._waiting, (due, self._number, data))
        self.held_bytes += len(data)

    @property
    def next_at(self) -> float | None:
        """When the next piece is due; None when there is none."""
        return self._waiting[0][0] if self._waiting else None

    def pop(self, now: float) -> bytes | None:
        """The next piece, if it is due."""
        if not self._waiting or self._waiting[0][0] > now:
            return None
        _, _, data = heapq.heappop(self._waiting)
        self.held_bytes -= len(data)
        return data

    def clear(self) -> None:
        """Lose everything that is under way."""
        self._waiting.clear()
        self.held_bytes = 0

    def _sent_at(self, n_bytes: int, now: float, kbit_s: float | None) -> float:
        """When the last bit has left: the line carries one piece after the other."""
        rates = [rate for rate in (kbit_s, self._link.bandwidth_kbit_s) if rate is not None]
        self._free_at = max(self._free_at, now)
        if rates:
            self._free_at += n_bytes * 8 / (min(rates) * _MS)
        return self._free_at

    def _jitter_ms(self) -> float:
        mean = self._link.jitter_ms
        if not mean:
            return 0.0
        match self._link.distribution:
            case "uniform":
                return self._rng.uniform(0, 2 * mean)
            case "normal":
                return max(0.0, self._rng.gauss(mean, mean / 3))
            case "exponential":
                return self._rng.expovariate(1 / mean)
            case "pareto":
                return (self._rng.paretovariate(_PARETO_SHAPE) - 1) * mean * (_PARETO_SHAPE - 1)
