"""Keeps what is known of each interruption, and tells it: the proof that the caller heard no more.

| time    | what it is                                                                  |
|---------|-----------------------------------------------------------------------------|
| onset   | the caller began to speak, in the caller's audio, as the detector says      |
| decided | it was taken for an interruption, and everything was flushed in one step    |
| cleared | `clear` was handed whole to the socket                                      |
| silent  | the mark behind the `clear` came back: the caller's side is silent at least |
|         | since then                                                                  |

Until the fence has opened, an interruption may be taken back as a false alarm; so what it flushed counts as dropped
only then.
"""

from dataclasses import dataclass
from typing import Literal

from relay.call.report.interruption_events import (
    CallerSilenced,
    FalseAlarm,
    Interrupted,
    InterruptionSettled,
    LingeringCleared,
    PauseTakenBack,
)
from relay.call.report.report import Report
from relay.logic.playback.ruling import Verdict


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
    """The interruptions of one call, one after the other."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._undecided: Interruption | None = None
        self._cleared: Interruption | None = None
        self._cleared_at = 0.0

    def began(self, it: Interruption) -> None:
        """Everything was flushed just now."""
        self._undecided = it

    def cleared(self, it: Interruption, at: float) -> None:
        """Its `clear` is on the wire."""
        self._cleared, self._cleared_at = it, at
        onset_at = it.decided_at if it.onset_at is None else it.onset_at
        if it.onset_at is not None:
            self._report.counts.bargein(at - onset_at)
        self._report.tell(
            Interrupted(
                turn=it.turn,
                by="assistant" if it.agreed else "caller",
                onset_to_clear_ms=round((at - onset_at) * 1000, 2),
                decide_to_clear_ms=round((at - it.decided_at) * 1000, 3),
                flushed_ms=round(it.flushed_ms, 1),
                heard_ms=round(it.heard_ms, 1),
            )
        )

    def lingering_cleared(self, turn: int, decided_at: float, at: float) -> None:
        """The `clear` for what should have been played, but was not known to be, is on the wire."""
        self._report.tell(LingeringCleared(turn, decide_to_clear_ms=round((at - decided_at) * 1000, 3)))

    def mark_returned(self, turn: int, position_ms: int, at: float) -> bool:
        """Whether this mark is the one behind the last `clear`."""
        it = self._cleared
        if it is None or (turn, position_ms) != it.mark:
            return False
        self._cleared = None
        onset_at = it.decided_at if it.onset_at is None else it.onset_at
        self._report.tell(
            CallerSilenced(
                it.turn,
                onset_to_silent_ms=round((at - onset_at) * 1000, 2),
                clear_to_silent_ms=round((at - self._cleared_at) * 1000, 2),
            )
        )
        return True

    def settled(self, verdict: Verdict | None) -> None:
        """The fence has opened, or the call ended before it did (None): then nobody took the interruption back."""
        it, self._undecided = self._undecided, None
        if it is None:
            return
        if verdict in {Verdict.FALSE_ALARM, Verdict.AGREEMENT}:
            by: Literal["assistant", "agreement"] = "agreement" if verdict is Verdict.AGREEMENT else "assistant"
            self._report.tell(FalseAlarm(it.turn, by))
        else:
            self._report.tell(InterruptionSettled(it.turn, by=verdict or "end", flushed_ms=it.flushed_ms))

    def resumed(self, paused_s: float) -> None:
        """A suspicion was taken back before anything was flushed."""
        self._report.tell(PauseTakenBack(round(paused_s * 1000)))
