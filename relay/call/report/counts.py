"""What one call counted, for its last log line, and at the same time for the metrics of the daemon."""

from collections import Counter

from relay.media.frames import FRAME_MS
from relay.metrics import DIRECTIONS, LEGS, Metrics

FrameKey = tuple[str, str]


class Counts:
    """Totals of a call. Every method may be called from any task of the call; none blocks."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._frames: Counter[FrameKey] = Counter()
        self._dropped: Counter[str] = Counter()
        self._invented: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._reconnects: Counter[str] = Counter()
        self._changes = 0
        self._vad_skipped = 0
        self._again = 0
        self.stale = 0
        self.interruptions_confirmed = 0
        self.interruptions_false = 0
        self.interruptions_resumed = 0

    def frame(self, leg: str, direction: str) -> None:
        """One frame crossed a socket; `direction` up is towards the assistant."""
        self._frames[leg, direction] += 1
        self._metrics.frames[leg, direction].inc()

    def frame_delay(self, direction: str, delay_s: float) -> None:
        """How long we kept a frame beyond the configured buffer."""
        self._metrics.frame_delay[direction].observe(delay_s)

    def stale_sent(self) -> None:
        """A frame of a turn that was cut went out behind its `clear`: what must never happen."""
        self._metrics.frames_stale.inc()
        self.stale += 1

    def dropped(self, cause: str, frames: int = 1) -> None:
        if frames:
            self._dropped[cause] += frames
            self._metrics.frames_dropped.labels(cause).inc(frames)

    def again(self, frames: int) -> None:
        """The assistant had got these, and gets them again after a loss."""
        self._again += frames

    def invented(self, cause: str, frames: int = 1) -> None:
        if frames:
            self._invented[cause] += frames
            self._metrics.frames_invented.labels(cause).inc(frames)

    def hole(self, hole_ms: float) -> None:
        """The caller heard silence in the middle of the assistant's speech, because nothing was there to play."""
        self._metrics.playout_holes.inc()
        self.invented("underrun", max(1, round(hole_ms / FRAME_MS)))

    def reconnect(self, leg: str, *, ok: bool) -> None:
        """An attempt to get a lost leg back came to its end."""
        if ok:
            self._reconnects[leg] += 1
        self._metrics.reconnects.labels(leg, "ok" if ok else "failed").inc()

    def moved(self) -> None:
        """The conversation was moved to a new assistant call before its provider ended the old one."""
        self._changes += 1
        self._metrics.reconnects.labels("assistant", "planned").inc()

    def protocol_error(self, leg: str, code: str) -> bool:
        """Count a bad message; True for the first of its kind on this leg of the call, which is worth a log line.

        `code` comes from a closed set: it is a label.
        """
        key = f"{leg}.{code}"
        self._errors[key] += 1
        self._metrics.protocol_errors.labels(leg, code).inc()
        return self._errors[key] == 1

    def vad_skipped(self) -> None:
        """The detector did not get to hear a window of the caller: the model was too slow, or failed."""
        self._vad_skipped += 1
        self._metrics.vad_skipped.inc()

    def totals(self) -> dict[str, object]:
        """Flat values for `call.ended`."""
        return {
            **{f"frames_{leg}_{direction}": self._frames[leg, direction] for leg in LEGS for direction in DIRECTIONS},
            "frames_assistant_again": self._again,
            "frames_stale": self.stale,
            "frames_dropped": dict(self._dropped),
            "frames_invented": dict(self._invented),
            "reconnects": dict(self._reconnects),
            "planned_changes": self._changes,
            "protocol_errors": dict(self._errors),
            "vad_windows_skipped": self._vad_skipped,
            "interruptions_confirmed": self.interruptions_confirmed,
            "interruptions_false": self.interruptions_false,
            "interruptions_resumed": self.interruptions_resumed,
        }
