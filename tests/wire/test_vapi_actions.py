"""What an assistant asks of the telephone, in every form in which it may."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire import vapi
from relay.wire.vapi_actions import (
    Action,
    HangUp,
    Transfer,
    action_of_control,
    action_of_destination,
    action_of_tool,
    action_of_tools,
)
from relay.wire.vapi_events import parse_event, tool_calls_in

NUMBER = "+4930123456"
SIP = "sip:desk@pbx.example.com"
TO_NUMBER = Transfer(NUMBER)
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


def tool(name: str, arguments: object, tool_id: str = "call_1") -> dict[str, Any]:
    return {"id": tool_id, "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("name", "arguments", "action"),
    [
        ("transferCall", json.dumps({"destination": NUMBER}), TO_NUMBER),
        ("transferCall", {"destination": NUMBER}, TO_NUMBER),
        ("transferCall", {"destination": {"type": "number", "number": NUMBER}}, TO_NUMBER),
        ("transferCall", {"destination": {"type": "sip", "sipUri": SIP}}, Transfer(SIP)),
        ("transferCall", {"destination": "Sales assistant"}, None),
        ("transferCall", {"destination": {"type": "assistant", "assistantName": "Sales"}}, None),
        ("transferCall", "{", None),
        ("transferCall", "[1]", None),
        ("transferCall", None, None),
        ("endCall", "{}", HangUp()),
        ("endCall", None, HangUp()),
        ("bookTable", {"destination": NUMBER}, None),
    ],
)
def test_a_tool_call(name: str, arguments: object, action: Action | None) -> None:
    assert action_of_tool(name, arguments) == action


@pytest.mark.parametrize(
    "told",
    [
        {"toolCallList": [tool("transferCall", json.dumps({"destination": NUMBER}))]},
        {"toolCalls": [tool("transferCall", {"destination": NUMBER})]},
        {"toolCallList": [{"id": "1", "name": "transferCall", "parameters": {"destination": NUMBER}}]},
        {"toolWithToolCallList": [{"toolCall": tool("transferCall", {"destination": NUMBER})}]},
        {"toolCallList": [tool("bookTable", "{}"), tool("transferCall", {"destination": NUMBER}, "call_2")]},
    ],
)
def test_the_same_by_the_socket_and_by_the_webhook(told: dict[str, Any]) -> None:
    message = {"type": "tool-calls", **told}

    assert vapi.parse(json.dumps(message)) == vapi.ToolCalls(TO_NUMBER)
    assert parse_event(json.dumps({"message": message}).encode()).action == TO_NUMBER


@pytest.mark.parametrize(
    ("message", "action"),
    [
        ({"request": "hang-up"}, HangUp()),
        ({"request": "forward", "destination": {"type": "number", "number": NUMBER}}, TO_NUMBER),
        ({"request": "forward", "destination": {"type": "sip", "sipUri": SIP}}, Transfer(SIP)),
        ({"request": "forward"}, None),
        ({"request": "dance"}, None),
        ({}, None),
    ],
)
def test_the_control_of_a_telephone_call(message: dict[str, Any], action: Action | None) -> None:
    assert action_of_control(message.get("request"), message.get("destination")) == action
    event = parse_event(json.dumps({"message": {"type": "phone-call-control", **message}}).encode())
    assert (event.action, event.is_for_telephone) == (action, action is not None)


@pytest.mark.parametrize(
    ("names", "for_telephone"),
    [(["transferCall"], True), (["transferCall", "endCall"], True), (["transferCall", "bookTable"], False)],
)
def test_only_tools_of_the_telephone_are_the_relay_s_to_answer(names: list[str], for_telephone: bool) -> None:
    tools = [tool(name, {"destination": NUMBER}, f"call_{number}") for number, name in enumerate(names)]
    event = parse_event(json.dumps({"message": {"type": "tool-calls", "toolCallList": tools}}).encode())

    assert (event.action, event.is_for_telephone) == (TO_NUMBER, for_telephone)


@given(anything, anything)
def test_nothing_that_makes_no_sense_asks_for_anything(told: Any, more: Any) -> None:
    assert action_of_destination(told) is None
    assert action_of_control(told, more) in {None, HangUp()}
    assert action_of_tool("transferCall", told) is None
    assert action_of_tools(tool_calls_in({"toolCallList": told, "toolWithToolCallList": more})) is None


def test_no_number_stands_in_a_repr() -> None:
    assert NUMBER not in repr(vapi.ToolCalls(TO_NUMBER))
