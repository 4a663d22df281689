"""An order means what Vapi takes it to mean, or is refused with the reason."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.media.frames import AudioFormat, Encoding
from relay.standin.assistant.order import OVERRIDE_TYPES, BadOrder, read_order


def body(**changes: Any) -> dict[str, Any]:
    """An acceptable order with some keys replaced, or left out where the new value is `...`."""
    whole: dict[str, Any] = {"assistantId": "a", "transport": transport(), **changes}
    return {key: value for key, value in whole.items() if value is not ...}


def transport(**audio: Any) -> dict[str, Any]:
    return {"provider": "vapi.websocket", "audioFormat": audio or {"format": "mulaw", "sampleRate": 8000}}


def overrides(**values: Any) -> dict[str, Any]:
    return body(assistantOverrides=values)


def server(plan: object) -> dict[str, Any]:
    return {"url": "https://events.example.com", "backoffPlan": plan}


@pytest.mark.parametrize(
    ("audio", "form"),
    [
        ({"format": "mulaw", "sampleRate": 8000}, AudioFormat(Encoding.MULAW, 8000)),
        ({"format": "pcm_s16le", "sampleRate": 24000}, AudioFormat(Encoding.PCM_S16LE, 24000)),
        ({"format": "pcm_s16le", "container": "raw", "sampleRate": 8000}, AudioFormat(Encoding.PCM_S16LE, 8000)),
        ({"format": "pcm_s16le", "sampleRate": 44100}, AudioFormat(Encoding.PCM_S16LE, 44100)),
        ({"format": "mulaw", "sampleRate": 16000}, AudioFormat(Encoding.MULAW, 16000)),
    ],
)
def test_the_format_is_the_one_ordered(audio: dict[str, Any], form: AudioFormat) -> None:
    assert read_order(body(transport=transport(**audio))).format == form


@pytest.mark.parametrize(
    "wire",
    [
        {"provider": "vapi.websocket"},
        {"provider": "vapi.websocket", "audio": {"format": "mulaw", "sampleRate": 8000}},
    ],
)
def test_no_format_or_a_misnamed_one_means_16_khz_pcm(wire: dict[str, Any]) -> None:
    assert read_order(body(transport=wire)).format == AudioFormat(Encoding.PCM_S16LE, 16000)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ([], "object"),
        (body(surprise={}), "property surprise should not exist"),
        (body(assistantId=...), "exactly one"),
        (body(assistant={"name": "x"}), "exactly one"),
        (body(assistantId=""), "assistantId"),
        (body(assistantId=..., assistant="x"), "assistant"),
        (body(name="n" * 41), "40"),
        (body(transport=...), "transport"),
        (body(transport={"provider": "daily"}), "vapi.websocket"),
        (body(transport={"provider": "vapi.websocket", "conversationType": "chat"}), "conversationType"),
        (body(transport={"provider": "vapi.websocket", "audioFormat": "mulaw"}), "audioFormat"),
        (body(phoneNumberId="p"), "phoneNumberId"),
        (body(phoneNumber={"twilioPhoneNumber": "x"}), "phoneNumber"),
        (body(transport=transport(format="mulaw")), "sampleRate"),
        (body(transport=transport(sampleRate=8000)), "format"),
        (body(transport=transport(format="opus", sampleRate=8000)), "format"),
        (body(transport=transport(format="mulaw", sampleRate="8000")), "number"),
        (body(transport=transport(format="mulaw", sampleRate=True)), "number"),
        (body(transport=transport(format="pcm_s16le", sampleRate=1000)), "3000"),
        (body(transport=transport(format="pcm_s16le", sampleRate=11025)), "20 ms"),
        (body(transport=transport(format="mulaw", sampleRate=8000, container="wav")), "container"),
        (overrides(surprise=1), "surprise"),
        (overrides(firstMessageInterruptionsEnabled="yes"), "firstMessageInterruptionsEnabled"),
        (overrides(firstMessageMode="sings"), "firstMessageMode"),
        (overrides(maxDurationSeconds=9), "maxDurationSeconds"),
        (overrides(maxDurationSeconds=True), "maxDurationSeconds"),
        (overrides(silenceTimeoutSeconds=3601), "silenceTimeoutSeconds"),
        (overrides(clientMessages=["end-of-call-report"]), "clientMessages"),
        (overrides(serverMessages=["nonsense"]), "serverMessages"),
        (overrides(server={"secret": "x"}), "server"),
        (overrides(server=server(3)), "backoffPlan"),
        (overrides(server=server({"type": "linear", "maxRetries": 1, "baseDelaySeconds": 1})), "type"),
        (overrides(server=server({"type": "fixed", "maxRetries": 11, "baseDelaySeconds": 1})), "maxRetries"),
        (overrides(server=server({"type": "fixed", "maxRetries": 1})), "baseDelaySeconds"),
        (overrides(server={"url": "u", "timeoutSeconds": 301}), "timeoutSeconds"),
        (overrides(server={"url": "u", "headers": {"x": 1}}), "headers"),
    ],
)
def test_a_wrong_order_is_refused_with_its_reason(wrong: object, text: str) -> None:
    with pytest.raises(BadOrder, match=text):
        read_order(wrong)


@pytest.mark.parametrize(
    "right",
    [
        body(metadata={"order": "7"}),
        overrides(voicemailDetection={"provider": "vapi"}),
        overrides(voicemailDetection="off"),
        overrides(server=server({"type": "exponential", "maxRetries": 10, "baseDelaySeconds": 0.5})),
        overrides(serverMessages=['transcript[transcriptType="final"]', "call.artifact.upload"]),
    ],
)
def test_what_vapi_takes_is_taken(right: dict[str, Any]) -> None:
    read_order(right, "schema")


def test_a_property_of_an_older_schema_is_refused_by_the_present_one_and_named() -> None:
    order = overrides(silenceTimeoutSeconds=300)

    with pytest.raises(BadOrder, match=r"^assistantOverrides\.property silenceTimeoutSeconds should not exist$"):
        read_order(order, "schema")
    assert read_order(order, "legacy").silence_timeout_s == 300


def test_where_any_property_is_taken_an_unknown_one_does_nothing() -> None:
    assert read_order({**overrides(surprise=True), "other": 1}, "any").silence_timeout_s == 30


def test_the_webhook_gets_what_was_ordered_for_it_and_final_transcripts_alone_on_request() -> None:
    final = {"type": "transcript", "transcriptType": "final"}
    partial = {"type": "transcript", "transcriptType": "partial"}
    alone = read_order(overrides(serverMessages=['transcript[transcriptType="final"]']))

    assert [alone.hooks_want(message) for message in (final, partial, {"type": "hang"})] == [True, False, False]
    assert [read_order(body()).hooks_want(message) for message in (final, {"type": "hang"})] == [False, True]


@pytest.mark.parametrize("kind", ["assistant.speechStarted", "metadata", "tool.completed", "language-changed"])
def test_messages_that_vapi_sends_on_request_only_are_not_sent_by_default(kind: str) -> None:
    assert not read_order(body()).wants(kind)
    assert read_order(overrides(clientMessages=[kind])).wants(kind)


def test_the_defaults_are_vapis() -> None:
    order = read_order(body())
    assert order.speaks_first
    assert not order.first_is_interruptible
    assert (order.max_duration_s, order.silence_timeout_s) == (600, 30)
    assert order.wants("user-interrupted")


def test_the_overrides_are_obeyed() -> None:
    order = read_order(
        overrides(
            firstMessageMode="assistant-waits-for-user",
            firstMessageInterruptionsEnabled=True,
            maxDurationSeconds=3600,
            silenceTimeoutSeconds=300,
            clientMessages=["transcript"],
        )
    )
    assert not order.speaks_first
    assert order.first_is_interruptible
    assert (order.max_duration_s, order.silence_timeout_s) == (3600, 300)
    assert not order.wants("speech-update")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SERVER_KEYS = st.sampled_from(["url", "secret", "headers", "timeoutSeconds", "backoffPlan", "credentialId"])


@given(
    st.dictionaries(st.sampled_from(["assistantId", "assistantOverrides", "name", "transport"]), JSON),
    st.dictionaries(st.sampled_from(sorted(OVERRIDE_TYPES)), JSON, max_size=3),
    st.dictionaries(SERVER_KEYS, JSON, max_size=3),
)
def test_whatever_is_ordered_it_is_taken_or_refused_and_nothing_breaks(
    top: dict[str, Any], settings: dict[str, Any], server_settings: dict[str, Any]
) -> None:
    for order in ({**body(), **top}, overrides(**settings), overrides(server={"url": "u", **server_settings})):
        with suppress(BadOrder):
            read_order(order, "any")
