"""Counts what happens in one call, for its last log line, and at the same time for the metrics of the daemon."""

from collections import Counter
from collections.abc import Iterable
from itertools import product

from relay.call.report.assistant_events import (
    AssistantChanged,
    AssistantReconnected,
    ReconnectFailed,
    TransferAccepted,
    TransferRefused,
)
from relay.call.report.events import (
    BrowserReattached,
    CallEnded,
    CallerEchoFound,
    CallerNotBack,
    CallerReattached,
    CallEvent,
    CallStarted,
)
from relay.call.report.interruption_events import FalseAlarm, InterruptionSettled, PauseTakenBack, PlayoutHole
from relay.media.frames import FRAME_MS
from relay.metrics import DIRECTIONS, LEGS, Metrics


class Counts:
    """Totals of a call. Every method may be called from any task of the call; none blocks."""

    def __init__(self, metrics: Metrics, *, ended_before: bool = False) -> None:
        """`ended_before`: the metrics have an end of this call already, in this process or in another."""
        self._metrics = metrics
        self._all_frames = metrics.frames
        self._ended_before = ended_before
        self._frames = dict.fromkeys(product(LEGS, DIRECTIONS), 0)
        self._dropped: Counter[str] = Counter()
        self._invented: Counter[str] = Counter()
        self._notes_dropped: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._reconnects: Counter[str] = Counter()
        self._changes = 0
        self._vad_skipped = 0
        self._again = 0
        self._echoes = 0
        self._stale = 0
        self._confirmed = self._false = self._resumed = 0

    def note(self, event: CallEvent) -> None:
        """Count an event of the call, if it is one that is counted."""
        match event:
            case CallStarted():
                self._metrics.calls_active.inc()
            case CallEnded(reason=reason):
                self._metrics.calls_active.dec()
                if not self._ended_before:  # a counter cannot take its first end back
                    self._metrics.calls.labels(reason).inc()
            case CallerEchoFound():
                self._echoes += 1
            case CallerReattached() | BrowserReattached():
                self._reconnect("caller", ok=True)
            case CallerNotBack():
                self._reconnect("caller", ok=False)
            case AssistantReconnected():
                self._reconnect("assistant", ok=True)
            case ReconnectFailed():
                self._reconnect("assistant", ok=False)
            case AssistantChanged():
                self._changes += 1
                self._metrics.reconnects.labels("assistant", "planned").inc()
            case TransferAccepted():
                self._metrics.transfers.labels("accepted").inc()
            case TransferRefused():
                self._metrics.transfers.labels("refused").inc()
            case FalseAlarm():
                self._false += 1
            case InterruptionSettled(flushed_ms=flushed_ms):
                self._confirmed += 1
                self.dropped("stale", int(flushed_ms // FRAME_MS))
            case PauseTakenBack():
                self._resumed += 1
            case PlayoutHole(hole_ms=hole_ms):
                self._metrics.playout_holes.inc()
                self.invented("underrun", max(1, round(hole_ms / FRAME_MS)))

    def frame(self, leg: str, direction: str, frames: int = 1) -> None:
        """So many frames crossed a socket; `direction` up is towards the assistant."""
        way = leg, direction
        self._frames[way] += frames
        self._all_frames[way] += frames

    def frame_delays(self, direction: str, delays_s: Iterable[float]) -> None:
        """How long we kept each of some frames beyond the configured buffer."""
        spread = self._metrics.frame_delay[direction,]
        for delay_s in delays_s:
            spread.observe(delay_s)

    def stale_sent(self, frames: int) -> None:
        """Frames of a turn that was cut went out behind its `clear`: what must never happen."""
        self._metrics.frames_stale.inc(frames)
        self._stale += frames

    def dropped(self, cause: str, frames: int = 1) -> None:
        if frames:
            self._dropped[cause] += frames
            self._metrics.frames_dropped[cause,] += frames

    def notes_dropped(self, code: str, notes: int) -> bool:
        """So many text messages will not reach the assistant; True for the first with this code."""
        is_first = code not in self._notes_dropped
        self._notes_dropped[code] += notes
        self._metrics.notes_dropped.labels(code).inc(notes)
        return is_first

    def again(self, frames: int) -> None:
        """The assistant had got these, and gets them again after a loss."""
        self._again += frames

    def invented(self, cause: str, frames: int = 1) -> None:
        if frames:
            self._invented[cause] += frames
            self._metrics.frames_invented[cause,] += frames

    def bargein(self, onset_to_clear_s: float) -> None:
        """The detector noticed an interruption, and its `clear` is on the wire."""
        self._metrics.bargein.observe(onset_to_clear_s)

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
            "frames_stale": self._stale,
            "frames_dropped": dict(self._dropped),
            "frames_invented": dict(self._invented),
            "notes_dropped": dict(self._notes_dropped),
            "reconnects": dict(self._reconnects),
            "planned_changes": self._changes,
            "protocol_errors": dict(self._errors),
            "vad_windows_skipped": self._vad_skipped,
            "echoes_found": self._echoes,
            "interruptions_confirmed": self._confirmed,
            "interruptions_false": self._false,
            "interruptions_resumed": self._resumed,
        }

    def _reconnect(self, leg: str, *, ok: bool) -> None:
        if ok:
            self._reconnects[leg] += 1
        self._metrics.reconnects.labels(leg, "ok" if ok else "failed").inc()
