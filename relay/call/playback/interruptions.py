"""What is known, counted and told of each interruption: the proof that the caller heard no more.

| time    | what it is                                                                  |
|---------|-----------------------------------------------------------------------------|
| onset   | the caller began to speak, in the caller's audio, as the detector says      |
| decided | it was taken for an interruption, and everything was flushed in one step    |
| cleared | `clear` was handed whole to the socket                                      |
| silent  | the mark behind the `clear` came back: the caller's side is silent at least |
|         | since then                                                                  |

Nobody took an interruption back until the fence says so: what it flushed counts as dropped only then.
"""

from dataclasses import asdict, dataclass

from structlog.typing import FilteringBoundLogger

from relay.call.report.counts import Counts
from relay.call.report.events import EventFeed, FalseAlarm, Interrupted
from relay.logic.playback.fence import Verdict
from relay.media.frames import FRAME_MS
from relay.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Interruption:
    """Times on the clock of `trio.current_time()`.

    `turn` was cut, `heard_ms` of it had been heard. `onset_at` is None if our detector noticed nothing. `agreed`: the
    assistant said it first. `mark` is the one behind the `clear`.
    """

    turn: int
    onset_at: float | None
    decided_at: float
    heard_ms: float
    flushed_ms: float
    agreed: bool
    mark: tuple[int, int]


class Interruptions:
    """Those of one call, one after the other."""

    def __init__(self, counts: Counts, metrics: Metrics, events: EventFeed, log: FilteringBoundLogger) -> None:
        self._counts = counts
        self._events = events
        self._metrics = metrics
        self._log = log
        self._undecided: Interruption | None = None
        self._cleared: Interruption | None = None
        self._cleared_at = 0.0
        self.cleared_through = 0
        """No frame of this turn or an older one may be written any more."""

    def began(self, it: Interruption) -> None:
        """Everything was flushed just now."""
        self._undecided = it

    def cleared(self, it: Interruption, at: float) -> None:
        """Its `clear` is on the wire."""
        self.cleared_through = it.turn
        self._cleared, self._cleared_at = it, at
        onset_at = it.decided_at if it.onset_at is None else it.onset_at
        if it.onset_at is not None:
            self._metrics.bargein.observe(at - onset_at)
        told = Interrupted(
            turn=it.turn,
            by="assistant" if it.agreed else "caller",
            onset_to_clear_ms=round((at - onset_at) * 1000, 2),
            flushed_ms=round(it.flushed_ms, 1),
            heard_ms=round(it.heard_ms, 1),
        )
        self._log.info("bargein.flushed", **asdict(told), decide_to_clear_ms=round((at - it.decided_at) * 1000, 3))
        self._events.publish(told)

    def lingering_cleared(self, turn: int, decided_at: float, at: float) -> None:
        """The `clear` for what should have been played, but was not known to be, is on the wire."""
        self.cleared_through = turn
        self._log.info("bargein.cleared", turn=turn, decide_to_clear_ms=round((at - decided_at) * 1000, 3))

    def mark_returned(self, turn: int, position_ms: int, at: float) -> bool:
        """Whether this mark is the one behind the last `clear`."""
        it = self._cleared
        if it is None or (turn, position_ms) != it.mark:
            return False
        self._cleared = None
        onset_at = it.decided_at if it.onset_at is None else it.onset_at
        self._log.info(
            "bargein.silent",
            turn=it.turn,
            onset_to_silent_ms=round((at - onset_at) * 1000, 2),
            clear_to_silent_ms=round((at - self._cleared_at) * 1000, 2),
        )
        return True

    def settled(self, verdict: Verdict | None) -> None:
        """The fence has opened, or the call ended before it did (None): then nobody took the interruption back."""
        it, self._undecided = self._undecided, None
        if it is None:
            return
        if verdict is Verdict.FALSE_ALARM:
            self._counts.interruptions_false += 1
            self._log.info("bargein.false", turn=it.turn)
            self._events.publish(FalseAlarm(it.turn))
            return
        self._counts.interruptions_confirmed += 1
        self._counts.dropped("stale", int(it.flushed_ms // FRAME_MS))
        self._log.info("bargein.settled", turn=it.turn, by=verdict or "end")

    def resumed(self, paused_s: float) -> None:
        """A suspicion was taken back before anything was flushed."""
        self._counts.interruptions_resumed += 1
        self._log.info("bargein.resumed", paused_ms=round(paused_s * 1000))
