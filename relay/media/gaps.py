"""Holes in the media time of a leg whose messages carry timestamps.

Twilio Media Streams ("WebSocket messages"): `media.timestamp` is the media time in ms since the stream began. Arrival
times play no part here: a late frame is not a gap.
"""

from dataclasses import dataclass

from relay.media.frames import FRAME_MS

MIN_GAP_MS = 60
"""Shorter holes are left: closing up three frames is heard less than silence cut into a word."""
MAX_FILL_MS = 1000
MAX_LATE_MS = 1000
"""Further back than this is no late message but a sender that began to count anew."""
MAX_JUMP_MS = 60_000
"""Further ahead than this is no loss of media but a sender that changed its clock."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What to do with a message.

    Before it goes `fill_ms` of silence; `skipped_ms` more were missing and are not filled. `late`: all of its media
    time has passed, drop it. `resynced`: its timestamp made no sense and is the new origin.
    """

    fill_ms: int = 0
    skipped_ms: float = 0.0
    late: bool = False
    resynced: bool = False


_IN_PLACE = Placement()
_LATE = Placement(late=True)


class MediaClock:
    """Says for each message how much silence belongs before it.

    A hole is the time between the end of the media so far and the next message, each hole on its own: jitter of the
    timestamps adds up to nothing. Holes under 60 ms are not filled; longer ones in whole 20 ms frames, up to
    `max_fill_ms` each.
    """

    __slots__ = ("_end_ms", "_invented_ms", "_max_fill_ms", "filled_ms", "late", "resyncs", "skipped_ms")

    def __init__(self, max_fill_ms: int = MAX_FILL_MS) -> None:
        self._max_fill_ms = max_fill_ms // FRAME_MS * FRAME_MS
        self._end_ms: float | None = None
        self._invented_ms = 0.0
        self.filled_ms = 0
        self.skipped_ms = 0.0
        self.late = 0
        self.resyncs = 0

    def place(self, timestamp_ms: float, duration_ms: float) -> Placement:
        """Put a message on the time line. The first one sets the origin."""
        if self._end_ms is None:
            self._end_ms = timestamp_ms + duration_ms
            return _IN_PLACE
        hole_ms = timestamp_ms - self._end_ms
        if -MAX_LATE_MS <= hole_ms + duration_ms <= 0:
            self.late += 1
            return _LATE
        self._end_ms = timestamp_ms + duration_ms
        invented_ms, self._invented_ms = self._invented_ms, 0.0
        resynced = not -MAX_LATE_MS <= hole_ms <= MAX_JUMP_MS
        if hole_ms - invented_ms < MIN_GAP_MS and not resynced:
            return _IN_PLACE
        return self._fill(hole_ms - invented_ms, resynced=resynced)

    def note_invented(self, silence_ms: float) -> None:
        """Silence was sent because no media came. It counts against the hole before the next message, if any."""
        self._invented_ms += silence_ms

    def _fill(self, missing_ms: float, *, resynced: bool) -> Placement:
        fill_ms = max(0, min(round(missing_ms / FRAME_MS) * FRAME_MS, self._max_fill_ms))
        skipped_ms = 0.0 if resynced else max(0.0, missing_ms - fill_ms)
        self.filled_ms += fill_ms
        self.skipped_ms += skipped_ms
        self.resyncs += resynced
        return Placement(fill_ms, skipped_ms, resynced=resynced)
