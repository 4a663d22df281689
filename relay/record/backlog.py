"""Counts the bytes of all recordings that wait for the disk, and gives recordings up when there are too many.

A disk that is slow for one call is slow for all, so the bound that keeps the memory is one for the process. First the
recording is given up that has most waiting: that costs the fewest calls theirs.
"""

from typing import Protocol

CALL_MAX_BYTES = 2_000_000
"""Half a minute of a call: a disk that is so far behind does not catch up, and the operator should know."""
MAX_BYTES = 32_000_000
"""Of all calls together: five seconds of a hundred."""


class Waiting(Protocol):
    """A recording. `waiting_bytes` belongs to the backlog, and is 0 at first."""

    waiting_bytes: int

    def give_up(self, why: str) -> None:
        """Hold nothing any more, and say why. Calls `Backlog.drop`."""
        ...


class Backlog:
    """One per recorder. `n_bytes` is all that is held: what is being written counts until it is written."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.n_bytes = 0
        self._max_bytes = max_bytes
        self._waiting: dict[Waiting, None] = {}
        self._being_written = 0

    def add(self, recording: Waiting, n_bytes: int) -> None:
        """So much more waits of it. Gives up those that are too much. It is called for each frame of each call."""
        if not recording.waiting_bytes:
            self._waiting[recording] = None
        recording.waiting_bytes += n_bytes
        self.n_bytes += n_bytes
        if recording.waiting_bytes > CALL_MAX_BYTES:
            recording.give_up("the disk is too slow")
        while self.n_bytes > self._max_bytes and self._waiting:
            most = max(self._waiting, key=lambda it: it.waiting_bytes)
            most.give_up("the disk is too slow for all calls together")

    def take(self, recording: Waiting) -> None:
        """What waited of it is being written."""
        self._being_written += recording.waiting_bytes
        self._forget(recording)

    def written(self) -> None:
        """All that was being written is written, or lost."""
        self.n_bytes -= self._being_written
        self._being_written = 0

    def drop(self, recording: Waiting) -> None:
        """What waited of it is gone."""
        self.n_bytes -= recording.waiting_bytes
        self._forget(recording)

    def _forget(self, recording: Waiting) -> None:
        recording.waiting_bytes = 0
        self._waiting.pop(recording, None)
