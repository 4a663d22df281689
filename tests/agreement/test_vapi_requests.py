"""What the relay sends to Vapi, against the types of Vapi's own library, which refuse here what they do not know."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config import SAMPLE_RATES_HZ
from relay.media.frames import AudioFormat, Encoding
from relay.wire import vapi
from relay.wire.vapi_call import call_request
from relay.wire.vapi_controls import add_message, dtmf_note, end_call
from relay.wire.vapi_server import SERVER_MESSAGES, webhook_server
from relay.wire.webhook_auth import WebhookRules
from tests.support.agreement import Note
from tests.support.vapi_schema import Choice, call_body, library, misfits, object_misfits

BODY = call_body()
INBOUND = library("types.client_inbound_message_message").named("ClientInboundMessageMessage")
FORMATS = [
    AudioFormat(Encoding.MULAW, 8000),
    *(AudioFormat(Encoding.PCM_S16LE, rate) for rate in SAMPLE_RATES_HZ["pcm_s16le"]),
]

WRONG_IN_THE_LIBRARY = ".assistantOverrides.server.backoffPlan.type: str is no Table"
"""The schema of the API has "fixed" and "exponential" there; the library took them for an object."""
RULES = (WebhookRules(), WebhookRules(auth="hmac", header="x-signature", credential_id="c"))
SERVERS = [None, *(webhook_server("https://r.example/vapi/events", it, "s", answer_s=60) for it in RULES)]

calls = st.fixed_dictionaries(
    {
        "assistant_id": st.text(min_size=1),
        "audio_format": st.sampled_from(FORMATS),
        "max_duration_s": st.floats(min_value=0, allow_nan=False),
        "first_message_interruptions": st.booleans(),
        "metadata": st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3),
        "name": st.text(),
        "first_message_waits": st.booleans(),
        "variables": st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3),
        "server": st.sampled_from(SERVERS),
    }
)


def sent(**call: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(json.dumps(call_request(**call)))
    return body


def wrong_in(body: dict[str, Any]) -> list[str]:
    return [it for it in object_misfits(body, BODY) if not it.startswith(WRONG_IN_THE_LIBRARY)]


def test_every_call_that_is_ordered_has_only_what_the_schema_has(note: Note) -> None:
    bodies = 0

    @given(calls)
    def ordered(call: Mapping[str, Any]) -> None:
        nonlocal bodies
        bodies += 1
        body = sent(**call)

        assert wrong_in(body) == []
        assert len(body["name"]) <= 40
        assert 10 <= body["assistantOverrides"]["maxDurationSeconds"] <= 43200

    ordered()
    note("Vapi: bodies of POST /call", bodies)


@given(calls, st.floats(min_value=5, max_value=3600))
def test_a_silence_timeout_is_the_one_property_that_no_schema_has(call: Mapping[str, Any], silence_s: float) -> None:
    body = sent(**{**call, "server": None}, silence_timeout_s=silence_s)

    assert object_misfits(body, BODY) == [".assistantOverrides.silenceTimeoutSeconds should not exist"]


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"metadata": {}}, ".metadata should not exist"),
        ({"name": 5}, ".name"),
        ({"assistantOverrides": {"clientMessages": ["spam"]}}, ".assistantOverrides.clientMessages[0]: 'spam'"),
        ({"assistantOverrides": {"firstMessageMode": "x"}}, ".assistantOverrides.firstMessageMode"),
        ({"assistantOverrides": {"maxDurationSeconds": "9"}}, ".assistantOverrides.maxDurationSeconds"),
        ({"transport": {"provider": "vapi.websocket", "audioFormat": {"format": "mulaw"}}}, ".sampleRate is missing"),
        ({"transport": {"provider": "pigeon"}}, ".transport"),
    ],
)
def test_the_comparison_finds_what_does_not_fit(change: dict[str, Any], wrong: str) -> None:
    found = object_misfits({"assistantId": "a"} | change, BODY)

    assert len(found) == 1
    assert wrong in found[0]


def test_only_messages_are_asked_for_that_can_be_asked_for() -> None:
    known = library("types.assistant_overrides_client_messages_item").named("AssistantOverridesClientMessagesItem")

    assert isinstance(known, Choice)
    assert set(vapi.CLIENT_MESSAGES) < set(known.values)
    of_servers = library("types.assistant_overrides_server_messages_item").named("AssistantOverridesServerMessagesItem")
    assert isinstance(of_servers, Choice)
    assert set(SERVER_MESSAGES) < set(of_servers.values)


def test_every_message_to_the_assistant_has_only_what_the_schema_has(note: Note) -> None:
    texts = [end_call(), *(dtmf_note(digit) for digit in "0123456789*#ABCD")]
    for role in ("system", "user", "assistant"):
        for content in ("", "x", "\u20ac\n" * 5000):
            texts += [add_message(role, content, trigger_response=trigger) for trigger in (False, True)]

    assert [wrong for text in texts for wrong in misfits(json.loads(text), INBOUND)] == []
    note("Vapi: messages to the assistant", len(texts))
