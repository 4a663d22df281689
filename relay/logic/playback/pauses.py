"""How long the assistant was silent before it sounds again, in the time of its audio and not of its arrival.

Audio that comes faster than real time runs ahead of the clock, and a late chunk pushes the stream back once; neither
is a pause. Silence that was sent counts by its frames, silence that was not sent by the clock.
"""

from math import inf

from relay.media.frames import FRAME_MS

FRAME_S = FRAME_MS / 1000
JITTER_S = 0.12
"""A chunk that is late by less is late, and no pause."""


class PauseMeter:
    """Fed with every frame in order of arrival; times are monotonic seconds. Before the first sound all was a pause."""

    def __init__(self) -> None:
        self.sounded_at = -inf
        """When the last audible frame arrived."""
        self.sound_until = -inf
        """When that frame ends if all is played in real time: later than now if the assistant sends ahead."""
        self._stream_end = -inf
        self._pause_s = inf

    def measure(self, *, audible: bool, now: float) -> float:
        """The silence in front of this frame, seconds."""
        gap_s = now - self._stream_end
        pause_s = self._pause_s + (gap_s if gap_s > JITTER_S else 0.0)
        self._stream_end = max(self._stream_end, now) + FRAME_S
        if audible:
            self._pause_s = 0.0
            self.sounded_at, self.sound_until = now, self._stream_end
        else:
            self._pause_s = pause_s + FRAME_S
        return pause_s
