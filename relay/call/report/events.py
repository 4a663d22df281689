"""Everything that can happen in a call, as values: each becomes a log line, a count, and news for who listens."""

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


# -- the assistant's leg


@dataclass(frozen=True, slots=True)
class Dialing(CallEvent):
    log_name = "assistant.dialing"
    assistant: str
    audio: str


@dataclass(frozen=True, slots=True)
class FormatAdopted(CallEvent):
    """The call has another audio format than was asked for: it is converted, both ways."""

    log_name = "assistant.format_adopted"
    asked: str
    granted: str


@dataclass(frozen=True, slots=True)
class AssistantReady(CallEvent):
    log_name = "assistant.ready"
    assistant_call_id: str


@dataclass(frozen=True, slots=True)
class DialFailed(Trouble):
    """A call with the assistant could not be made."""

    log_name = "assistant.unavailable"
    leg: Leg = field(default="assistant", init=False)


@dataclass(frozen=True, slots=True)
class AssistantLost(Trouble):
    """A call that was live broke off. `close_code` is that of its WebSocket, if it closed."""

    log_name = "assistant.lost"
    leg: Leg = field(default="assistant", init=False)
    code: str = field(default="ASSISTANT_LOST", init=False)
    close_code: int | None = None

    def log_values(self) -> dict[str, Any]:
        return {"error": self.error, "close_code": self.close_code}


@dataclass(frozen=True, slots=True)
class FaultRepeated(CallEvent):
    """The assistant has ended two calls in a row in the same way: it is not dialled until another has had the call."""

    log_name = "assistant.fault_repeated"
    log_level = logging.WARNING
    assistant: str
    error: str


@dataclass(frozen=True, slots=True)
class ReconnectFailed(CallEvent):
    """An attempt to get the assistant back came to nothing; the next follows, or the end."""

    unlogged_name = "assistant.reconnect_failed"


@dataclass(frozen=True, slots=True)
class AssistantReconnected(CallEvent):
    """The conversation goes on after a loss. `replayed_ms` of the caller are sent again, `dropped_ms` cannot be."""

    log_name = "assistant.reconnected"
    gap_ms: float
    replayed_ms: int
    dropped_ms: int
    attempt: int
    assistant_call_id: str | None
    replaces: str | None


@dataclass(frozen=True, slots=True)
class AssistantChanged(CallEvent):
    """The conversation was moved to a new assistant call before the provider ended the old one."""

    log_name = "assistant.changed"
    moment: str
    prepared_ms: int
    replayed_ms: int
    dropped_ms: int
    assistant_call_id: str | None
    replaces: str | None


@dataclass(frozen=True, slots=True)
class AssistantGivenUp(CallEvent):
    """No attempt is left."""

    log_name = "assistant.given_up"
    log_level = logging.WARNING
    attempts: int


@dataclass(frozen=True, slots=True)
class HandedOff(CallEvent):
    """Another assistant of the provider's is on the line now; `to` is its id, None when that is not told."""

    log_name = "assistant.handed_off"
    to: str | None


@dataclass(frozen=True, slots=True)
class TransferAccepted(CallEvent):
    """The assistant transfers the caller, and what it still says is played out first. `allowed_by` is the entry of the
    operator's list; the number itself may be somebody's own."""

    log_name = "transfer.accepted"
    allowed_by: str


@dataclass(frozen=True, slots=True)
class TransferRefused(Trouble):
    """The caller is not connected to whom the assistant names, and the call goes on."""

    log_name = "transfer.refused"
    leg: Leg = "assistant"
    code: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class HangUpAsked(CallEvent):
    """The assistant hangs up, and what it still says is played out first."""

    log_name = "assistant.hangs_up"


@dataclass(frozen=True, slots=True)
class AssistantHungUp(CallEvent):
    log_name = "assistant.ended"
    ended_reason: str | None


@dataclass(frozen=True, slots=True)
class WebhookAccepted(CallEvent):
    """Vapi has told of the call by a webhook. `ended_reason` is there once the call is over at Vapi, `cost_usd` in its
    report of the call."""

    log_name = "webhook.accepted"
    type: str
    assistant_call_id: str | None
    ended_reason: str | None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class WebhookJoined(WebhookAccepted):
    """Another process has accepted the webhook, and has told the one that has the call."""

    log_name = "webhook.joined"


@dataclass(frozen=True, slots=True)
class UnknownMessage(CallEvent):
    """The assistant sent a message of a type that has no meaning here."""

    log_name = "assistant.unknown_message"
    type: str


@dataclass(frozen=True, slots=True)
class Said(CallEvent):
    """Words so far, or for good. In the log they stand at debug only."""

    role: Role
    text: str
    final: bool

    def write_to(self, log: FilteringBoundLogger) -> None:
        if self.final:
            log.info("transcript.final", role=self.role, characters=len(self.text))
            log.debug("transcript.text", role=self.role, text=self.text)

    def recorded(self) -> tuple[str, dict[str, Any]]:
        return "transcript.final" if self.final else "transcript.partial", {"role": self.role, "text": self.text}

    def __repr__(self) -> str:
        return f"Said(role={self.role!r}, final={self.final}, {len(self.text)} characters)"


# -- interruptions, see `relay.call.playback.interruptions`


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
