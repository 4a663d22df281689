"""Vapi's text frames to events, flat and wrapped, tolerant of what is new, strict about what is known."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import RemoteProtocolError
from relay.net.client_socket import MESSAGE_MAX_BYTES
from relay.wire import vapi
from relay.wire.json_text import WireCode
from relay.wire.vapi_actions import Transfer

FINAL = 'transcript[transcriptType="final"]'

GOLDEN: list[tuple[dict[str, Any], vapi.Event]] = [
    ({"type": "status-update", "status": "in-progress"}, vapi.StatusUpdate("in-progress", None)),
    (
        {"type": "status-update", "status": "ended", "endedReason": "assistant-ended-call"},
        vapi.StatusUpdate("ended", "assistant-ended-call"),
    ),
    (
        {"type": "speech-update", "status": "started", "role": "user", "turn": 0},
        vapi.SpeechUpdate("started", "user", 0),
    ),
    (
        {"type": "speech-update", "status": "stopped", "role": "assistant"},
        vapi.SpeechUpdate("stopped", "assistant", None),
    ),
    (
        {"type": "transcript", "role": "user", "transcriptType": "partial", "transcript": "Hel"},
        vapi.Transcript("user", final=False, text="Hel"),
    ),
    (
        {"type": "transcript", "role": "assistant", "transcriptType": "final", "transcript": "", "assistantId": "x"},
        vapi.Transcript("assistant", final=True, text=""),
    ),
    (
        {"type": FINAL, "role": "user", "transcriptType": "final", "transcript": "Hello"},
        vapi.Transcript("user", final=True, text="Hello"),
    ),
    ({"type": FINAL, "role": "user", "transcript": "Hello"}, vapi.Transcript("user", final=True, text="Hello")),
    ({"type": "user-interrupted", "turnId": "t-1"}, vapi.UserInterrupted()),
    ({"type": "user-interrupted"}, vapi.UserInterrupted()),
    ({"type": "tool-calls", "toolCallList": [{"id": "1", "function": {"name": "book_table"}}]}, vapi.ToolCalls()),
    ({"type": "tool-calls", "toolCalls": []}, vapi.ToolCalls()),
    ({"type": "transfer-update", "toAssistant": {"id": "a-2", "name": "x"}}, vapi.TransferUpdate("a-2")),
    ({"type": "assistant.speechStarted", "text": "x"}, vapi.Other("assistant.speechStarted")),
    ({"type": ""}, vapi.Other("")),
    ({"type": "s p\u00e4m\n" + "x" * 99}, vapi.Other("s_p_m_" + "x" * 31 + "...")),
]


def refusal(text: str) -> RemoteProtocolError | None:
    try:
        vapi.parse(text)
    except RemoteProtocolError as error:
        return error
    return None


@pytest.mark.parametrize(("message", "event"), GOLDEN)
def test_each_known_message_is_understood_flat_and_wrapped(message: dict[str, Any], event: vapi.Event) -> None:
    assert vapi.parse(json.dumps(message)) == event
    assert vapi.parse(json.dumps({"message": message})) == event
    assert vapi.parse(json.dumps({"timestamp": 1, "message": message, "call": {}})) == event


@pytest.mark.parametrize(("message", "event"), GOLDEN)
def test_unknown_and_optional_fields_are_passed_over(message: dict[str, Any], event: vapi.Event) -> None:
    extra = {"timestamp": 1.5, "call": {"id": "x"}, "assistant": None, "new": [[{}]], "message": {"type": "hang"}}

    assert vapi.parse(json.dumps(message | extra)) == event


def test_every_message_that_is_asked_for_is_acted_on_and_no_other() -> None:
    acted_on = {message["type"] for message, event in GOLDEN if not isinstance(event, vapi.Other)}

    assert acted_on == {*vapi.CLIENT_MESSAGES, FINAL}


@pytest.mark.parametrize(
    "message",
    [
        {"type": "conversation-update", "conversation": [{"role": "user", "content": "secret"}]},
        {"type": "hang"},
        {"type": "model-output", "output": "text <flush /> ", "turnId": "t-1"},
        {"type": "voice-input", "input": None},
        {"type": "assistant.started", "newAssistant": {"name": "x"}},
        {"type": "function-call", "functionCall": {"name": "x", "parameters": {}}},
        {"type": "workflow.node.started", "node": {}},
    ],
)
def test_known_messages_that_come_unasked_are_passed_over_unread(message: dict[str, Any]) -> None:
    assert vapi.parse(json.dumps(message)) is None
    assert vapi.parse(json.dumps({"message": message})) is None


CONVERSATIONS: list[dict[str, Any]] = [
    {"conversation": [{"role": "system"}, {"role": "user"}]},
    {"messages": [{"role": "bot", "message": "x", "time": 1.5}]},
    {"messagesOpenAIFormatted": []},
    {"artifact": {"messages": [{"role": "tool_calls", "toolCalls": [{}]}]}},
    {"conversation": None, "messages": "x"},
    {},
]


@pytest.mark.parametrize("shape", CONVERSATIONS)
def test_a_conversation_in_every_shape_is_passed_over(shape: dict[str, Any]) -> None:
    assert vapi.parse(json.dumps({"type": "conversation-update"} | shape)) is None


CALL_SHAPES: list[Any] = [
    {"id": "1", "name": "book", "arguments": "{}"},
    {"id": "1", "name": "book", "parameters": {"seats": 2}},
    {"id": "1", "type": "function", "function": {"name": "book", "arguments": "{}"}},
    {"id": "1", "type": "function", "function": {"name": "book", "arguments": {"seats": 2}}},
    {"id": 1, "function": None},
]


@pytest.mark.parametrize("key", ["toolCallList", "toolCalls"])
@pytest.mark.parametrize("call", CALL_SHAPES)
def test_the_model_calls_functions_in_every_shape(key: str, call: dict[str, Any]) -> None:
    with_tool = {"toolWithToolCallList": [{"type": "function", "toolCall": call}]}

    assert vapi.parse(json.dumps({"type": "tool-calls", key: [call]})) == vapi.ToolCalls()
    assert vapi.parse(json.dumps({"type": "tool-calls", key: [call]} | with_tool)) == vapi.ToolCalls()


def asked(destination: str) -> vapi.TransferAsked:
    return vapi.TransferAsked(Transfer(destination))


@pytest.mark.parametrize(
    ("transfer", "event"),
    [
        ({"toAssistant": {"id": "a-2"}, "fromAssistant": {"id": "a-1"}}, vapi.TransferUpdate("a-2")),
        ({"toAssistant": {"name": "inline"}}, vapi.TransferUpdate(None)),
        ({"toAssistant": {"id": None}, "destination": {"type": "assistant"}}, vapi.TransferUpdate(None)),
        ({"toAssistant": {"id": "a b"}}, vapi.TransferUpdate(None)),
        ({"toAssistant": {"id": "x" * 65}}, vapi.TransferUpdate(None)),
        ({"destination": {"type": "assistant", "assistantName": "Billing"}}, vapi.TransferUpdate(None)),
        ({"destination": {"type": "assistant", "assistantId": "a-2"}}, vapi.TransferUpdate("a-2")),
        ({"destination": {"type": "number", "number": "+14155550100"}}, asked("+14155550100")),
        ({"destination": {"type": "sip", "sipUri": "sip:x@h"}, "toAssistant": None}, asked("sip:x@h")),
        ({"destination": {"type": "number", "number": 14155550100}}, None),
        ({"toStepRecord": {"id": "s-2"}, "fromStepRecord": {}}, None),
        ({"destination": None}, None),
        ({}, None),
    ],
)
def test_a_hand_off_names_the_assistant_that_is_on_the_line_now_and_a_transfer_the_telephone(
    transfer: dict[str, Any], event: vapi.TransferUpdate | vapi.TransferAsked | None
) -> None:
    assert vapi.parse(json.dumps({"type": "transfer-update"} | transfer)) == event


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", ["conversation-update", "tool-calls", "transfer-update", "transcript", "new-type"])
def test_of_the_longest_message_nothing_is_made_that_is_of_no_use(kind: str, wrapped: bool) -> None:
    """It takes ten times its room and a good part of a second to be made, in which no other call is served."""
    turn = {
        "role": "user",
        "message": "said",
        "time": 1764.25,
        "secondsFromStart": 1.5,
        "words": [{"word": "said"}] * 9,
    }
    turns = [turn] * (MESSAGE_MAX_BYTES // len(json.dumps(turn)))
    message: dict[str, Any] = {"type": kind, "messages": turns, "toAssistant": {"id": "a-2", "model": turns[:1]}}
    text = json.dumps({"message": message} if wrapped else message)
    tracemalloc.start()
    refusal(text)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most_bytes < 65536


def test_an_ended_reason_is_made_safe_to_log() -> None:
    event = vapi.parse(json.dumps({"type": "status-update", "status": "ended", "endedReason": "x y\n" + "z" * 999}))

    assert event == vapi.StatusUpdate("ended", "x_y_" + "z" * 193 + "...")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", WireCode.NOT_JSON),
        ("{", WireCode.NOT_JSON),
        ('{"type":"hang"}x', WireCode.NOT_JSON),
        ('{"type":"hang","x":NaN}', WireCode.NOT_JSON),
        ('{"type":"hang\ud800"}', WireCode.NOT_JSON),
        ('{"type":"transcript","role":"user","transcriptType":"final","transcript":"\\udc00"}', WireCode.NOT_JSON),
        ('{"message":' * 100_000, WireCode.NOT_JSON),
        ('{"type":"hang","x":' + "[" * 100_000, WireCode.NOT_JSON),
        ("null", WireCode.NOT_OBJECT),
        ('["hang"]', WireCode.NOT_OBJECT),
        ('{"message":[]}', WireCode.NOT_OBJECT),
        ('{"message":"hang"}', WireCode.NOT_OBJECT),
        ("{}", WireCode.FIELD_MISSING),
        ('{"type":null}', WireCode.FIELD_MISSING),
        ('{"message":{}}', WireCode.FIELD_MISSING),
        ('{"message":{"message":{"type":"hang"}}}', WireCode.FIELD_MISSING),
        ('{"type":5}', WireCode.FIELD_INVALID),
        ('{"type":["hang"]}', WireCode.FIELD_INVALID),
        ('{"type":5,"message":{"type":"hang"}}', WireCode.FIELD_INVALID),
        ('{"type":"status-update"}', WireCode.FIELD_MISSING),
        ('{"type":"status-update","status":1}', WireCode.FIELD_INVALID),
        ('{"type":"status-update","status":"ended","endedReason":{}}', WireCode.FIELD_INVALID),
        ('{"type":"speech-update","status":"started"}', WireCode.FIELD_MISSING),
        ('{"type":"speech-update","status":"paused","role":"user"}', WireCode.FIELD_INVALID),
        ('{"type":"speech-update","status":"started","role":"tool"}', WireCode.FIELD_INVALID),
        ('{"type":"speech-update","status":"started","role":"user","turn":"x"}', WireCode.FIELD_INVALID),
        ('{"type":"speech-update","status":"started","role":"user","turn":1e400}', WireCode.FIELD_INVALID),
        ('{"type":"transcript","role":"user","transcript":"x"}', WireCode.FIELD_MISSING),
        ('{"type":"transcript","role":"user","transcriptType":"final"}', WireCode.FIELD_MISSING),
        ('{"type":"transcript","role":"user","transcriptType":"x","transcript":"x"}', WireCode.FIELD_INVALID),
        ('{"type":"transfer-update","toAssistant":"a-2"}', WireCode.FIELD_INVALID),
        ('{"type":"transfer-update","toAssistant":{"id":2}}', WireCode.FIELD_INVALID),
        ('{"type":"transcript","role":null,"transcriptType":"final","transcript":"x"}', WireCode.FIELD_INVALID),
    ],
)
def test_each_malformed_message_has_its_code(text: str, code: WireCode) -> None:
    error = refusal(text)

    assert error is not None
    assert error.code == code


def test_of_two_values_for_one_field_the_last_counts() -> None:
    assert vapi.parse('{"type":"spam","type":"user-interrupted"}') == vapi.UserInterrupted()


def test_nothing_that_was_said_shows_in_a_repr() -> None:
    assert repr(vapi.Transcript("user", final=True, text="secret")) == "Transcript(role='user', final=True, text=6)"


def test_nothing_that_was_said_shows_in_an_error() -> None:
    error = refusal('{"type":"transcript","role":"secret","transcriptType":"secret","transcript":"secret"}')

    assert error is not None
    assert "secret" not in str(error)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.text() | json_values.map(json.dumps))
def test_whatever_comes_only_a_counted_error_escapes(text: str) -> None:
    error = refusal(text)

    assert error is None or error.code in WireCode.__members__


@given(st.sampled_from(GOLDEN), st.data())
def test_a_known_message_with_one_value_spoilt_raises_nothing_else(
    golden: tuple[dict[str, Any], vapi.Event], data: st.DataObject
) -> None:
    spoilt = golden[0] | {data.draw(st.sampled_from([*golden[0], "turn", "message"])): data.draw(json_values)}

    error = refusal(json.dumps(spoilt))

    assert error is None or error.code in WireCode.__members__
