"""Turns the text frames of Vapi's socket into events. Binary frames are audio and do not come here.

Sources: Vapi's "WebSocket transport" page and the `ClientMessage*` schemas of its API reference. Frames come flat on
the socket, and wrapped in `{"message": {...}}` by the schema; both are read.
"""

import re
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from relay.errors import RemoteProtocolError
from relay.wire.json_text import WireCode, decode, label, shortened
from relay.wire.vapi_actions import Action, Transfer, action_of_destination, action_of_tools
from relay.wire.vapi_events import tool_calls_in

Role = Literal["user", "assistant"]

CLIENT_MESSAGES = ("speech-update", "status-update", "tool-calls", "transcript", "transfer-update", "user-interrupted")
"""The messages that the relay acts on, and the only ones that it asks for (`assistantOverrides.clientMessages`)."""
_OF_NO_USE = frozenset(
    {
        *("assistant.started", "conversation-update", "function-call", "hang", "model-output", "voice-input"),
        "workflow.node.started",
    }
)
"""The other messages that Vapi sends by default: one that comes unasked is no breach of the protocol."""

_ASSISTANT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME_MAX_CHARS = 200  # longer than the reasons that Vapi documents
_NOT_NAME = re.compile(r"[^a-zA-Z0-9._-]+")


class StatusUpdate(Struct, frozen=True):
    """Vapi's call is "in-progress", or "ended": then Vapi has hung up, and may say why."""

    status: str
    ended_reason: str | None = msgspec.field(name="endedReason", default=None)


class SpeechUpdate(Struct, frozen=True):
    """Vapi's own detector says that somebody began or stopped to speak.

    `turn` counts from 0. Turns overlap: this must never be the only sign that one has ended.
    """

    status: Literal["started", "stopped"]
    role: Role
    turn: int | None = None


class Transcript(Struct, frozen=True):
    """The words of an utterance so far (`final` false, each time from its beginning), or for good.

    The `repr` shows how many characters they have, never the words.
    """

    role: Role
    final: bool
    text: str

    def __repr__(self) -> str:
        return f"Transcript(role={self.role!r}, final={self.final}, text={len(self.text)})"


class UserInterrupted(Struct, frozen=True):
    """Vapi confirms that the caller has interrupted the assistant."""


class ToolCalls(Struct, frozen=True):
    """The model calls functions. Vapi asks its webhook for the results, never this socket.

    `action` is what the assistant asks of the telephone by one of them.
    """

    action: Action | None = None


class TransferUpdate(Struct, frozen=True):
    """Another assistant is on the line now, by a hand-off. Its id is None when Vapi does not tell a usable one.

    A new call has to be made with this assistant, or the conversation goes back to the first.
    """

    assistant_id: str | None


class TransferAsked(Struct, frozen=True):
    """The assistant transfers the caller to a telephone, which is for the relay to do."""

    action: Transfer


class Other(Struct, frozen=True):
    """A message of a type that is not known here. `type` is safe as a label."""

    type: str


Event = StatusUpdate | SpeechUpdate | Transcript | TransferUpdate | TransferAsked | UserInterrupted | ToolCalls | Other


def parse(text: str) -> Event | None:
    """Return the event in one text frame, None for a known message that the relay has no use for.

    Unknown fields are passed over. Raises `RemoteProtocolError` with a `WireCode`, and nothing else, whatever the
    input.
    """
    head = decode(_head, text, "Vapi message")
    if head.type is None and head.message:
        return _event(decode(_head, head.message, "Vapi message"), head.message)
    return _event(head, text)


class _Head(Struct):
    type: str | None = None
    message: msgspec.Raw = msgspec.Raw(b"")


class _TranscriptFrame(Struct, rename="camel"):
    role: Role
    transcript: str
    transcript_type: Literal["partial", "final"]


class _FinalFrame(Struct):
    role: Role
    transcript: str


class _Assistant(Struct):
    id: str | None = None


class _Destination(Struct, rename="camel"):
    type: str | None = None
    assistant_id: str | None = None
    number: Any = None
    sip_uri: Any = None


class _ToolsFrame(Struct, rename="camel"):
    tool_call_list: Any = None
    tool_calls: Any = None
    tool_with_tool_call_list: Any = None


class _TransferFrame(Struct, rename="camel"):
    to_assistant: _Assistant | None = None
    destination: _Destination | None = None


_Body = str | msgspec.Raw
T = TypeVar("T")

_head = msgspec.json.Decoder(_Head)


def _event(head: _Head, body: _Body) -> Event | None:
    if head.type is None:
        raise RemoteProtocolError("Vapi message: type is missing", WireCode.FIELD_MISSING)
    if head.type in _OF_NO_USE:
        return None
    read = _READERS.get(head.type)
    return Other(label(head.type)) if read is None else read(body)


def _reader(shape: type[T], name: str, make: Callable[[T], Event | None]) -> Callable[[_Body], Event | None]:
    decoder = msgspec.json.Decoder(shape)
    return lambda body: make(decode(decoder, body, f"Vapi {name}"))


def _as_is(event: Event) -> Event:
    return event


def _status(frame: StatusUpdate) -> StatusUpdate:
    reason = frame.ended_reason
    return StatusUpdate(_name(frame.status), None if reason is None else _name(reason))


def _tools(frame: _ToolsFrame) -> ToolCalls:
    told = {
        "toolCallList": frame.tool_call_list,
        "toolCalls": frame.tool_calls,
        "toolWithToolCallList": frame.tool_with_tool_call_list,
    }
    return ToolCalls(action_of_tools(tool_calls_in(told)))


def _transfer(frame: _TransferFrame) -> TransferUpdate | TransferAsked | None:
    """Return None for a destination of no use.

    The schema's `toAssistant` is an assistant as it is created, which has no id; a stored one has.
    """
    to, destination = frame.to_assistant, frame.destination or _Destination()
    if to is None and destination.type != "assistant":
        action = action_of_destination({"number": destination.number, "sipUri": destination.sip_uri})
        return None if action is None else TransferAsked(action)
    told = (to and to.id) or destination.assistant_id or ""
    return TransferUpdate(told if _ASSISTANT_ID.fullmatch(told) else None)


def _name(text: str) -> str:
    """A peer's identifier, made safe and short enough to log."""
    return _NOT_NAME.sub("_", shortened(text, _NAME_MAX_CHARS))


_READERS: dict[str, Callable[[_Body], Event | None]] = {
    "status-update": _reader(StatusUpdate, "status-update", _status),
    "speech-update": _reader(SpeechUpdate, "speech-update", _as_is),
    "user-interrupted": _reader(UserInterrupted, "user-interrupted", _as_is),
    "tool-calls": _reader(_ToolsFrame, "tool-calls", _tools),
    "transfer-update": _reader(_TransferFrame, "transfer-update", _transfer),
    "transcript": _reader(
        _TranscriptFrame, "transcript", lambda it: Transcript(it.role, it.transcript_type == "final", it.transcript)
    ),
    # The schema gives this as a second name of the type, for finals alone.
    'transcript[transcriptType="final"]': _reader(
        _FinalFrame, "transcript", lambda it: Transcript(it.role, final=True, text=it.transcript)
    ),
}
