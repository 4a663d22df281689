"""Counts the bytes of all recordings that wait for the disk, and gives recordings up when there are too many.

A disk that is slow for one call is slow for all, so the bound that keeps the memory is one for the process. First the
recording is given up that has most waiting: that costs the fewest calls theirs.
"""

from collections import Counter
from typing import Protocol

CALL_MAX_BYTES = 2_000_000
"""Half a minute of a call: a disk that is so far behind does not catch up, and the operator should know."""
MAX_BYTES = 32_000_000
"""Of all calls together: five seconds of a hundred."""


class Waiting(Protocol):
    """A recording of which something waits."""

    def give_up(self, why: str) -> None:
        """Hold nothing any more, and say why. Calls `Backlog.drop`."""
        ...


class Backlog:
    """One per recorder. What is being written counts until it is written, because it is held until then."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._waiting: Counter[Waiting] = Counter()
        self._n_bytes = 0
        self._being_written = 0

    @property
    def n_bytes(self) -> int:
        """All that is held."""
        return self._n_bytes + self._being_written

    def add(self, recording: Waiting, n_bytes: int) -> None:
        """So much more waits of this recording. Gives up those that are too much."""
        self._waiting[recording] += n_bytes
        self._n_bytes += n_bytes
        if self._waiting[recording] > CALL_MAX_BYTES:
            recording.give_up("the disk is too slow")
        while self.n_bytes > self._max_bytes and self._waiting:
            ((most, _),) = self._waiting.most_common(1)
            most.give_up("the disk is too slow for all calls together")

    def take(self, recording: Waiting) -> None:
        """What waited of it is being written."""
        self._being_written += self.drop(recording)

    def written(self) -> None:
        """All that was being written is written, or lost."""
        self._being_written = 0

    def drop(self, recording: Waiting) -> int:
        """What waited of it is gone; returns how many bytes that was."""
        n_bytes = self._waiting.pop(recording, 0)
        self._n_bytes -= n_bytes
        return n_bytes
