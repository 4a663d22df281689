"""What a tool, a transfer and a hand-off ask of the webhook, and what is told of its reply."""

import json
from typing import Any, get_args

import pytest

from relay.standin.assistant.acts import NO_RESULT, REQUESTS, Act, AsksBy, Doing
from relay.standin.assistant.hooks import Reply
from relay.wire import vapi
from relay.wire.vapi_actions import HangUp, Transfer
from relay.wire.vapi_events import parse_event


def doing(act: Act) -> Doing:
    return Doing(act, "what is the weather", "call_1")


def asked(act: Act) -> dict[str, Any]:
    request = doing(act).request()
    assert request is not None
    assert request["type"] in REQUESTS
    return request


def test_a_tool_is_called_by_its_name_with_what_the_caller_said() -> None:
    request = asked(Act("tool", "weather"))

    [call] = request["toolCallList"]
    assert (call["id"], call["function"]["name"]) == ("call_1", "weather")
    assert call["function"]["arguments"] == '{"question": "what is the weather"}'
    assert request["toolWithToolCallList"][0]["toolCall"] == call


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (Act("transfer"), "transfer-destination-request"),
        (Act("transfer", "sales"), "transfer-destination-request"),
        (Act("handoff"), "handoff-destination-request"),
    ],
)
def test_a_transfer_and_a_hand_off_without_a_name_ask_where_to(act: Act, kind: str) -> None:
    assert asked(act)["type"] == kind


def test_a_hand_off_to_a_named_assistant_asks_nothing() -> None:
    assert doing(Act("handoff", "sales")).request() is None


@pytest.mark.parametrize("by", get_args(AsksBy))
@pytest.mark.parametrize("act", [Act("dial", "+4930123456"), Act("dial", "sip:desk@pbx.example"), Act("hang_up")])
def test_what_the_telephone_is_to_do_is_read_by_the_relay_however_it_is_told(act: Act, by: AsksBy) -> None:
    asked = doing(act)
    message = asked.telephone_request(by)
    by_webhook = parse_event(json.dumps({"message": message}).encode()).action
    by_socket = vapi.parse(json.dumps(message))

    assert asked.is_for_telephone
    assert (Transfer(act.name) if act.kind == "dial" else HangUp()) in {by_webhook, getattr(by_socket, "action", None)}


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        ({"results": [{"toolCallId": "another", "result": "rain"}, {"toolCallId": "call_1", "result": "sun"}]}, "sun"),
        ({"results": [{"toolCallId": "call_1", "error": "no network"}]}, "no network"),
        ({"results": [{"toolCallId": "another", "result": "rain"}]}, NO_RESULT),
        ({"results": "sun"}, NO_RESULT),
        ({"results": ["sun"]}, NO_RESULT),
        ({}, NO_RESULT),
        (None, NO_RESULT),
    ],
)
def test_the_result_of_a_tool_is_that_of_its_call(reply: Reply, result: str) -> None:
    assert doing(Act("tool", "weather")).result(reply) == result


def test_a_transfer_is_told_as_forwarding_and_as_an_update() -> None:
    destination = {"type": "number", "number": "+15550100"}

    told = doing(Act("transfer")).updates({"destination": destination}, "first")

    assert [message["type"] for message in told] == ["status-update", "transfer-update"]
    assert [message["destination"] for message in told] == [destination] * 2


def test_a_hand_off_names_both_assistants_and_the_new_one_starts() -> None:
    update, started = doing(Act("handoff", "sales")).updates(None, "first")

    assert (update["fromAssistant"]["id"], update["toAssistant"]["id"]) == ("first", "sales")
    assert started == {"type": "assistant.started", "newAssistant": update["toAssistant"]}


@pytest.mark.parametrize("reply", [None, {}, {"destination": "somewhere"}])
def test_without_a_destination_nothing_is_told(reply: Reply) -> None:
    assert doing(Act("transfer")).updates(reply, "first") == []
