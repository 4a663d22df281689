"""What can happen on the assistant's side of a call, as values: see `relay.call.report.events`."""

import logging
from dataclasses import dataclass, field
from typing import Any

from structlog.typing import FilteringBoundLogger

from relay.call.report.events import CallEvent, Leg, Role, Trouble


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
