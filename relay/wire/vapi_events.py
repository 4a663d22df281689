"""Reads the bodies of Vapi's server webhooks, and keeps of each message the fields that are named here.

A body can hold the tokens of a telephone number, addresses that open the call or its recordings, and the assistant's
prompt. None of these has a name here, so nothing that is logged, stored or passed on can have it.

Source: the `ServerMessage*` schemas of Vapi's API reference, and its "Server events" page.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from relay.errors import RemoteProtocolError
from relay.wire.json_text import WireCode, label, not_json, shortened
from relay.wire.vapi_actions import TELEPHONE_TOOLS, Action, action_of_control, action_of_tools

BODY_MAX_BYTES = 4 * 2**20
"""A report holds the whole conversation. Vapi documents no maximum."""
TOOL_CALLS = "tool-calls"
PHONE_CALL_CONTROL = "phone-call-control"
ASKING = frozenset({TOOL_CALLS, "transfer-destination-request", "handoff-destination-request"})
"""The types whose answer Vapi waits for, and acts on, in a call of this transport."""

END_OF_CALL = "end-of-call-report"
_FINAL_TRANSCRIPT = 'transcript[transcriptType="final"]'
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_REASON = re.compile(r"[^a-zA-Z0-9._-]+")
_REASON_MAX_CHARS = 200
_COST_MAX_USD = 1_000_000.0
_TOOL_CALLS_MAX = 100
_PROMPT_ROLES = {"system", "developer"}

Pick = Callable[[Any], Any]
"""Returns what is to be kept of a decoded JSON value; None: nothing."""


class ToolCall(Struct, frozen=True):
    """One function that the model calls."""

    id: str
    name: str


class VapiEvent(Struct, frozen=True):
    """One server message. The `repr` shows nothing of what was said in the call.

    `type` is one of TYPES, or a safe label of another. `call_id` is Vapi's, `relay_call_id` what the relay put into the
    call's metadata; each is None where there is no usable one. `message` is the JSON object that may be passed on.
    `delivery_id` is the same for the same event sent again. `action` is what the assistant asks of the telephone by it,
    `cost_usd` what a call cost that is over, for all that Vapi charges; `left_out` counts tool calls that are not in
    `tool_calls`: beyond the hundredth, and without an id or a name.
    """

    type: str
    call_id: str | None
    relay_call_id: str | None
    ended_reason: str | None
    tool_calls: tuple[ToolCall, ...]
    delivery_id: str
    message: bytes
    action: Action | None = None
    cost_usd: float | None = None
    left_out: int = 0

    @property
    def asks(self) -> bool:
        """Whether Vapi waits for an answer with something in it."""
        return self.type in ASKING

    @property
    def is_for_telephone(self) -> bool:
        """Whether it asks the telephone for something, and nobody else."""
        return self.action is not None and all(tool.name in TELEPHONE_TOOLS for tool in self.tool_calls)

    def __repr__(self) -> str:
        return f"VapiEvent(type={self.type!r}, call_id={self.call_id!r}, message={len(self.message)})"


def parse_event(body: bytes) -> VapiEvent:
    """Return the event in the body of a webhook.

    A field of a wrong type is left out, and so is one that is unknown. Raises `RemoteProtocolError` (NOT_JSON,
    NOT_OBJECT, FIELD_MISSING) for a body that is no `{"message": {"type": ...}}`, and nothing else, whatever the input.
    """
    try:
        document = msgspec.json.decode(body)
        return _event(document)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise not_json("Vapi webhook") from None


def _event(document: Any) -> VapiEvent:
    told = document.get("message") if isinstance(document, dict) else None
    if not isinstance(told, dict):
        raise RemoteProtocolError("Vapi webhook: message is not a JSON object", WireCode.NOT_OBJECT)
    if not isinstance(told.get("type"), str) or not told["type"]:
        raise RemoteProtocolError("Vapi webhook: message.type is missing", WireCode.FIELD_MISSING)
    kind = "transcript" if told["type"] == _FINAL_TRANSCRIPT else label(told["type"])
    own = _object(_FIELDS.get(kind, {}))(told)
    common = _object(_COMMON)(told)
    if told["type"] == _FINAL_TRANSCRIPT:
        own["transcriptType"] = "final"
    tools = tool_calls_in(told) if kind == TOOL_CALLS else []
    if kind == TOOL_CALLS:
        own["toolCallList"] = tools
    call = common.get("call", {})
    metadata = call.get("assistantOverrides", {}).get("metadata", {})
    called = tuple(ToolCall(tool["id"], tool["function"]["name"]) for tool in tools)
    call_id = _identifier(call.get("id"))
    return VapiEvent(
        type=kind,
        call_id=call_id,
        relay_call_id=_identifier(metadata.get("relayCallId")),
        ended_reason=_reason(own.get("endedReason")),
        tool_calls=called,
        delivery_id=_delivery_id(kind, call_id, common.get("timestamp"), own, called),
        message=json.dumps({"type": kind, **common, **own}, separators=(",", ":")).encode(),
        action=_action(kind, own, tools),
        cost_usd=_cost(own.get("cost")) if kind == END_OF_CALL else None,
        left_out=len(_listed(told)) - len(tools) if kind == TOOL_CALLS else 0,
    )


def _action(kind: str, own: Mapping[str, Any], tools: list[dict[str, Any]]) -> Action | None:
    if kind == PHONE_CALL_CONTROL:
        return action_of_control(own.get("request"), own.get("destination"))
    return action_of_tools(tools)


def _delivery_id(
    kind: str, call_id: str | None, timestamp: Any, own: Mapping[str, Any], called: tuple[ToolCall, ...]
) -> str:
    """A retry has no id of its own: it is known by its call, type and time, a tool call by its id, the report of a call
    by the call. Simple values tell events apart that come in the same millisecond."""
    parts: list[Any] = [kind, call_id]
    if kind == TOOL_CALLS and called:
        parts += sorted(tool.id for tool in called)
    elif kind != END_OF_CALL or call_id is None:
        parts += [timestamp, {name: it for name, it in own.items() if isinstance(it, str | int | float)}]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def tool_calls_in(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tool calls of a message in Vapi's present form, whichever of those in use they came in."""
    found = [_tool_call(it) for it in _listed(told)[:_TOOL_CALLS_MAX]]
    return [it for it in found if it is not None]


def _listed(told: Mapping[str, Any]) -> list[Any]:
    listed = told.get("toolCallList") or told.get("toolCalls")
    if isinstance(listed, list):
        return listed
    pairs = told.get("toolWithToolCallList")
    return [it.get("toolCall") for it in pairs if isinstance(it, dict)] if isinstance(pairs, list) else []


def _tool_call(told: Any) -> dict[str, Any] | None:
    if not isinstance(told, dict):
        return None
    function = told["function"] if isinstance(told.get("function"), dict) else told
    name, tool_id = _text(function.get("name")), _text(told.get("id"))
    if not name or not tool_id:
        return None
    arguments = function.get("arguments", function.get("parameters", {}))
    return {"id": tool_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _identifier(value: Any) -> str | None:
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _reason(value: Any) -> str | None:
    return _NOT_REASON.sub("_", shortened(value, _REASON_MAX_CHARS)) if isinstance(value, str) and value else None


def _cost(value: Any) -> float | None:
    return float(value) if value is not None and 0 <= value <= _COST_MAX_USD else None


# -- what is kept


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _scalar(value: Any) -> str | float | bool | None:
    return value if isinstance(value, str | int | float | bool) else None


def _anything(value: Any) -> Any:
    return value


def _object(fields: Mapping[str, Pick]) -> Pick:
    def pick(value: Any) -> dict[str, Any] | None:
        if not isinstance(value, dict):
            return None
        kept = {name: choose(value[name]) for name, choose in fields.items() if name in value}
        return {name: it for name, it in kept.items() if it is not None}

    return pick


def _list(of: Pick) -> Pick:
    def pick(value: Any) -> list[Any] | None:
        if not isinstance(value, list):
            return None
        return [kept for it in value if (kept := of(it)) is not None]

    return pick


def _named(names: str, pick: Pick = _text) -> dict[str, Pick]:
    return dict.fromkeys(names.split(), pick)


def _said(value: Any) -> dict[str, Any] | None:
    """A message of the conversation. One of the system's is the prompt."""
    if not isinstance(value, dict) or value.get("role") in _PROMPT_ROLES:
        return None
    kept: dict[str, Any] = _object(_MESSAGE)(value)
    return kept


_FUNCTION = _object({"name": _text, "arguments": _anything})
_MESSAGE: dict[str, Pick] = {
    **_named("role message content name result toolCallId tool_call_id"),
    **_named("time endTime secondsFromStart duration", _number),
    **_named("toolCalls tool_calls", _list(_object({"id": _text, "type": _text, "function": _FUNCTION}))),
}
_CONVERSATION = _named("messages messagesOpenAIFormatted conversation", _list(_said))
_ASSISTANT = _object(_named("id name"))
_DESTINATION = _object(
    _named("type number extension callerId sipUri assistantId assistantName squadId message description")
)
_COMMON: dict[str, Pick] = {
    "timestamp": _number,
    "assistant": _ASSISTANT,
    "customer": _object(_named("id number name externalId")),
    "call": _object(
        {
            **_named("id type status name assistantId createdAt startedAt endedAt endedReason"),
            "assistantOverrides": _object({"metadata": _object(_named("relayCallId replacesCallId"))}),
        }
    ),
}
_ARTIFACT = _object({**_CONVERSATION, "transcript": _text, "structuredOutputs": _anything})
_ANALYSIS = _object({"summary": _text, "successEvaluation": _scalar, "structuredData": _anything})
_CHAT = {"chat": _object(_named("id sessionId assistantId name status createdAt updatedAt"))}
_SESSION = {"session": _object(_named("id assistantId name status createdAt updatedAt"))}
_FIELDS: Mapping[str, Mapping[str, Pick]] = {
    "assistant-request": {},
    "assistant.speechStarted": {**_named("text source"), "turn": _number, "timing": _anything},
    "assistant.started": {"newAssistant": _ASSISTANT},
    "call.artifact.upload": {"artifacts": _list(_object({"type": _text, "success": _flag}))},
    "call.delete.failed": {},
    "call.deleted": {},
    "call.endpointing.request": _CONVERSATION,
    "campaign.predial": {"campaignId": _text, "contact": _anything},
    "chat.created": _CHAT,
    "chat.deleted": _CHAT,
    "conversation-update": _CONVERSATION,
    END_OF_CALL: {
        **_named("endedReason startedAt endedAt summary transcript"),
        **_named("cost durationMs durationSeconds durationMinutes", _number),
        **_CONVERSATION,
        "artifact": _ARTIFACT,
        "analysis": _ANALYSIS,
        "costs": _list(_object({"type": _text, "cost": _number, "minutes": _number})),
        "destination": _DESTINATION,
    },
    "function-call": {"functionCall": _object({"name": _text, "parameters": _anything})},
    "handoff-destination-request": {"parameters": _anything},
    "hang": {},
    "knowledge-base-request": _CONVERSATION,
    "language-change-detected": _named("language"),
    "language-changed": _named("language"),
    "model-output": {"output": _anything, "turnId": _text},
    PHONE_CALL_CONTROL: {"request": _text, "destination": _DESTINATION},
    "session.created": _SESSION,
    "session.deleted": _SESSION,
    "session.updated": _SESSION,
    "speech-update": {**_named("status role"), "turn": _number},
    "status-update": {
        **_named("status endedReason transcript summary"),
        **_CONVERSATION,
        "artifact": _ARTIFACT,
        "destination": _DESTINATION,
    },
    TOOL_CALLS: {},
    "transcript": {
        **_named("role transcriptType transcript assistantId assistantName originalTranscript"),
        "isFiltered": _flag,
        "confidence": _number,
    },
    "transfer-destination-request": {},
    "transfer-update": {"destination": _DESTINATION, "toAssistant": _ASSISTANT, "fromAssistant": _ASSISTANT},
    "user-interrupted": _named("turnId"),
    "voice-input": _named("input"),
    "voice-request": {"text": _text, "sampleRate": _number},
}
TYPES = frozenset(_FIELDS)
"""The server messages that Vapi documents. The final transcript alone, which has a name of its own, is a transcript."""
