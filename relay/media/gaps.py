"""Finds holes in the media time of a leg whose messages carry timestamps, and says how much silence fills them.

Source: Twilio Media Streams, "WebSocket messages": `media.timestamp` is the media time in ms since the stream began.
Arrival times play no part here: a frame that arrives late is no hole.
"""

from dataclasses import dataclass

from relay.media.frames import FRAME_MS

MIN_GAP_MS = 60
"""Shorter holes are left: closing up two frames is heard less than silence cut into a word."""
MAX_FILL_MS = 1000
"""Longer holes are filled with only so much silence, so that a wrong timestamp cannot invent minutes of it."""
MAX_LATE_MS = 1000
"""A message from further back is not late: its sender has begun to count anew."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A message's place on the time line: `fill_ms` of silence go before it.

    `late`: all of its media time has passed; drop it.
    """

    fill_ms: int = 0
    late: bool = False


_IN_PLACE = Placement()
_LATE = Placement(late=True)


class MediaClock:
    """Says for each message how much silence belongs before it.

    A hole is the time between the end of the media so far and the next message, each hole on its own: jitter of the
    timestamps adds up to nothing. Holes under 60 ms are not filled; longer ones are filled in whole 20 ms frames, up
    to a second each. A timestamp that makes no sense becomes the new origin.
    """

    __slots__ = ("_end_ms", "_invented_ms")

    def __init__(self) -> None:
        self._end_ms: float | None = None
        self._invented_ms = 0.0

    def place(self, timestamp_ms: float, duration_ms: float) -> Placement:
        """Put a message on the time line. The first one sets the origin."""
        hole_ms = 0.0 if self._end_ms is None else timestamp_ms - self._end_ms
        if -MAX_LATE_MS <= hole_ms + duration_ms <= 0:
            return _LATE
        self._end_ms = timestamp_ms + duration_ms
        missing_ms = hole_ms - self._invented_ms
        self._invented_ms = 0.0
        if missing_ms < MIN_GAP_MS:
            return _IN_PLACE
        return Placement(min(round(missing_ms / FRAME_MS) * FRAME_MS, MAX_FILL_MS))

    def note_invented(self, silence_ms: float) -> None:
        """Silence was sent because no media came. It counts against the hole before the next message, if any."""
        self._invented_ms += silence_ms
