"""Makes the answers to those of Vapi's webhooks that ask for something, of what the operator's endpoint says.

Source: Vapi's `ServerMessageResponse*` schemas, and its "Custom tools troubleshooting" page: results are strings of one
line, and only an answer with status 200 is read.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from relay.wire.vapi_events import TOOL_CALLS, ToolCall, VapiEvent

DESTINATION_KEYS = ("destination", "message", "result", "error")


def refusal(event: VapiEvent, why: str) -> bytes:
    """Return the answer to an event that asks, where nobody has answered it: `why`, which the model is told."""
    if event.type == TOOL_CALLS:
        return _encoded({"results": [_result(tool, {"error": why}) for tool in event.tool_calls]})
    return _encoded({"error": why})


def carried_out(event: VapiEvent, refused: str | None) -> bytes:
    """Return the answer to tool calls that the relay has carried out itself, or has `refused` for this reason."""
    told = {"result": "done"} if refused is None else {"error": refused}
    return _encoded({"results": [_result(tool, told) for tool in event.tool_calls]})


def answer_of(event: VapiEvent, body: bytes) -> bytes | None:
    """Return the answer to Vapi that the body of the operator's answer gives; None where it gives none.

    Of several tool calls, those without a result are answered with an error.
    """
    try:
        told = msgspec.json.decode(body)
        if not isinstance(told, dict):
            return None
        return _results(event, told) if event.type == TOOL_CALLS else _destination(told)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _results(event: VapiEvent, told: Mapping[str, Any]) -> bytes | None:
    results = told.get("results")
    if not isinstance(results, list):
        return None
    by_id = {it["toolCallId"]: it for it in results if isinstance(it, dict) and isinstance(it.get("toolCallId"), str)}
    nothing = {"error": "no result"}
    return _encoded({"results": [_result(tool, by_id.get(tool.id, nothing)) for tool in event.tool_calls]})


def _result(tool: ToolCall, told: Mapping[str, Any]) -> dict[str, str]:
    key = "result" if told.get("result") is not None else "error"
    value = told.get(key, "no result")
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return {"toolCallId": tool.id, "name": tool.name, key: " ".join(text.split())}


def _destination(told: Mapping[str, Any]) -> bytes | None:
    kept = {name: told[name] for name in DESTINATION_KEYS if told.get(name) is not None}
    usable = isinstance(kept.get("destination"), dict) or isinstance(kept.get("error"), str)
    return _encoded(kept) if usable else None


def _encoded(answer: Mapping[str, Any]) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode()
