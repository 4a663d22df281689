"""Vapi's socket: its text frames to events. Binary frames are audio and do not come here.

Sources: Vapi's "WebSocket transport" page and the `ClientMessage*` schemas of its API reference. Frames come flat on
the socket, and wrapped in `{"message": {...}}` by the schema; both are read. Events are frozen msgspec structs; their
`repr` shows nothing that was said.
"""

import re
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from relay.errors import RemoteProtocolError
from relay.wire.json_text import WireCode, decode, label

Role = Literal["user", "assistant"]

_NAME_MAX_CHARS = 200
_NOT_NAME = re.compile(r"[^a-zA-Z0-9._-]+")


class _Words(Struct, frozen=True):
    """Something said or to be said: the length is shown, never the words."""

    def __repr__(self) -> str:
        shown = (f"{n}={len(v) if n == 'text' else v!r}" for n, v in msgspec.structs.asdict(self).items())
        return f"{type(self).__name__}({', '.join(shown)})"


class StatusUpdate(Struct, frozen=True):
    """Where Vapi's call stands: "in-progress", or "ended": Vapi hung up, with a reason if it gives one."""

    status: str
    ended_reason: str | None = msgspec.field(name="endedReason", default=None)


class SpeechUpdate(Struct, frozen=True):
    """Vapi's own detector: somebody began or stopped to speak. Turns overlap; never the only sign of a turn's end."""

    status: Literal["started", "stopped"]
    role: Role
    turn: int | None = None


class Transcript(_Words, frozen=True):
    """Words so far (`final` false, cumulative) or for good."""

    role: Role
    final: bool
    text: str


class UserInterrupted(Struct, frozen=True):
    """Vapi confirms that the caller cut the assistant off."""

    turn_id: str | None = msgspec.field(name="turnId", default=None)


class ChatMessage(_Words, frozen=True):
    """One entry of the conversation; `text` is "" for what is no text, such as a tool call."""

    role: str
    text: str


class ConversationUpdate(Struct, frozen=True):
    """The conversation so far, as Vapi will give it to its model. Entries without a role are left out."""

    messages: tuple[ChatMessage, ...]


class ModelOutput(_Words, frozen=True):
    """A piece of the model's answer; "" for a piece that is no text. It may never be spoken."""

    text: str
    turn_id: str | None


class VoiceInput(_Words, frozen=True):
    """Text handed to the voice. It may never be spoken."""

    text: str = msgspec.field(name="input")
    turn: int | None = None


class Hang(Struct, frozen=True):
    """The assistant is slow to answer. Not a hang-up."""


class ToolCalls(Struct, frozen=True):
    """The model called these functions; Vapi asks its webhook for the results, never this socket."""

    names: tuple[str, ...]


class TransferUpdate(Struct, frozen=True):
    """Vapi moves the conversation on; without a phone leg of its own this only changes the assistant."""


class Other(Struct, frozen=True):
    """A type that is not known here, to be counted: `type` is safe as a label."""

    type: str


Event = (
    StatusUpdate
    | SpeechUpdate
    | Transcript
    | UserInterrupted
    | ConversationUpdate
    | ModelOutput
    | VoiceInput
    | Hang
    | ToolCalls
    | TransferUpdate
    | Other
)


def parse(text: str) -> Event:
    """The event in one text frame. Unknown fields are passed over, an unknown type is `Other`.

    Raises `RemoteProtocolError` with a `WireCode`, and nothing else, whatever the input.
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


class _ModelOutputFrame(Struct, rename="camel"):
    output: Any
    turn_id: str | None = None


class _ConversationFrame(Struct, rename="camel"):
    conversation: Any = None
    messages: Any = None
    artifact: Any = None


class _ToolCallsFrame(Struct, rename="camel"):
    tool_call_list: list[Any]


_Body = str | msgspec.Raw
T = TypeVar("T")

_head = msgspec.json.Decoder(_Head)


def _event(head: _Head, body: _Body) -> Event:
    if head.type is None:
        raise RemoteProtocolError("Vapi message: type is missing", WireCode.FIELD_MISSING)
    read = _READERS.get(head.type)
    return Other(label(head.type)) if read is None else read(body)


def _reader(shape: type[T], name: str, make: Callable[[T], Event]) -> Callable[[_Body], Event]:
    decoder = msgspec.json.Decoder(shape)
    return lambda body: make(decode(decoder, body, f"Vapi {name}"))


def _as_is(event: Event) -> Event:
    return event


def _status(frame: StatusUpdate) -> StatusUpdate:
    reason = frame.ended_reason
    return StatusUpdate(_name(frame.status), None if reason is None else _name(reason))


def _model_output(frame: _ModelOutputFrame) -> ModelOutput:
    return ModelOutput(frame.output if isinstance(frame.output, str) else "", frame.turn_id)


def _conversation(frame: _ConversationFrame) -> ConversationUpdate:
    """The socket says `conversation`, the schema `messages`, webhooks `artifact.messages`."""
    artifact = frame.artifact.get("messages") if isinstance(frame.artifact, dict) else None
    for entries in (frame.conversation, frame.messages, artifact):
        if isinstance(entries, list):
            return ConversationUpdate(tuple(_chat_message(entry) for entry in entries if _has_role(entry)))
    raise RemoteProtocolError("Vapi conversation-update: no list of messages", WireCode.FIELD_MISSING)


def _has_role(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("role"), str)


def _chat_message(entry: dict[str, Any]) -> ChatMessage:
    text = entry.get("content", entry.get("message"))
    return ChatMessage(entry["role"], text if isinstance(text, str) else "")


def _tool_calls(frame: _ToolCallsFrame) -> ToolCalls:
    calls = [call for call in frame.tool_call_list if isinstance(call, dict)]
    functions = [call["function"] if isinstance(call.get("function"), dict) else call for call in calls]
    names = [function.get("name") for function in functions]
    return ToolCalls(tuple(_name(name) for name in names if isinstance(name, str)))


def _name(text: str) -> str:
    """A peer's identifier, safe and short enough to log."""
    return _NOT_NAME.sub("_", text[:_NAME_MAX_CHARS])


_READERS: dict[str, Callable[[_Body], Event]] = {
    "status-update": _reader(StatusUpdate, "status-update", _status),
    "speech-update": _reader(SpeechUpdate, "speech-update", _as_is),
    "user-interrupted": _reader(UserInterrupted, "user-interrupted", _as_is),
    "voice-input": _reader(VoiceInput, "voice-input", _as_is),
    "hang": _reader(Hang, "hang", _as_is),
    "transfer-update": _reader(TransferUpdate, "transfer-update", _as_is),
    "transcript": _reader(
        _TranscriptFrame, "transcript", lambda it: Transcript(it.role, it.transcript_type == "final", it.transcript)
    ),
    'transcript[transcriptType="final"]': _reader(
        _FinalFrame, "transcript", lambda it: Transcript(it.role, final=True, text=it.transcript)
    ),
    "conversation-update": _reader(_ConversationFrame, "conversation-update", _conversation),
    "model-output": _reader(_ModelOutputFrame, "model-output", _model_output),
    "tool-calls": _reader(_ToolCallsFrame, "tool-calls", _tool_calls),
}
