"""The built-in assistant against Vapi's own SDK: its client drives the REST side, its types take every message."""

import json
import re
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any, get_args

import httpx
import pytest
import trio

from relay.media.frames import TELEPHONE
from relay.standin.assistant import Act, Assistant, Behaviour, open_assistant
from relay.standin.assistant.bodies import end_of_call_report, whole
from relay.standin.assistant.call import AssistantCall
from relay.standin.assistant.order import OVERRIDE_TYPES, read_order
from relay.standin.assistant.record import SocketRecord
from relay.standin.phrases import spoken
from tests.support.vapi_schema import Model, Type, library, misfits

vapi = pytest.importorskip("vapi")
ApiError = pytest.importorskip("vapi.core.api_error").ApiError

KEY = "private"
ALL_CLIENT_MESSAGES = [
    *("conversation-update", "assistant.speechStarted", "hang", "model-output", "speech-update", "status-update"),
    *("transcript", "tool-calls", "transfer-update", "user-interrupted", "voice-input", "assistant.started"),
]
ALL_SERVER_MESSAGES = [
    *ALL_CLIENT_MESSAGES,
    *("end-of-call-report", "transfer-destination-request", "handoff-destination-request"),
]
NOT_IN_THE_SCHEMA = {
    "client": {"status-update"},
    "server": {"assistant.started"},
}
"""Live messages that the enum of orders has, and the union of messages has not."""
MODELS = {"assistant.speechStarted": "AssistantSpeech"}
DESTINATION = {"type": "number", "number": "+15005550009"}
ORDER = {
    "assistantId": "7f1c5a52-0f9c-4d2c-9a52-000000000001",
    "name": "agreement",
    "transport": {"provider": "vapi.websocket", "audioFormat": {"format": "mulaw", "sampleRate": 8000}},
    "assistantOverrides": {
        "clientMessages": ALL_CLIENT_MESSAGES,
        "serverMessages": ALL_SERVER_MESSAGES,
        "firstMessageInterruptionsEnabled": True,
        "server": {"url": "https://events.example.com"},
        "metadata": {"relayCallId": "r1"},
    },
}


def typed(model: str) -> Type:
    """The SDK's type of this name, read from its source: making its models takes 20 s."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", model).lower()
    return library(f"types.{name}").named(model)


def wrong(model: str, value: dict[str, Any]) -> list[str]:
    """What in the value is not of the SDK's type. Its models let properties through that they do not know."""
    return misfits(value, typed(model), closed=False)


def model_of(side: str, kind: str) -> str:
    name = MODELS.get(kind) or "".join(part.title() for part in kind.replace(".", "-").split("-"))
    return f"{side.title()}Message{name}"


@pytest.fixture(scope="module")
def whole_call() -> tuple[list[dict[str, Any]], list[dict[str, Any]], AssistantCall]:
    """What the client and the webhook get in a call with everything in it, and the call."""
    acts = (Act("tool", "stock"), Act("transfer"), Act("handoff"), Act("handoff", "b"))
    behaviour = Behaviour(think_ms=1600, acts=acts)
    call = AssistantCall("c1", read_order(ORDER), behaviour, SocketRecord(TELEPHONE, 0.0), None, 0.0)
    call.connect(0.0)
    conversation = call.conversation
    assert conversation is not None
    uplink = bytearray(TELEPHONE.silent_frame * 100)
    for name in ("stop", "request", "question", "agreement", "goodbye"):
        uplink += spoken(name, TELEPHONE) + TELEPHONE.silent_frame * 250
    client: list[dict[str, Any]] = []
    server: list[dict[str, Any]] = []
    for frame in range(len(uplink) // 160):
        now_s = frame * 0.02
        conversation.receive_audio(bytes(uplink[frame * 160 : frame * 160 + 160]), now_s)
        conversation.tick(now_s)
        hooks, out = conversation.narrator.hooks, conversation.outbox
        client += drained_texts(out)
        while hooks:
            message = hooks.popleft()
            server.append(whole(call, message))
            conversation.answered(message, {"destination": DESTINATION, "results": []}, now_s)
    conversation.end("assistant-ended-call")
    client += drained_texts(conversation.outbox)
    call.finish("assistant-ended-call")
    server.append(whole(call, end_of_call_report(call)))
    return client, server, call


def drained_texts(outbox: deque[str | bytes]) -> Iterator[dict[str, Any]]:
    while outbox:
        message = outbox.popleft()
        if isinstance(message, str):
            yield json.loads(message)


def test_the_whole_call_has_every_message_in_it(whole_call: Any) -> None:
    client, server, _ = whole_call

    assert {message["type"] for message in client} == set(ALL_CLIENT_MESSAGES)
    assert {message["type"] for message in server} == set(ALL_SERVER_MESSAGES)


@pytest.mark.parametrize("side", ["client", "server"])
def test_every_message_is_of_the_sdks_type(side: str, whole_call: Any) -> None:
    messages = whole_call[0] if side == "client" else whole_call[1]
    for message in messages:
        kind = message["type"]
        # The model's output is a string in every recorded call, and an object in the schema.
        output = {"output": {"content": message["output"]}} if kind == "model-output" else {}
        if kind not in NOT_IN_THE_SCHEMA[side]:
            assert wrong(model_of(side, kind), message | output) == []


@pytest.mark.parametrize("broken", [{"role": "nobody", "transcript": 1}, {"type": "transcript", "role": "user"}])
def test_what_is_not_of_the_sdks_type_is_found(broken: dict[str, Any]) -> None:
    assert wrong("ClientMessageTranscript", broken)


@pytest.mark.parametrize("side", ["client", "server"])
def test_what_is_not_in_the_schema_is_only_what_is_named_here(side: str) -> None:
    kinds = ALL_CLIENT_MESSAGES if side == "client" else ALL_SERVER_MESSAGES

    missing = {kind for kind in kinds if model_of(side, kind) not in vapi.__all__}
    assert missing == NOT_IN_THE_SCHEMA[side]


@asynccontextmanager
async def running(behaviour: Behaviour | None = None) -> AsyncGenerator[tuple[Assistant, Any], None]:
    """An assistant, and the SDK's client for it. Its calls block: they are made in a thread."""
    async with open_assistant(key=KEY, behaviour=behaviour) as assistant:
        with httpx.Client(trust_env=False, timeout=5) as client:
            yield assistant, vapi.Vapi(token=KEY, base_url=assistant.base_url, httpx_client=client).calls


async def in_thread(function: Any, *arguments: Any, **named: Any) -> Any:
    return await trio.to_thread.run_sync(lambda: function(*arguments, **named))


ORDERED = {
    "assistant_id": "a",
    "name": "one",
    "transport": {
        "provider": "vapi.websocket",
        "audioFormat": {"format": "pcm_s16le", "container": "raw", "sampleRate": 16000},
    },
}


async def test_the_sdks_client_creates_lists_gets_renames_and_deletes_a_call() -> None:
    async with running(Behaviour()) as (_, calls):
        made = await in_thread(calls.create, **ORDERED)
        listed = await in_thread(calls.list, assistant_id="a", limit=10)
        got = await in_thread(calls.get, made.id)
        renamed = await in_thread(calls.update, made.id, name="two")
        deleted = await in_thread(calls.delete, made.id)
        with pytest.raises(ApiError) as gone:
            await in_thread(calls.get, made.id)

    assert made.status == "queued"
    assert [call.id for call in listed] == [made.id]
    assert got.monitor.control_url.endswith("/control")
    assert (got.name, renamed.name, deleted.id) == ("one", "two", made.id)
    assert gone.value.status_code == 404


@pytest.mark.parametrize("state", ["queued", "in-progress", "ended"])
async def test_every_rest_answer_is_a_call(state: str) -> None:
    async with running() as (assistant, calls):
        made = await in_thread(calls.create, **ORDERED)
        call = assistant.calls[made.id]
        if state != "queued":
            call.connect(trio.current_time())
        if state == "ended":
            call.finish("silence-timed-out")
        raw = await in_thread(calls.with_raw_response.get, made.id)

    assert raw.data.status == state
    assert wrong("Call", call.as_json()) == []


async def test_the_sdk_reads_a_refusal_as_one() -> None:
    async with running(Behaviour(create_burst=0)) as (_, calls):
        with pytest.raises(ApiError) as refused:
            await in_thread(calls.create, **ORDERED, request_options={"max_retries": 0})

    assert refused.value.status_code == 429


async def test_the_sdk_reads_a_property_that_should_not_exist() -> None:
    overrides = {"silenceTimeoutSeconds": 30}
    async with running(Behaviour(properties="schema")) as (_, calls):
        with pytest.raises(ApiError) as refused:
            await in_thread(calls.create, **ORDERED, assistant_overrides=overrides)

    assert refused.value.status_code == 400
    assert "silenceTimeoutSeconds should not exist" in refused.value.body["message"]


@pytest.mark.parametrize("kind", ["clientMessages", "serverMessages"])
def test_the_messages_that_can_be_ordered_are_the_sdks(kind: str) -> None:
    item = getattr(vapi, f"AssistantOverrides{kind[0].upper()}{kind[1:]}Item")
    known = list(get_args(get_args(item)[0]))

    assert len(known) > 15
    read_order({**ORDER, "assistantOverrides": {kind: known}}, "schema")


def test_the_overrides_that_can_be_ordered_are_the_sdks() -> None:
    overrides = typed("AssistantOverrides")

    assert isinstance(overrides, Model)
    assert set(OVERRIDE_TYPES) == set(overrides.properties)
