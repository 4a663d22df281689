"""The bodies of webhooks are whole, and their secrets can be found again."""

import json

import pytest

from relay.media.frames import TELEPHONE
from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.bodies import artifact, assistant_json, end_of_call_report, secrets_of, whole
from relay.standin.assistant.call import AssistantCall
from relay.standin.assistant.order import Order
from relay.standin.assistant.record import SocketRecord


@pytest.fixture
def call() -> AssistantCall:
    order = Order(TELEPHONE, {"metadata": {"relayCallId": "r1"}}, "assistant-1")
    made = AssistantCall("call-1", order, Behaviour(), SocketRecord(TELEPHONE, 1.0), None, 0.0)
    made.connect(1.0)
    assert made.conversation is not None
    narrator = made.conversation.narrator
    narrator.user_started()
    narrator.user_stopped()
    return made


def test_every_body_has_the_whole_call_with_what_the_order_gave_it(call: AssistantCall) -> None:
    body = whole(call, {"type": "hang"})

    assert body["type"] == "hang"
    assert body["call"] == call.as_json()
    assert body["call"]["assistantOverrides"]["metadata"] == {"relayCallId": "r1"}
    assert body["assistant"] == assistant_json("assistant-1")
    assert body["phoneNumber"]["twilioAuthToken"]


def test_what_the_message_says_itself_stands(call: AssistantCall) -> None:
    assert whole(call, {"type": "x", "artifact": {"mine": True}})["artifact"] == {"mine": True}


def test_the_report_has_what_the_schema_wants_and_what_was_seen_beside_it(call: AssistantCall) -> None:
    call.finish("customer-ended-call")
    report = end_of_call_report(call)
    (message,) = report["artifact"]["messages"]

    assert (report["endedReason"], report["analysis"]) == ("customer-ended-call", {})
    assert (report["startedAt"], report["endedAt"]) == (call.started_at, call.ended_at)
    assert report["durationMs"] == round(report["durationSeconds"] * 1000)
    assert (message["role"], message["message"]) == ("user", "Tell me about the telephone.")
    assert {"time", "endTime", "secondsFromStart", "duration"} <= message.keys()
    assert report["artifact"]["transcript"] == report["transcript"] == "User: Tell me about the telephone.\n"
    assert report["recordingUrl"].endswith(".wav")


def test_while_the_call_goes_on_there_is_no_recording(call: AssistantCall) -> None:
    assert "recordingUrl" not in artifact(call)


def test_every_secret_stands_in_a_body(call: AssistantCall) -> None:
    call.finish("customer-ended-call")
    text = json.dumps(whole(call, end_of_call_report(call)))

    assert [secret for secret in secrets_of(call) if secret not in text] == []


def test_a_call_that_never_was_connected_has_nothing_said_in_it() -> None:
    made = AssistantCall("call-1", Order(TELEPHONE, {}, None), Behaviour(), SocketRecord(TELEPHONE, 1.0), None, 0.0)
    made.finish("manually-canceled")
    report = end_of_call_report(made)

    assert report["artifact"]["messages"] == []
    assert (report["transcript"], report["durationSeconds"]) == ("", 0.0)
