"""Keeps account of what the caller has heard of all that was sent.

Positions are milliseconds of audio since the call began. The caller's side plays in real time and echoes a mark when
all before it was played; between the marks the clock tells.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from relay.logic.playback.frame import PlayFrame
from relay.media.frames import FRAME_MS

UNCONFIRMED_MAX_FRAMES = 3000
"""One minute: a caller's side whose marks lag by more does not play what we send."""


class HeardPosition:
    """Keeps each frame until a mark says that it was played, and the last `recent_frames` that were sent.

    Times are monotonic seconds.
    """

    def __init__(self, recent_frames: int = 0) -> None:
        self.sent_ms = 0.0
        self._known_ms = 0.0
        self._heard_ms = 0.0
        self._heard_at = 0.0
        self._marked = False
        self._turn, self._turn_began_ms = 0, 0.0
        self._unconfirmed: deque[tuple[float, PlayFrame]] = deque(maxlen=UNCONFIRMED_MAX_FRAMES)
        self._recent: deque[tuple[float, PlayFrame]] = deque(maxlen=recent_frames)

    def sent(self, frame: PlayFrame) -> None:
        """20 ms more are on their way. A turn begins with its first sound."""
        if frame.audible and frame.turn != self._turn:
            self._turn, self._turn_began_ms = frame.turn, self.sent_ms
        self.sent_ms += FRAME_MS
        self._unconfirmed.append((self.sent_ms, frame))
        self._recent.append((self.sent_ms, frame))

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

    def of_turn(self, turn: int, now: float) -> float:
        """How many ms of this turn were heard, if it is the newest of which anything was sent; else 0."""
        return max(0.0, self.at(now) - self._turn_began_ms) if turn == self._turn else 0.0

    def take_back(self, now: float) -> list[PlayFrame]:
        """The frames that are not sure to have been heard, the newest first: they are to be sent again.

        Sure is what the last mark says; the clock where there are no marks.
        """
        again = [*self.after(self._known_ms if self._marked else self.at(now))]
        if again and again[-1].turn == self._turn:
            self._turn_began_ms += len(again) * FRAME_MS
        self._recent.clear()
        self.settle(now)
        return again

    def after(self, position_ms: float) -> Iterator[PlayFrame]:
        """The frames that end after this position, the newest first."""
        for end_ms, frame in reversed(self._unconfirmed):
            if end_ms <= position_ms:
                return
            yield frame

    def unmarked(self) -> Iterator[PlayFrame]:
        """The frames that no mark has returned, the newest first: they may be on their way, whatever the clock says."""
        return self.after(self._known_ms)

    def just_heard(self, frames: int, turn: int, now: float) -> Sequence[PlayFrame]:
        """Those of this turn among the last so many frames that were heard, in order, as far as they were kept."""
        heard_ms = self.at(now)
        heard = [frame for end_ms, frame in self._recent if end_ms <= heard_ms][-frames:] if frames else []
        return [frame for frame in heard if frame.turn == turn]

    def settle(self, now: float) -> None:
        """Nothing of what was sent will be heard any more."""
        heard_ms = self.at(now)
        while self._recent and self._recent[-1][0] > heard_ms:
            self._recent.pop()
        self._unconfirmed.clear()
        self._known_ms = self._heard_ms = self.sent_ms
        self._heard_at = now
