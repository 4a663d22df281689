"""Vapi's `POST /call`: the request as documented, and every documented failure told apart."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import AssistantUnavailable, LocalProtocolError
from relay.media.frames import TELEPHONE, WIDEBAND, AudioFormat, Encoding
from relay.wire.vapi_call import CallCreated, call_request, parse_created, parse_listed

SOCKET = "wss://api.vapi.ai/7420f27a-30fd-4f49-a995-5549ae7cc00d/transport"
CONTROL = "https://phone-call-websocket.aws-us-west-2-backend-production1.vapi.ai/7420f27a/control"
KEY = "8f14e45f-ceea-467f-a0e6-1d2d3b8f9c11"

CREATED: dict[str, Any] = {
    "id": "7420f27a-30fd-4f49-a995-5549ae7cc00d",
    "orgId": "eb166faa-7145-46ef-8044-589b47ae3b56",
    "cost": 0,
    "status": "queued",
    "transport": {"provider": "vapi.websocket", "websocketCallUrl": SOCKET},
}


def request(audio_format: AudioFormat = WIDEBAND, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "max_duration_s": 3600.0,
        "first_message_interruptions": True,
        "metadata": {"relay_call_id": "c-1"},
        "name": "relay c-1",
    }
    return call_request(changes.pop("assistant_id", "a-1"), audio_format, **values | changes)


def created(body: object, status: int = 201, asked: AudioFormat = WIDEBAND) -> CallCreated:
    return parse_created(status, body if isinstance(body, bytes) else json.dumps(body).encode(), asked)


def failure(status: int, body: object) -> AssistantUnavailable:
    with pytest.raises(AssistantUnavailable) as caught:
        created(body, status)
    return caught.value


def granting(audio_format: object) -> dict[str, Any]:
    """The answer to `POST /call` with this as the format of the call."""
    return CREATED | {"transport": CREATED["transport"] | {"audioFormat": audio_format}}


@pytest.mark.parametrize(("audio_format", "name", "rate"), [(WIDEBAND, "pcm_s16le", 16000), (TELEPHONE, "mulaw", 8000)])
def test_the_request_is_exactly_the_documented_one(audio_format: AudioFormat, name: str, rate: int) -> None:
    body = json.loads(json.dumps(request(audio_format)))

    assert body == {
        "assistantId": "a-1",
        "assistantOverrides": {
            "maxDurationSeconds": 3600,
            "firstMessageInterruptionsEnabled": True,
            "backgroundSound": "off",
            "clientMessages": [
                "speech-update",
                "status-update",
                "tool-calls",
                "transcript",
                "transfer-update",
                "user-interrupted",
            ],
            "metadata": {"relay_call_id": "c-1"},
        },
        "name": "relay c-1",
        "transport": {
            "provider": "vapi.websocket",
            "conversationType": "voice",
            "audioFormat": {"format": name, "container": "raw", "sampleRate": rate},
        },
    }


def test_a_protected_first_message_and_a_call_without_greeting_can_be_asked_for() -> None:
    overrides = request(first_message_interruptions=False, first_message_waits=True)["assistantOverrides"]

    assert overrides["firstMessageInterruptionsEnabled"] is False
    assert overrides["firstMessageMode"] == "assistant-waits-for-user"


@pytest.mark.parametrize(
    ("asked_s", "duration_s", "silence_s"),
    [(0, 10, 5), (-1.0, 10, 5), (10.2, 11, 11), (3600, 3600, 3600), (3600.5, 3601, 3600), (float("inf"), 43200, 3600)],
)
def test_times_are_brought_into_the_range_that_vapi_takes(asked_s: float, duration_s: int, silence_s: int) -> None:
    overrides = request(max_duration_s=asked_s, silence_timeout_s=asked_s)["assistantOverrides"]

    assert (overrides["maxDurationSeconds"], overrides["silenceTimeoutSeconds"]) == (duration_s, silence_s)
    assert isinstance(overrides["maxDurationSeconds"], int)


def test_the_silence_timeout_is_sent_only_when_it_is_asked_for_because_no_schema_has_it() -> None:
    assert "silenceTimeoutSeconds" not in request()["assistantOverrides"]
    assert request(silence_timeout_s=300.0)["assistantOverrides"]["silenceTimeoutSeconds"] == 300


def test_a_long_name_is_cut_to_what_vapi_takes() -> None:
    assert request(name="x" * 41)["name"] == "x" * 40


@pytest.mark.parametrize(
    "audio_format",
    [AudioFormat(Encoding.PCM_F32LE, 16000), AudioFormat(Encoding.PCM_S16LE, 16000, 2)],
)
def test_a_format_that_the_transport_has_not_is_a_bug_of_ours(audio_format: AudioFormat) -> None:
    with pytest.raises(LocalProtocolError, match="pcm_s16le or mulaw"):
        request(audio_format)


def test_no_assistant_is_a_bug_of_ours() -> None:
    with pytest.raises(LocalProtocolError, match="assistant_id"):
        request(assistant_id="")


@pytest.mark.parametrize("status", [200, 201])
def test_a_created_call_has_its_id_and_socket(status: int) -> None:
    assert created(CREATED, status) == CallCreated(CREATED["id"], SOCKET, None, WIDEBAND)


def pcm(rate_hz: int) -> AudioFormat:
    return AudioFormat(Encoding.PCM_S16LE, rate_hz)


@pytest.mark.parametrize(
    ("told", "asked", "granted"),
    [
        (None, TELEPHONE, TELEPHONE),
        ({}, TELEPHONE, TELEPHONE),
        ({"format": "mulaw", "container": "raw", "sampleRate": 8000}, TELEPHONE, TELEPHONE),
        ({"format": "mulaw", "container": None, "sampleRate": 8000.0}, TELEPHONE, TELEPHONE),
        ({"format": "mulaw"}, TELEPHONE, TELEPHONE),
        ({"sampleRate": 16000}, WIDEBAND, WIDEBAND),
        ({"format": "pcm_s16le", "container": "raw", "sampleRate": 16000}, TELEPHONE, WIDEBAND),
        ({"format": "pcm_s16le", "sampleRate": 24000.0}, WIDEBAND, pcm(24000)),
        ({"format": "pcm_s16le", "sampleRate": 44100, "channels": 1}, WIDEBAND, pcm(44100)),
        ({"format": "mulaw", "sampleRate": 8000}, WIDEBAND, TELEPHONE),
    ],
)
def test_the_format_of_the_call_is_the_one_that_the_answer_grants(
    told: object, asked: AudioFormat, granted: AudioFormat
) -> None:
    assert created(granting(told), asked=asked).format == granted


@pytest.mark.parametrize(
    "told",
    [
        {"format": "pcm_s16le", "container": "wav", "sampleRate": 16000},
        {"format": "opus", "container": "raw", "sampleRate": 48000},
        {"format": "pcm_f32le", "container": "raw", "sampleRate": 16000},
        {"format": "PCM", "sampleRate": 16000},
        {"format": "pcm_s16le", "sampleRate": 96000},
        {"format": "pcm_s16le", "sampleRate": 4000},
        {"format": "pcm_s16le", "sampleRate": 11025},
        {"format": "pcm_s16le", "sampleRate": 16000.5},
        {"format": "pcm_s16le", "sampleRate": "fast"},
        {"format": "pcm_s16le", "sampleRate": True},
        {"format": "mulaw"},
        {"sampleRate": 24000},
        {"format": 5, "sampleRate": 16000},
        {"format": [], "sampleRate": {}},
        "pcm_s16le",
        [],
    ],
)
def test_a_format_that_is_not_usable_or_not_clear_is_refused_for_good_and_the_call_known(told: object) -> None:
    error = failure(201, granting(told))

    assert (error.code, error.retriable, error.call_id) == ("VAPI_FORMAT_UNUSABLE", False, CREATED["id"])
    assert "pcm_s16le 16000 Hz" in str(error)


@pytest.mark.parametrize(
    ("monitor", "control_url"),
    [
        ({"listenUrl": "wss://x", "controlUrl": CONTROL}, CONTROL),
        ({"controlUrl": "http://127.0.0.1:9/control"}, "http://127.0.0.1:9/control"),
        (None, None),
        ({}, None),
        ([], None),
        ({"controlUrl": 5}, None),
        ({"controlUrl": "file:///etc/passwd"}, None),
        ({"controlUrl": "https://h/ x"}, None),
    ],
)
def test_the_control_url_is_taken_when_there_is_a_usable_one(monitor: object, control_url: str | None) -> None:
    assert created(CREATED | {"monitor": monitor}).control_url == control_url


def test_the_urls_are_secrets_and_not_in_the_repr() -> None:
    shown = repr(created(CREATED | {"monitor": {"controlUrl": CONTROL}}))

    assert "://" not in shown
    assert CREATED["id"] in shown


@pytest.mark.parametrize(
    ("status", "code", "retriable"),
    [
        (400, "VAPI_BAD_REQUEST", False),
        (401, "VAPI_UNAUTHORIZED", False),
        (402, "VAPI_PAYMENT_REQUIRED", False),
        (403, "VAPI_FORBIDDEN", False),
        (404, "VAPI_NOT_FOUND", False),
        (409, "VAPI_CONFLICT", False),
        (429, "VAPI_RATE_LIMITED", True),
        (500, "VAPI_SERVER_ERROR", True),
        (502, "VAPI_SERVER_ERROR", True),
        (503, "VAPI_SERVER_ERROR", True),
        (599, "VAPI_SERVER_ERROR", True),
        (100, "VAPI_UNEXPECTED_STATUS", False),
        (202, "VAPI_UNEXPECTED_STATUS", False),
        (204, "VAPI_UNEXPECTED_STATUS", False),
        (302, "VAPI_UNEXPECTED_STATUS", False),
        (418, "VAPI_UNEXPECTED_STATUS", False),
        (600, "VAPI_UNEXPECTED_STATUS", False),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", json.dumps(CREATED).encode(), b'{"message":null}', b"\xff"])
def test_each_failing_status_has_its_code_whatever_the_body(
    status: int, code: str, retriable: bool, body: bytes
) -> None:
    error = failure(status, body)

    assert (error.code, error.retriable, error.locked_out_s) == (code, retriable, 30.0 if status == 429 else 0.0)
    assert str(status) in str(error)


@pytest.mark.parametrize("body", [b"error code: 1010", b"error code: 1010\n", b"<p>error code: 1010</p>"])
def test_cloudflare_refusing_the_user_agent_is_told_from_a_forbidden_call(body: bytes) -> None:
    error = failure(403, body)

    assert error.code == "VAPI_CLOUDFLARE_1010"
    assert "User-Agent" in str(error)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Couldn't Find Assistant.", "(it says: Couldn't Find Assistant.)"),
        (["one must be a string", "two should not exist", 5], "(it says: one must be a string two should not exist)"),
        (
            "assistantOverrides.silenceTimeoutSeconds must not be less than 10",
            "(it says: assistantOverrides.silenceTimeoutSeconds must not be less than 10)",
        ),
        ("line\r\n\x1b[31m two\u2028\x00", "(it says: line [31m two)"),
        (f"Invalid Key {KEY}.", "(it says: Invalid Key ***"),
        (f"see {SOCKET} or WSS://h/x now", "(it says: see *** or *** now)"),
        ("x" * 500, "(it says: " + "x" * 197 + "...)"),
    ],
)
def test_vapis_own_words_are_told_short_and_without_secrets(message: object, told: str) -> None:
    text = str(failure(400, {"statusCode": 400, "error": "Bad Request", "message": message}))

    assert told in text
    assert KEY not in text


@pytest.mark.parametrize("message", [None, 5, {}, [], "", " ", {"a": 1}])
def test_a_message_that_is_no_text_is_left_out(message: object) -> None:
    assert "it says" not in str(failure(400, {"message": message}))


@pytest.mark.parametrize("monitor", [{}, {"monitor": {"controlUrl": CONTROL}}])
def test_a_call_blocked_by_concurrency_is_a_failure_even_with_201_and_is_known_by_its_id(
    monitor: dict[str, object],
) -> None:
    limits = {"subscriptionLimits": {"concurrencyBlocked": True, "concurrencyLimit": 10}}
    error = failure(201, CREATED | limits | monitor)

    assert (error.code, error.retriable, error.locked_out_s) == ("VAPI_CONCURRENCY_BLOCKED", True, 5.0)
    assert (error.call_id, error.control_url) == (CREATED["id"], CONTROL if monitor else None)
    assert CONTROL not in str(error)


@pytest.mark.parametrize("limits", [None, [], {}, {"concurrencyBlocked": False}, {"concurrencyBlocked": None}, "x"])
def test_limits_that_block_nothing_are_no_failure(limits: object) -> None:
    assert created(CREATED | {"subscriptionLimits": limits}).socket_url == SOCKET


BAD_URLS: list[object] = [None, "", 5, [], {}, "wss://", "wss:///x", "https://h/x", "h/x", "wss://h/ x", "wss://h/\n"]
BAD_URLS += ["wss://[::1/x", "wss://h:99999/x", "wss://h\u00e9/x", "wss://h/" + "x" * 3000]
BAD_TRANSPORTS: list[object] = [None, {}, [], "x", 5, *({"websocketCallUrl": url} for url in BAD_URLS)]
BAD_IDS: list[object] = [None, "", 5, [], "a/b", "../x", "x" * 65, "x\n"]


@pytest.mark.parametrize("transport", BAD_TRANSPORTS)
def test_a_call_without_a_usable_socket_url_is_a_failure(transport: object) -> None:
    error = failure(201, CREATED | {"transport": transport})

    assert (error.code, error.retriable, error.call_id) == ("VAPI_NO_SOCKET_URL", False, CREATED["id"])


@pytest.mark.parametrize("url", [SOCKET, "ws://127.0.0.1:9000/x", "wss://[::1]:8443/x?y=1"])
def test_a_socket_url_may_be_on_any_host(url: str) -> None:
    assert created(CREATED | {"transport": {"websocketCallUrl": url}}).socket_url == url


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"null", b"[]", b'"x"', b'{"id":NaN}', b"[" * 100_000, b'{"a":' * 100_000, b"{}"]
)
def test_an_accepting_answer_that_is_not_vapis_is_a_bad_response(body: bytes) -> None:
    assert failure(201, body).code == "VAPI_BAD_RESPONSE"


@pytest.mark.parametrize("call_id", BAD_IDS)
def test_an_id_that_could_not_stand_in_a_path_is_a_bad_response(call_id: object) -> None:
    assert failure(201, CREATED | {"id": call_id}).code == "VAPI_BAD_RESPONSE"


@given(
    st.sampled_from([200, 201, 400, 403, 500]),
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["id", "transport", "websocketCallUrl", "message", "subscriptionLimits", "monitor", "audioFormat"]
                ),
                inner,
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)
def test_whatever_the_answer_only_assistant_unavailable_escapes(status: int, body: bytes) -> None:
    error = None
    try:
        parse_created(status, body, WIDEBAND)
    except AssistantUnavailable as caught:
        error = caught

    assert error is None or (error.code.startswith("VAPI_") and len(str(error)) < 450)


@pytest.mark.parametrize(
    ("status", "body", "ids"),
    [
        (200, b'[{"id":"1","name":"mine"},{"id":"2","name":"other"},{"id":"3","name":"mine"}]', ["1", "3"]),
        (200, b'[{"name":"mine"},{"id":"a b","name":"mine"},{"id":4,"name":"mine"},"mine",null]', []),
        (200, b'{"id":"1","name":"mine"}', []),
        (500, b'[{"id":"1","name":"mine"}]', []),
        (200, b"<html>", []),
    ],
)
def test_calls_are_found_by_their_name_in_a_list(status: int, body: bytes, ids: list[str]) -> None:
    assert parse_listed(status, body, "mine") == ids
