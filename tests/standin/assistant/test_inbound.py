"""Every documented message of a client is taken, and nothing else is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.standin.assistant.inbound import Unacceptable, parse

GOOD: list[dict[str, Any]] = [
    {"type": "end-call"},
    {"type": "hangup"},
    {"type": "say", "content": "Hello", "endCallAfterSpoken": True, "interruptAssistantEnabled": True},
    {"type": "add-message", "message": {"role": "system", "content": "x"}, "triggerResponseEnabled": False},
    {"type": "add-message", "message": {"role": "user", "content": "x"}},
    {"type": "control", "control": "mute-assistant"},
    {"type": "transfer", "destination": {"type": "number", "number": "+15005550006"}},
    {"type": "handoff", "destination": {"type": "assistant"}},
    {"type": "send-transport-message", "message": {"transport": "twilio", "twiml": "<Response/>"}},
    {"type": "append-context", "kind": "thinking", "content": "x"},
]
BAD: list[Any] = [
    {"type": "keepalive"},
    {"type": 3},
    {},
    [],
    7,
    None,
    {"type": "say"},
    {"type": "say", "content": "x", "endCallAfterSpoken": "yes"},
    {"type": "add-message"},
    {"type": "add-message", "message": {"role": "robot", "content": "x"}},
    {"type": "add-message", "message": {"role": "user", "content": 3}},
    {"type": "add-message", "message": {"role": "user", "content": "x"}, "triggerResponseEnabled": 1},
    {"type": "control", "control": "explode"},
    {"type": "append-context", "kind": "rumour", "content": "x"},
    {"type": "transfer", "destination": "+15005550006"},
]


@pytest.mark.parametrize("message", GOOD, ids=lambda m: m["type"])
def test_every_documented_message_is_taken(message: dict[str, Any]) -> None:
    assert parse(json.dumps(message)) == message


@pytest.mark.parametrize("message", BAD, ids=json.dumps)
def test_everything_else_is_not(message: Any) -> None:
    with pytest.raises(Unacceptable):
        parse(json.dumps(message))


def test_nesting_without_end_is_refused_too() -> None:
    with pytest.raises(Unacceptable):
        parse("[" * 100_000)


@given(st.text() | st.binary())
def test_no_text_at_all_does_anything_but_be_refused(text: str | bytes) -> None:
    with pytest.raises(Unacceptable):
        parse(text)
