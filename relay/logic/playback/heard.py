"""What the caller has heard of all that was sent to him.

Positions are milliseconds of audio since the call began. The caller's side plays in real time and echoes a mark when
all before it was played; between the marks the clock tells.
"""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from relay.media.frames import FRAME_MS

Frame = TypeVar("Frame")

UNCONFIRMED_MAX_FRAMES = 3000
"""One minute: a caller's side whose marks lag by more does not play what we send."""


class HeardPosition(Generic[Frame]):
    """Keeps each frame until a mark says that it was played. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.sent_ms = 0.0
        self._known_ms = 0.0
        self._heard_ms = 0.0
        self._heard_at = 0.0
        self._marked = False
        self._unconfirmed: deque[tuple[float, Frame]] = deque(maxlen=UNCONFIRMED_MAX_FRAMES)

    def sent(self, frame: Frame) -> None:
        """20 ms more are on their way."""
        self.sent_ms += FRAME_MS
        self._unconfirmed.append((self.sent_ms, frame))

    def restart(self, now: float) -> None:
        """All that was sent was played, and what is sent next is played from now on."""
        self._heard_ms, self._heard_at = self.sent_ms, now

    def mark(self, position_ms: float, now: float) -> None:
        """Everything up to this position was played.

        It cannot be more than was sent, nor take back what a mark or `settle` has settled before.
        """
        if position_ms >= self._known_ms:
            self._marked = True
            self._known_ms = self._heard_ms = min(position_ms, self.sent_ms)
            self._heard_at = now
            while self._unconfirmed and self._unconfirmed[0][0] <= self._known_ms:
                self._unconfirmed.popleft()

    def at(self, now: float) -> float:
        """Position heard: the last mark plus the time since, at most what was sent."""
        return min(self.sent_ms, self._heard_ms + (now - self._heard_at) * 1000)

    def confirmed(self, now: float) -> float:
        """Position that is sure to have been heard: the last mark; the clock where there are no marks."""
        return self._known_ms if self._marked else self.at(now)

    def after(self, position_ms: float) -> Iterator[Frame]:
        """The frames that end after this position, the newest first."""
        for end_ms, frame in reversed(self._unconfirmed):
            if end_ms <= position_ms:
                return
            yield frame

    def unmarked(self) -> Iterator[Frame]:
        """The frames that no mark has returned, the newest first: they may be on their way, whatever the clock says."""
        return self.after(self._known_ms)

    def settle(self, now: float) -> None:
        """Nothing of what was sent will be heard any more."""
        self._unconfirmed.clear()
        self._known_ms = self._heard_ms = self.sent_ms
        self._heard_at = now
