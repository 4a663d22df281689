"""Twilio's media socket: its messages to events, ours exactly as Twilio takes them."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import LocalProtocolError, RemoteProtocolError, StartUnusable
from relay.media.frames import TELEPHONE
from relay.wire import twilio
from relay.wire.json_text import WireCode

SECRET = "tok-5ecret"
AUDIO = base64.b64encode(bytes(range(160))).decode()

GOLDEN: list[tuple[str, twilio.Event]] = [
    ('{"event":"connected","protocol":"Call","version":"1.0.0"}', twilio.Connected("Call", "1.0.0")),
    (
        (
            '{"event":"start","sequenceNumber":"1","streamSid":"MZ1","start":{"accountSid":"AC1","streamSid":"MZ1",'
            '"callSid":"CA1","tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,'
            '"channels":1},"customParameters":{"k":"v"}}}'
        ),
        twilio.StreamStart("MZ1", "CA1", "AC1", TELEPHONE, {"k": "v"}, 1),
    ),
    (
        (
            '{"event":"media","sequenceNumber":"3","streamSid":"MZ1","media":{"track":"inbound","chunk":"1",'
            f'"timestamp":"5","payload":"{AUDIO}"}}}}'
        ),
        twilio.Media(3, 1, 5, bytes(range(160))),
    ),
    (
        '{"event":"dtmf","sequenceNumber":"5","streamSid":"MZ1","dtmf":{"track":"inbound_track","digit":"1"}}',
        twilio.Dtmf("1", 5),
    ),
    ('{"event":"mark","sequenceNumber":"4","streamSid":"MZ1","mark":{"name":"m1"}}', twilio.MarkEcho("m1", 4)),
    (
        '{"event":"stop","sequenceNumber":"5","streamSid":"MZ1","stop":{"accountSid":"AC1","callSid":"CA1"}}',
        twilio.StreamStop("CA1", 5),
    ),
]


def media_message(**changes: object) -> str:
    body: dict[str, object] = {"track": "inbound", "chunk": "1", "timestamp": "5", "payload": AUDIO}
    message: dict[str, object] = {"event": "media", "sequenceNumber": "3", "streamSid": "MZ1", "media": body}
    for name, value in changes.items():
        place = message if name in ("event", "sequenceNumber", "media") else body
        place[name] = value
        if value is ...:
            del place[name]
    return json.dumps(message)


def start_message(**changes: object) -> str:
    body: dict[str, object] = {
        "accountSid": "AC1",
        "streamSid": "MZ1",
        "callSid": "CA1",
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": SECRET},
    }
    body |= changes
    body = {name: value for name, value in body.items() if value is not ...}
    return json.dumps({"event": "start", "sequenceNumber": "1", "streamSid": "MZ1", "start": body})


def refusal(message: str | bytes) -> RemoteProtocolError | None:
    try:
        twilio.parse(message)
    except RemoteProtocolError as error:
        return error
    return None


def error_of(message: str | bytes) -> RemoteProtocolError:
    error = refusal(message)
    assert error is not None
    return error


@pytest.mark.parametrize(("message", "event"), GOLDEN)
def test_each_documented_message_is_understood(message: str, event: twilio.Event) -> None:
    assert twilio.parse(message) == event


@pytest.mark.parametrize(("message", "event"), GOLDEN)
def test_unknown_fields_are_passed_over_at_every_level(message: str, event: twilio.Event) -> None:
    document = json.loads(message)
    for part in (document, *(value for value in document.values() if isinstance(value, dict))):
        part["somethingNew"] = {"deep": [1, None, {"x": "y"}]}

    assert twilio.parse(json.dumps(document)) == event


@pytest.mark.parametrize(
    ("changes", "event"),
    [
        ({"sequenceNumber": 3, "chunk": 1, "timestamp": 5}, twilio.Media(3, 1, 5, bytes(range(160)))),
        ({"chunk": ...}, twilio.Media(3, None, 5, bytes(range(160)))),
        ({"chunk": None}, twilio.Media(3, None, 5, bytes(range(160)))),
        ({"timestamp": "0"}, twilio.Media(3, 1, 0, bytes(range(160)))),
        ({"timestamp": str(2**53)}, twilio.Media(3, 1, 2**53, bytes(range(160)))),
        ({"payload": "/w=="}, twilio.Media(3, 1, 5, b"\xff")),
    ],
)
def test_media_numbers_may_be_strings_or_numbers_and_audio_of_any_length(
    changes: dict[str, object], event: twilio.Event
) -> None:
    assert twilio.parse(media_message(**changes)) == event


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00\x01", WireCode.NOT_TEXT),
        (GOLDEN[0][0].encode(), WireCode.NOT_TEXT),
        (b"", WireCode.NOT_TEXT),
        ("", WireCode.NOT_JSON),
        ("x", WireCode.NOT_JSON),
        ("{", WireCode.NOT_JSON),
        ('{"event":"media","sequenceNumber":"3"', WireCode.NOT_JSON),
        ('{"event":"media","sequenceNumber":[}', WireCode.NOT_JSON),
        (GOLDEN[0][0] + "x", WireCode.NOT_JSON),
        (GOLDEN[0][0] + GOLDEN[0][0], WireCode.NOT_JSON),
        ("\ufeff" + GOLDEN[0][0], WireCode.NOT_JSON),
        ('{"event":"connected","protocol":"Call","version":"1","x":NaN}', WireCode.NOT_JSON),
        ('{"event":"connected","protocol":"Call","version":"1","x":Infinity}', WireCode.NOT_JSON),
        ('{"event":"connected","protocol":"\ud800","version":"1"}', WireCode.NOT_JSON),
        ('{"event":"connected","protocol":"\\ud800","version":"1"}', WireCode.NOT_JSON),
        ("[" * 100_000, WireCode.NOT_JSON),
        ('{"event":' * 100_000, WireCode.NOT_JSON),
        ('{"event":"stop","x":' + "[" * 100_000, WireCode.NOT_JSON),
        ("null", WireCode.NOT_OBJECT),
        ("[]", WireCode.NOT_OBJECT),
        ('"media"', WireCode.NOT_OBJECT),
        ("1e5", WireCode.NOT_OBJECT),
        ("{}", WireCode.FIELD_MISSING),
        ('{"Event":"media"}', WireCode.FIELD_MISSING),
        ('{"event":null}', WireCode.FIELD_INVALID),
        ('{"event":1}', WireCode.FIELD_INVALID),
        ('{"event":["media"]}', WireCode.FIELD_INVALID),
        ('{"event":{"media":1}}', WireCode.FIELD_INVALID),
        ('{"event":""}', WireCode.UNKNOWN_EVENT),
        ('{"event":"MEDIA"}', WireCode.UNKNOWN_EVENT),
        ('{"event":"media "}', WireCode.UNKNOWN_EVENT),
        ('{"event":"clear","streamSid":"MZ1"}', WireCode.UNKNOWN_EVENT),
        ('{"event":"connected"}', WireCode.FIELD_MISSING),
        ('{"event":"connected","protocol":null,"version":"1"}', WireCode.FIELD_INVALID),
        ('{"event":"media","event":"stop","sequenceNumber":"1"}', WireCode.FIELD_MISSING),
        (media_message(sequenceNumber=...), WireCode.FIELD_MISSING),
        (media_message(media=...), WireCode.FIELD_MISSING),
        (media_message(media=None), WireCode.FIELD_INVALID),
        (media_message(media=[]), WireCode.FIELD_INVALID),
        (media_message(media="x"), WireCode.FIELD_INVALID),
        (media_message(track=...), WireCode.FIELD_MISSING),
        (media_message(timestamp=...), WireCode.FIELD_MISSING),
        (media_message(payload=...), WireCode.FIELD_MISSING),
        (media_message(payload=None), WireCode.FIELD_INVALID),
        (media_message(payload=7), WireCode.FIELD_INVALID),
        (media_message(payload=[]), WireCode.FIELD_INVALID),
        (media_message(payload=""), WireCode.PAYLOAD_EMPTY),
        (media_message(track="outbound"), WireCode.TRACK_UNEXPECTED),
        (media_message(track=""), WireCode.TRACK_UNEXPECTED),
        (media_message(track=None), WireCode.FIELD_INVALID),
        ('{"event":"dtmf","sequenceNumber":"1","dtmf":{}}', WireCode.FIELD_MISSING),
        ('{"event":"dtmf","sequenceNumber":"1","dtmf":{"digit":1}}', WireCode.FIELD_INVALID),
        ('{"event":"dtmf","sequenceNumber":"1","dtmf":{"digit":""}}', WireCode.FIELD_INVALID),
        ('{"event":"dtmf","sequenceNumber":"1","dtmf":{"digit":"12"}}', WireCode.FIELD_INVALID),
        ('{"event":"dtmf","sequenceNumber":"1","dtmf":{"digit":"1\\n"}}', WireCode.FIELD_INVALID),
        ('{"event":"dtmf","sequenceNumber":"1","dtmf":{"digit":"x"}}', WireCode.FIELD_INVALID),
        (
            '{"event":"dtmf","sequenceNumber":"1","dtmf":{"digit":"1","track":"outbound_track"}}',
            WireCode.TRACK_UNEXPECTED,
        ),
        ('{"event":"mark","sequenceNumber":"1"}', WireCode.FIELD_MISSING),
        ('{"event":"mark","sequenceNumber":"1","mark":{"name":null}}', WireCode.FIELD_INVALID),
        ('{"event":"stop","sequenceNumber":"1","stop":{}}', WireCode.FIELD_MISSING),
        ('{"event":"stop","sequenceNumber":"1","stop":{"callSid":5}}', WireCode.FIELD_INVALID),
    ],
)
def test_each_malformed_message_has_its_code(message: str | bytes, code: WireCode) -> None:
    assert error_of(message).code == code
    assert not isinstance(error_of(message), StartUnusable)


@pytest.mark.parametrize(
    "number",
    [
        -1,
        "-1",
        3.5,
        "3.5",
        "",
        " 3",
        "3 ",
        "+3",
        "0x3",
        "1_0",
        "\u0663",
        True,
        None,
        [],
        {},
        10**400,
        "9" * 400,
        2**53 + 1,
        "NaN",
        "inf",
        "1e400",
        1e308,
        "true",
    ],
)
@pytest.mark.parametrize("field", ["sequenceNumber", "timestamp"])
def test_a_number_that_cannot_be_a_count_is_refused(field: str, number: object) -> None:
    assert error_of(media_message(**{field: number})).code == WireCode.FIELD_INVALID


@pytest.mark.parametrize(
    "payload",
    [
        "A",
        "AA",
        "AAA",
        "AA=",
        "A===",
        "====",
        "=AAA",
        "AA=A",
        "AA==AAAA",
        "AAAA=",
        "AA AA",
        "AAAA\n",
        "AA\nAA",
        "AA-_",
        "A\u00e9AA",
        "AAAA\x00",
        "\u0410AAA",
        "AAA!",
    ],
)
def test_base64_is_taken_strictly(payload: str) -> None:
    assert error_of(media_message(payload=payload)).code == WireCode.PAYLOAD_NOT_BASE64


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"mediaFormat": ...}, WireCode.FIELD_MISSING),
        ({"mediaFormat": {}}, WireCode.FIELD_MISSING),
        ({"mediaFormat": None}, WireCode.FIELD_INVALID),
        ({"callSid": ...}, WireCode.FIELD_MISSING),
        ({"callSid": ""}, WireCode.FIELD_INVALID),
        ({"callSid": "CA1\n"}, WireCode.FIELD_INVALID),
        ({"callSid": "CA/../1"}, WireCode.FIELD_INVALID),
        ({"streamSid": "M" * 65}, WireCode.FIELD_INVALID),
        ({"accountSid": 5}, WireCode.FIELD_INVALID),
        ({"customParameters": None}, WireCode.FIELD_INVALID),
        ({"customParameters": [SECRET]}, WireCode.FIELD_INVALID),
        ({"customParameters": {"token": 5}}, WireCode.FIELD_INVALID),
        ({"customParameters": {SECRET: [SECRET]}}, WireCode.FIELD_INVALID),
    ],
)
def test_each_malformed_start_has_its_code(changes: dict[str, object], code: WireCode) -> None:
    error = error_of(start_message(**changes))

    assert isinstance(error, StartUnusable)
    assert error.code == code
    assert SECRET not in str(error)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (media_message(timestamp=...), "Twilio media: media.timestamp is missing"),
        (media_message(timestamp="x"), "Twilio media: media.timestamp has a wrong type or value"),
        (media_message(payload="*"), "Twilio media: the payload is not base64"),
        (start_message(callSid=""), "Twilio start: start.callSid has a wrong type or value"),
        (start_message(mediaFormat={"encoding": "x"}), "Twilio start: start.mediaFormat.sampleRate is missing"),
        ('{"event":"base64"}', "Twilio sent the unknown event 'base_'"),
        ('{"event":5}', "Twilio message: event has a wrong type or value"),
        ("{}", "Twilio message: event is missing"),
        ("[]", "Twilio message is not a JSON object"),
    ],
)
def test_the_text_of_an_error_names_the_event_and_the_field(message: str, says: str) -> None:
    assert str(error_of(message)) == says


def test_a_start_without_parameters_has_none() -> None:
    event = twilio.parse(start_message(customParameters=...))

    assert isinstance(event, twilio.StreamStart)
    assert event.parameters == {}


@pytest.mark.parametrize(
    ("encoding", "rate", "channels"),
    [("audio/l16", 8000, 1), ("audio/x-mulaw", 16000, 1), ("audio/x-mulaw", 8000, 2), ("", 8000, 1), ("x" * 999, 0, 0)],
)
def test_any_format_but_telephone_is_refused_with_a_way_out(encoding: str, rate: int, channels: int) -> None:
    error = error_of(start_message(mediaFormat={"encoding": encoding, "sampleRate": rate, "channels": channels}))

    assert isinstance(error, StartUnusable)
    assert error.code == WireCode.MEDIA_FORMAT_UNSUPPORTED
    assert "remove audioFormat" in str(error)
    assert len(str(error)) < 250


@pytest.mark.parametrize(("message", "event"), GOLDEN[1:4])
def test_no_audio_digit_or_parameter_shows_in_a_repr(message: str, event: twilio.Event) -> None:
    shown = repr(twilio.parse(message.replace('"v"', f'"{SECRET}"')))

    assert SECRET not in shown
    assert "payload" not in shown
    assert "digit" not in shown


def test_events_cannot_be_changed() -> None:
    event = twilio.parse(GOLDEN[4][0])

    with pytest.raises(AttributeError):
        event.name = "other"  # type: ignore[misc,union-attr]


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
wire_names = st.sampled_from(
    [
        "event",
        "sequenceNumber",
        "media",
        "start",
        "dtmf",
        "mark",
        "stop",
        "payload",
        "timestamp",
        "chunk",
        "track",
        "digit",
        "name",
        "callSid",
        "streamSid",
        "accountSid",
        "mediaFormat",
        "customParameters",
        "connected",
    ]
)
wire_values: st.SearchStrategy[Any] = st.recursive(
    json_values | wire_names | st.sampled_from(["1", AUDIO, "inbound", SECRET]),
    lambda inner: st.dictionaries(wire_names, inner, max_size=5),
    max_leaves=12,
)


@given(st.text() | st.binary() | (json_values | wire_values).map(json.dumps))
def test_whatever_comes_only_a_counted_error_escapes(message: str | bytes) -> None:
    error = refusal(message)

    assert error is None or (error.code in WireCode.__members__ and len(str(error)) < 250)


@given(st.sampled_from(GOLDEN), st.data())
def test_a_documented_message_with_one_value_spoilt_raises_nothing_else(
    golden: tuple[str, twilio.Event], data: st.DataObject
) -> None:
    document = json.loads(golden[0])
    part = data.draw(st.sampled_from([document, *(value for value in document.values() if isinstance(value, dict))]))
    part[data.draw(st.sampled_from(sorted(part)))] = data.draw(json_values)

    error = refusal(json.dumps(document))

    assert error is None or error.code in WireCode.__members__


@given(st.binary(min_size=1, max_size=400), st.integers(0, 2**53), st.integers(0, 2**53))
def test_any_audio_comes_through_byte_for_byte(payload: bytes, sequence: int, timestamp_ms: int) -> None:
    message = media_message(
        sequenceNumber=str(sequence), timestamp=str(timestamp_ms), payload=base64.b64encode(payload).decode()
    )

    assert twilio.parse(message) == twilio.Media(sequence, 1, timestamp_ms, payload)


@given(st.binary(min_size=1, max_size=400))
def test_media_is_exactly_what_twilio_takes(payload: bytes) -> None:
    expected = {"event": "media", "streamSid": "MZ1", "media": {"payload": base64.b64encode(payload).decode()}}

    assert json.loads(twilio.media("MZ1", payload)) == expected


def test_media_without_audio_is_a_bug_of_ours() -> None:
    with pytest.raises(LocalProtocolError, match="without audio"):
        twilio.media("MZ1", b"")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_mark_and_clear_are_exactly_what_twilio_takes(name: str) -> None:
    assert json.loads(twilio.mark("MZ1", name)) == {"event": "mark", "streamSid": "MZ1", "mark": {"name": name}}
    assert json.loads(twilio.clear(name)) == {"event": "clear", "streamSid": name}


@given(st.integers(0, 10**9 - 1), st.integers(0, 10**10 - 1))
def test_a_mark_name_says_turn_and_position(turn: int, position_ms: int) -> None:
    assert twilio.parse_mark(twilio.mark_name(turn, position_ms)) == (turn, position_ms)


@pytest.mark.parametrize(("turn", "position_ms"), [(-1, 0), (0, -1), (10**9, 0), (0, 10**10)])
def test_a_mark_that_could_not_be_read_back_is_not_made(turn: int, position_ms: int) -> None:
    with pytest.raises(LocalProtocolError, match="no mark"):
        twilio.mark_name(turn, position_ms)


@pytest.mark.parametrize(
    "name", ["", "m1", "t1", "t1:", "t:1", "t01:1", "t1:01", "t-1:1", "t1:1\n", " t1:1", "T1:1", "t\u0661:1", "t1:1:1"]
)
def test_a_foreign_mark_is_none_of_ours(name: str) -> None:
    assert twilio.parse_mark(name) is None


@given(st.text())
def test_any_echoed_name_can_be_looked_at(name: str) -> None:
    found = twilio.parse_mark(name)

    assert found is None or twilio.mark_name(*found) == name
