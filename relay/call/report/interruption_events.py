"""What can happen to the assistant's words on their way to the caller, as values: see `relay.call.report.events`.

What interruptions are is said in `relay.call.playback.interruptions`.
"""

from dataclasses import dataclass
from typing import Any, Literal

from relay.call.report.events import CallEvent


@dataclass(frozen=True, slots=True)
class Interrupted(CallEvent):
    """The caller cut the assistant, and the `clear` is on the wire. `by` says who noticed first; `onset_to_clear_ms`
    counts from the decision where our detector noticed nothing."""

    log_name = "bargein.flushed"
    turn: int
    by: Literal["caller", "assistant"]
    onset_to_clear_ms: float
    decide_to_clear_ms: float
    flushed_ms: float
    heard_ms: float


@dataclass(frozen=True, slots=True)
class InterruptionSettled(CallEvent):
    """It stands, and what it flushed is gone for good."""

    log_name = "bargein.settled"
    turn: int
    by: str
    flushed_ms: float

    def log_values(self) -> dict[str, Any]:
        return {"turn": self.turn, "by": self.by}


@dataclass(frozen=True, slots=True)
class FalseAlarm(CallEvent):
    """This turn was not interrupted, and what was not heard of it plays again: the assistant never agreed, or the
    caller has only agreed."""

    log_name = "bargein.false"
    turn: int
    by: Literal["assistant", "agreement"]


@dataclass(frozen=True, slots=True)
class CallerSilenced(CallEvent):
    """The mark behind the `clear` came back: the caller hears nothing of the turn since then at least."""

    log_name = "bargein.silent"
    turn: int
    onset_to_silent_ms: float
    clear_to_silent_ms: float


@dataclass(frozen=True, slots=True)
class PauseTakenBack(CallEvent):
    """A suspicion was taken back before anything was flushed."""

    log_name = "bargein.resumed"
    paused_ms: int


@dataclass(frozen=True, slots=True)
class Classified(CallEvent):
    """The operator's classifier was asked, and answered in time."""

    log_name = "bargein.classified"
    probability: float
    interrupts: bool


@dataclass(frozen=True, slots=True)
class LingeringCleared(CallEvent):
    """All should have been played, but its marks had not come back: a `clear`, and no interruption."""

    log_name = "bargein.cleared"
    turn: int
    decide_to_clear_ms: float


@dataclass(frozen=True, slots=True)
class PlayoutHole(CallEvent):
    """The caller heard silence in the middle of the assistant's words, because nothing was there to play."""

    log_name = "playout.hole"
    hole_ms: float
