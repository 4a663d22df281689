"""What can happen in a call and on its caller's side, as values: each becomes a log line, a count, and news for who
listens. Those of the assistant's side and of interruptions are beside it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from structlog.typing import FilteringBoundLogger

Role = Literal["user", "assistant"]
Leg = Literal["caller", "assistant", "relay"]


@dataclass(frozen=True, slots=True)
class CallEvent:
    """Base of all. `log_name` is the event's name in the log; None: it has no line there."""

    log_name: ClassVar[str | None] = None
    log_level: ClassVar[int] = logging.INFO
    unlogged_name: ClassVar[str] = ""
    """The event's name in a recording, where it has none in the log."""

    def log_values(self) -> dict[str, Any]:
        """What stands in the log beside the name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def write_to(self, log: FilteringBoundLogger) -> None:
        if self.log_name is not None:
            log.log(self.log_level, self.log_name, **self.log_values())

    def recorded(self) -> tuple[str, dict[str, Any]]:
        """The event's name in a recording of the call, and what stands there beside it."""
        return self.log_name or self.unlogged_name, self.log_values()


# -- the call


@dataclass(frozen=True, slots=True)
class CallStarted(CallEvent):
    """`generation` is that of the configuration which holds for this call."""

    log_name = "call.started"
    call_sid: str
    generation: int = 1


@dataclass(frozen=True, slots=True)
class CallEnded(CallEvent):
    """`totals` are what the call counted."""

    log_name = "call.ended"
    reason: str
    duration_s: float
    call_sid: str
    assistant_call_id: str | None
    totals: Mapping[str, object]

    def log_values(self) -> dict[str, Any]:
        shown = ("reason", "duration_s", "call_sid", "assistant_call_id")
        return {**{name: getattr(self, name) for name in shown}, **self.totals}


@dataclass(frozen=True, slots=True)
class StateChanged(CallEvent):
    """The call stands differently for its caller. `reason` is the end reason once it is ended."""

    unlogged_name = "call.state"
    status: Literal["live", "reconnecting", "degraded", "ended"]
    reason: str


@dataclass(frozen=True, slots=True)
class Trouble(CallEvent):
    """Something failed on one leg; the call goes on, or a `StateChanged` says that it does not."""

    log_level = logging.WARNING
    unlogged_name = "call.failed"
    leg: Leg
    code: str
    error: str

    def log_values(self) -> dict[str, Any]:
        return {"code": self.code, "error": self.error}


@dataclass(frozen=True, slots=True)
class BadCallerMessage(Trouble):
    log_name = "caller.bad_message"


@dataclass(frozen=True, slots=True)
class CallerCutOff(Trouble):
    """The caller's side went on sending messages that are none of the protocol, and the call ends."""

    log_name = "caller.cut_off"
    leg: Leg = "caller"
    code: str = "TOO_MANY_MALFORMED"
    error: str = "too many messages that cannot be read: the call ends"


@dataclass(frozen=True, slots=True)
class BadAssistantMessage(Trouble):
    log_name = "assistant.bad_message"


@dataclass(frozen=True, slots=True)
class NotesDropped(Trouble):
    """The assistant is not told of keys that the caller pressed, or of a transfer that did not take place."""

    log_name = "assistant.notes_dropped"
    leg: Leg = field(default="assistant", init=False)


# -- the caller's leg


@dataclass(frozen=True, slots=True)
class CallerAttached(CallEvent):
    """The first socket of the caller is there."""

    log_name = "caller.attached"


@dataclass(frozen=True, slots=True)
class CallerEchoFound(CallEvent):
    """What the assistant says comes back from the caller's side, so much weaker and later than it was sent.

    `removed_by`: the canceller, or a bar on the level where the canceller's library is missing.
    """

    log_name = "echo.found"
    loss_db: float
    delay_ms: int
    removed_by: Literal["canceller", "level"]


@dataclass(frozen=True, slots=True)
class CallerEchoGone(CallEvent):
    """It does not come back any more, nor has for some seconds of the assistant's words."""

    log_name = "echo.gone"


@dataclass(frozen=True, slots=True)
class CallerLost(CallEvent):
    """A socket of the caller is gone, and the next is awaited."""

    log_name = "caller.lost"
    error: str


@dataclass(frozen=True, slots=True)
class CallerReattached(CallEvent):
    """`replayed_ms` of the assistant were not known to have been heard, and are played again."""

    log_name = "caller.reattached"
    gap_ms: float
    replayed_ms: int


@dataclass(frozen=True, slots=True)
class CallerNotBack(CallEvent):
    """The caller was not attached again in time, or too often before."""

    unlogged_name = "caller.not_back"


@dataclass(frozen=True, slots=True)
class BrowserLost(CallEvent):
    """A browser has no connection."""

    log_name = "caller.lost"
    transport: str


@dataclass(frozen=True, slots=True)
class BrowserReattached(CallEvent):
    log_name = "caller.reattached"
    transport: str
    before: str
    away_ms: int


@dataclass(frozen=True, slots=True)
class BrowserGone(CallEvent):
    """A browser had no connection for its whole grace."""

    log_name = "client.gone"
    grace_s: float


@dataclass(frozen=True, slots=True)
class KeyWasPressed(CallEvent):
    """A DTMF digit came; which one is nobody's business."""

    log_name = "caller.key_pressed"


@dataclass(frozen=True, slots=True)
class Speech(CallEvent):
    """Somebody began or stopped to speak."""

    unlogged_name = "assistant.speech"
    role: Role
    started: bool


@dataclass(frozen=True, slots=True)
class CallerSpoke(Speech):
    """The detector is sure. Times are of the caller's audio, levels of the window that decided."""

    log_name = "speech.started"
    role: Role = field(default="user", init=False)
    started: bool = field(default=True, init=False)
    onset_ms: int
    likely_ms: int
    decided_ms: int
    level_dbfs: float
    over_floor_db: float

    def log_values(self) -> dict[str, Any]:
        shown = ("onset_ms", "likely_ms", "decided_ms", "level_dbfs", "over_floor_db")
        return {name: getattr(self, name) for name in shown}


@dataclass(frozen=True, slots=True)
class CallerPaused(Speech):
    """The detector is sure that the caller stopped at `at_ms` of the caller's audio."""

    log_name = "speech.ended"
    role: Role = field(default="user", init=False)
    started: bool = field(default=False, init=False)
    at_ms: int
    decided_ms: int

    def log_values(self) -> dict[str, Any]:
        return {"at_ms": self.at_ms, "decided_ms": self.decided_ms}
