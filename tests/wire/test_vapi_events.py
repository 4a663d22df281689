"""Vapi's server webhooks: what is kept of each type, what never is, and how the same event is known again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import RemoteProtocolError
from relay.metrics import OTHER, WEBHOOK_TYPES
from relay.wire.vapi_events import TYPES, ToolCall, VapiEvent, parse_event

CALL = {"id": "vapi-1", "orgId": "o", "assistantOverrides": {"metadata": {"relayCallId": "ours"}}}
SECRET = "5ec4e7"
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def event(kind: str = "hang", /, **fields: Any) -> VapiEvent:
    message = {"type": kind, "timestamp": 1000, "call": CALL, **fields}
    return parse_event(json.dumps({"message": message}).encode())


def kept(found: VapiEvent) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(found.message)
    return message


def test_an_event_names_its_call_and_ours() -> None:
    found = event()

    assert (found.type, found.call_id, found.relay_call_id, found.asks) == ("hang", "vapi-1", "ours", False)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_documented_type_is_known_by_its_name(kind: str) -> None:
    assert event(kind).type == kind


def test_every_documented_type_has_its_series_and_all_others_share_one() -> None:
    assert set(WEBHOOK_TYPES) == {*TYPES, OTHER}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("status-update", {"status": "ended", "endedReason": "customer-ended-call"}),
        ("end-of-call-report", {"endedReason": "x", "analysis": {"summary": "s"}, "cost": 0.5, "durationMs": 7}),
        ("speech-update", {"status": "started", "role": "user", "turn": 0}),
        ("transcript", {"role": "user", "transcriptType": "partial", "transcript": "Hello"}),
        ("conversation-update", {"messagesOpenAIFormatted": [{"role": "user", "content": "Hello"}]}),
        ("phone-call-control", {"request": "forward", "destination": {"type": "number", "number": "+15005550006"}}),
        ("transfer-update", {"destination": {"type": "assistant", "assistantId": "a"}, "toAssistant": {"id": "a"}}),
        ("handoff-destination-request", {"parameters": {"reason": "bill"}}),
        ("user-interrupted", {"turnId": "t"}),
        ("model-output", {"output": "He", "turnId": "t"}),
        ("voice-input", {"input": "Hello"}),
        ("language-change-detected", {"language": "de"}),
        ("call.artifact.upload", {"artifacts": [{"type": "log", "success": True}]}),
        ("campaign.predial", {"campaignId": "c", "contact": {"number": "+1"}}),
        ("function-call", {"functionCall": {"name": "f", "parameters": {"a": 1}}}),
    ],
)
def test_the_fields_of_a_type_are_kept(kind: str, fields: dict[str, Any]) -> None:
    message = kept(event(kind, **fields))

    assert {name: message[name] for name in fields} == fields


def test_the_final_transcript_alone_is_a_transcript() -> None:
    found = event('transcript[transcriptType="final"]', role="user", transcript="Yes")

    assert found.type == "transcript"
    assert kept(found)["transcriptType"] == "final"


def test_a_type_of_tomorrow_is_taken_without_its_fields() -> None:
    found = event("brand-new\n42", secret=SECRET)

    assert found.type == "brand-new_"
    assert SECRET not in found.message.decode()


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_nothing_that_opens_a_call_an_account_or_a_recording_is_kept(kind: str) -> None:
    prompt = [{"role": "system", "content": SECRET, "message": SECRET}, {"role": "developer", "content": SECRET}]
    tool = {"server": {"url": SECRET, "secret": SECRET}, "toolCall": {"id": "t", "function": {"name": "f"}}}
    found = event(
        kind,
        call={**CALL, "monitor": {"controlUrl": SECRET}, "transport": {"websocketCallUrl": SECRET}},
        phoneNumber={"twilioAuthToken": SECRET, "twilioApiSecret": SECRET},
        assistant={"id": "a", "model": {"messages": prompt}, "server": {"secret": SECRET}},
        artifact={"recordingUrl": SECRET, "presignedMonoUrl": SECRET, "messages": prompt},
        messages=prompt,
        messagesOpenAIFormatted=prompt,
        conversation=prompt,
        recordingUrl=SECRET,
        toolWithToolCallList=[tool],
        newAssistant={"id": "a", "model": {"messages": prompt}},
        destination={"type": "assistant", "transferPlan": {"summaryPlan": {"messages": prompt}}},
    )

    assert SECRET not in found.message.decode()
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    "fields",
    [
        {"toolCallList": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]},
        {"toolCalls": [{"id": "t1", "function": {"name": "f", "arguments": {"a": 1}}}]},
        {"toolCallList": [{"id": "t1", "name": "f", "arguments": {"a": 1}}]},
        {"toolCallList": [{"id": "t1", "name": "f", "parameters": {"a": 1}}]},
        {"toolWithToolCallList": [{"toolCall": {"id": "t1", "function": {"name": "f", "parameters": {"a": 1}}}}]},
    ],
)
def test_tool_calls_are_read_in_every_form_in_use_and_kept_in_one(fields: dict[str, Any]) -> None:
    found = event("tool-calls", **fields)

    assert found.asks
    assert found.tool_calls == (ToolCall("t1", "f"),)
    assert kept(found)["toolCallList"] == [
        {"id": "t1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    ]


@pytest.mark.parametrize(
    ("kind", "cost", "found"),
    [
        ("end-of-call-report", 0.1234, 0.1234),
        ("end-of-call-report", 0, 0.0),
        ("end-of-call-report", -0.1, None),
        ("end-of-call-report", 10**30, None),
        ("end-of-call-report", "0.1", None),
        ("end-of-call-report", True, None),
        ("end-of-call-report", None, None),
        ("status-update", 0.1234, None),
    ],
)
def test_what_a_call_cost_is_read_from_its_report_alone(kind: str, cost: object, found: float | None) -> None:
    assert event(kind, cost=cost).cost_usd == found


def test_a_reason_that_is_cut_is_seen_to_be_cut() -> None:
    assert event("status-update", endedReason="x" * 200).ended_reason == "x" * 200
    assert event("status-update", endedReason="x" * 201).ended_reason == "x" * 197 + "..."


def test_tool_calls_that_are_left_out_are_counted() -> None:
    good = [{"id": f"t{number}", "name": "f"} for number in range(101)]
    bad = [{"id": "t"}, "text", {"name": "f"}]

    assert event("tool-calls", toolCallList=good[:100]).left_out == 0
    assert event("tool-calls", toolCallList=good).left_out == 1
    assert event("tool-calls", toolCallList=[*bad, good[0]]).left_out == 3
    assert event("hang", toolCallList=bad).left_out == 0


def test_a_retry_is_known_and_two_events_of_one_millisecond_are_not_taken_for_one() -> None:
    user, assistant = (event("speech-update", status="started", role=role) for role in ("user", "assistant"))

    assert event("speech-update", status="started", role="user").delivery_id == user.delivery_id
    assert len({user.delivery_id, assistant.delivery_id, event("hang").delivery_id}) == 3


def test_a_tool_call_is_known_by_its_id_and_a_report_by_its_call() -> None:
    tools = {"toolCallList": [{"id": "t1", "name": "f"}]}

    assert (
        event("tool-calls", timestamp=1, **tools).delivery_id == event("tool-calls", timestamp=2, **tools).delivery_id
    )
    assert event("end-of-call-report", timestamp=1).delivery_id == event("end-of-call-report", timestamp=2).delivery_id
    assert event("hang", timestamp=1).delivery_id != event("hang", timestamp=2).delivery_id


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "NOT_JSON"),
        (b"\xff", "NOT_JSON"),
        (b"[" * 100_000, "NOT_JSON"),
        (b"[]", "NOT_OBJECT"),
        (b"{}", "NOT_OBJECT"),
        (b'{"message": "hang"}', "NOT_OBJECT"),
        (b'{"message": {}}', "FIELD_MISSING"),
        (b'{"message": {"type": 5}}', "FIELD_MISSING"),
        (b'{"message": {"type": ""}}', "FIELD_MISSING"),
    ],
)
def test_a_body_that_is_no_message_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_event(body)

    assert refused.value.code == code


@given(kind=st.sampled_from(sorted(TYPES)), fields=st.dictionaries(st.text(max_size=12), ANYTHING, max_size=5))
def test_whatever_stands_in_a_message_it_is_read(kind: str, fields: dict[str, Any]) -> None:
    found = parse_event(json.dumps({"message": {**fields, "type": kind}}).encode())

    assert found.type == kind
    assert json.loads(found.message)["type"] == kind


@given(st.sampled_from(sorted(TYPES)), st.data())
def test_a_known_field_of_any_type_is_left_out_and_not_a_failure(kind: str, data: st.DataObject) -> None:
    names = ("call", "assistant", "timestamp", "toolCallList", "toolCalls", "messages", "endedReason", "artifact")
    fields = {name: data.draw(ANYTHING) for name in names}

    assert event(kind, **fields).type == kind


@given(st.binary(max_size=300))
def test_other_bytes_are_refused_and_nothing_else_happens(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_event(body)
