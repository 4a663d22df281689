"""A client's text messages are checked here (Vapi API reference, ClientInboundMessage; WebSocket transport guide)."""

import json
from collections.abc import Callable, Mapping
from typing import Any

CONTROLS = frozenset({"mute-assistant", "unmute-assistant", "mute-customer", "unmute-customer", "say-first-message"})
ROLES = frozenset({"system", "user", "assistant", "tool", "function"})
END_CALL = frozenset({"end-call", "hangup"})
_CONTEXT_KINDS = frozenset({"commentary", "thinking", "instructions"})

Message = dict[str, Any]


class Unacceptable(Exception):
    """The message is not one that Vapi knows; a socket is closed over it, a control request answered 400."""


def _check_add_message(message: Message) -> bool:
    inner = message.get("message")
    trigger = message.get("triggerResponseEnabled", True)
    return (
        isinstance(inner, dict)
        and inner.get("role") in ROLES
        and isinstance(inner.get("content"), str)
        and isinstance(trigger, bool)
    )


def _check_say(message: Message) -> bool:
    flags = ("endCallAfterSpoken", "interruptionsEnabled", "interruptAssistantEnabled")
    return isinstance(message.get("content"), str) and all(isinstance(message.get(f, False), bool) for f in flags)


_CHECKS: Mapping[str, Callable[[Message], bool]] = {
    "end-call": lambda _: True,
    "hangup": lambda _: True,
    "say": _check_say,
    "add-message": _check_add_message,
    "control": lambda message: message.get("control") in CONTROLS,
    "transfer": lambda message: isinstance(message.get("destination"), dict),
    "handoff": lambda message: isinstance(message.get("destination"), dict),
    "send-transport-message": lambda message: isinstance(message.get("message"), dict),
    "append-context": lambda message: message.get("kind") in _CONTEXT_KINDS and isinstance(message.get("content"), str),
}


def parse(text: str | bytes) -> Message:
    """The message, checked; `Unacceptable` for anything else."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise Unacceptable("not JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Unacceptable("not an object with a type")
    check = _CHECKS.get(message["type"])
    if check is None:
        raise Unacceptable(f"unknown type {message['type'][:40]!r}")
    if not check(message):
        raise Unacceptable(f"malformed {message['type']}")
    return message
