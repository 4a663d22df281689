"""The JSON of Twilio's media socket, frame by frame, as its documentation shows it."""

import json
from typing import Any, get_args

import msgspec
import pytest

from relay.wire import twilio_frames as frames

SID = "MZ" + "0123456789abcdef" * 2

INBOUND: list[dict[str, Any]] = [
    {"event": "connected", "protocol": "Call", "version": "1.0.0"},
    {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "streamSid": SID,
            "accountSid": "AC1",
            "callSid": "CA1",
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"FirstName": "Jane"},
        },
    },
    {
        "event": "media",
        "sequenceNumber": "3",
        "media": {"track": "inbound", "chunk": "1", "timestamp": "5", "payload": "/w=="},
    },
    {"event": "dtmf", "sequenceNumber": "5", "dtmf": {"track": "inbound_track", "digit": "1"}},
    {"event": "mark", "sequenceNumber": "4", "mark": {"name": "my label"}},
    {"event": "stop", "sequenceNumber": "5", "stop": {"callSid": "CA1"}},
]
OUTBOUND: list[tuple[msgspec.Struct, dict[str, Any]]] = [
    (
        frames.MediaOut(SID, frames.Payload(b"\xff")),
        {"event": "media", "streamSid": SID, "media": {"payload": "/w=="}},
    ),
    (frames.MarkOut(SID, frames.Name("my label")), {"event": "mark", "streamSid": SID, "mark": {"name": "my label"}}),
    (frames.ClearOut(SID), {"event": "clear", "streamSid": SID}),
]


def decode(document: dict[str, Any]) -> frames.AnyFrame:
    decoded: frames.AnyFrame = msgspec.json.decode(json.dumps(document), type=frames.AnyFrame, strict=False)
    return decoded


def is_taken(document: dict[str, Any]) -> bool:
    try:
        decode(document)
    except msgspec.ValidationError:
        return False
    return True


def changed(event: str, **fields: object) -> dict[str, Any]:
    """The documented frame with other values in its body."""
    (document,) = [document for document in INBOUND if document["event"] == event]
    return {**document, event: {**document[event], **fields}}


def as_numbers(value: Any) -> Any:
    """The document with its numbers, which Twilio writes as strings, as numbers."""
    if isinstance(value, dict):
        return {
            key: int(item) if key in {"sequenceNumber", "chunk", "timestamp"} else as_numbers(item)
            for key, item in value.items()
        }
    return value


@pytest.mark.parametrize("document", INBOUND, ids=lambda document: document["event"])
def test_a_documented_frame_keeps_every_field_under_its_name(document: dict[str, Any]) -> None:
    assert json.loads(msgspec.json.encode(decode(document))) == as_numbers(document)


@pytest.mark.parametrize(("frame", "document"), OUTBOUND, ids=[document["event"] for _, document in OUTBOUND])
def test_a_frame_to_twilio_has_exactly_the_documented_fields(frame: msgspec.Struct, document: dict[str, Any]) -> None:
    assert json.loads(msgspec.json.encode(frame)) == document


def test_there_is_a_frame_for_each_documented_event() -> None:
    tags = {frame.__struct_config__.tag for frame in get_args(frames.AnyFrame)}

    assert tags == {document["event"] for document in INBOUND}


@pytest.mark.parametrize("digit", "0123456789*#ABCD")
def test_every_key_of_a_telephone_is_a_digit(digit: str) -> None:
    assert is_taken(changed("dtmf", digit=digit))


@pytest.mark.parametrize("digit", ["", "E", "a", "11", " ", "1\n", "\u0661"])
def test_nothing_else_is_a_digit(digit: str) -> None:
    assert not is_taken(changed("dtmf", digit=digit))


@pytest.mark.parametrize(
    ("sid", "taken"),
    [("C", True), ("C" * 64, True), ("CA_-9", True), ("", False), ("C" * 65, False), ("C/A", False), ("CA\n", False)],
)
@pytest.mark.parametrize("field", ["streamSid", "callSid", "accountSid"])
def test_an_id_is_up_to_64_characters_that_may_stand_in_a_path_and_a_log(field: str, sid: str, taken: bool) -> None:
    assert is_taken(changed("start", **{field: sid})) is taken


@pytest.mark.parametrize(
    ("count", "taken"), [("0", True), (str(2**53), True), (7, True), ("-1", False), (str(2**53 + 1), False)]
)
def test_a_count_is_a_number_that_every_reader_of_json_can_hold(count: object, taken: bool) -> None:
    assert is_taken(changed("media", timestamp=count)) is taken
    assert is_taken({**INBOUND[2], "sequenceNumber": count}) is taken
