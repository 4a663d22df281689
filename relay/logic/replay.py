"""The caller's audio on its way to the assistant: a log with a cursor.

The forwarder reads at its cursor and waits when it has read everything. Until a connection stands the log keeps what
the caller says; then the same code sends what is old and what is new.
"""

from collections import deque
from dataclasses import dataclass

from relay.media.frames import FRAME_MS


@dataclass(frozen=True, slots=True)
class ReplayStatistics:
    kept_ms: int
    unread_ms: int
    dropped_ms: int


class ReplayLog:
    """20 ms frames, numbered from 0, at most `max_ms` of them; the oldest go first.

    A frame that goes before it was read is counted as dropped.
    """

    def __init__(self, max_ms: float) -> None:
        self._frames: deque[bytes] = deque(maxlen=max(1, int(max_ms / FRAME_MS)))
        self._end = 0
        self._cursor = 0
        self._dropped = 0

    def append(self, frame: bytes) -> None:
        if len(self._frames) == self._frames.maxlen and self._cursor == self._end - len(self._frames):
            self._cursor += 1
            self._dropped += 1
        self._frames.append(frame)
        self._end += 1

    def read(self) -> bytes | None:
        """The next frame that was not read yet; None when all were."""
        if self._cursor == self._end:
            return None
        frame = self._frames[self._cursor - self._end]
        self._cursor += 1
        return frame

    def statistics(self) -> ReplayStatistics:
        unread = self._end - self._cursor
        return ReplayStatistics(len(self._frames) * FRAME_MS, unread * FRAME_MS, self._dropped * FRAME_MS)
