"""Vapi's REST interface as calls use it: what is asked for, how failures are named, that hanging up never raises."""

import json
import math
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import trio
import trio.lowlevel
from structlog.testing import capture_logs

from relay.call.assistant.dialer import NewCall, VapiDialer
from relay.config import AssistantConfig, BargeInConfig, Config, ServerConfig, SessionConfig
from relay.errors import AssistantUnavailable, LegLost, RelayError, RemoteProtocolError
from relay.media.frames import WIDEBAND
from relay.net.rest import RestClient
from relay.secrets import Secrets
from relay.wire.vapi_server import SERVER_MESSAGES
from relay.wire.webhook_auth import WebhookRules

CREATED = {"id": "call-1", "transport": {"websocketCallUrl": "wss://vapi.test/secret"}}


@dataclass
class Rest:
    """In the place of the REST client."""

    status: int = 201
    body: bytes = json.dumps(CREATED).encode()
    failure: Exception | None = None
    requests: list[tuple[str, str, Any, Any]] = field(default_factory=list)
    how: dict[str, Any] = field(default_factory=dict)

    async def post_json(self, url: str, body: Any, headers: Any = None, **how: Any) -> tuple[int, bytes]:
        self.how = how
        return self._answer("POST", url, body, headers)

    def _answer(self, method: str, url: str, body: Any, headers: Any) -> tuple[int, bytes]:
        self.requests.append((method, url, body, headers))
        if self.failure is not None:
            raise self.failure
        return self.status, self.body


def dialer(rest: Rest, max_call_s: float = 0.0, *, send_silence_timeout: bool = False, **sections: Any) -> VapiDialer:
    assistant = AssistantConfig(
        "main",
        "assistant-1",
        api_base="https://vapi.test/",
        max_call_s=max_call_s,
        send_silence_timeout=send_silence_timeout,
    )
    config = Config(assistants=(assistant,), **{"secrets": Secrets(vapi_api_keys={"main": "private-key"}), **sections})
    return VapiDialer(assistant, config, cast("RestClient", rest))


async def test_a_call_is_asked_for_as_configured() -> None:
    rest = Rest()
    session = SessionConfig(max_duration_s=1800, idle_timeout_s=120)
    created = await dialer(rest, session=session).create(NewCall("our-id"))
    method, url, body, headers = rest.requests[0]
    overrides = body["assistantOverrides"]

    assert (created.call_id, created.socket_url) == ("call-1", "wss://vapi.test/secret")
    assert (method, url, headers) == ("POST", "https://vapi.test/call", {"Authorization": "Bearer private-key"})
    assert body["assistantId"] == "assistant-1"
    assert overrides["maxDurationSeconds"] == 1800
    assert "silenceTimeoutSeconds" not in overrides
    assert overrides["firstMessageInterruptionsEnabled"] is True
    assert overrides["metadata"] == {"relayCallId": "our-id"}


@pytest.mark.parametrize(
    ("max_call_s", "asked_s", "known_s"), [(0, 1800, None), (600, 600, 600), (1800, 1800, None), (3600, 1800, None)]
)
async def test_no_longer_call_is_asked_for_than_the_provider_allows(
    max_call_s: float, asked_s: int, known_s: float | None
) -> None:
    rest = Rest()
    limited = dialer(rest, max_call_s, session=SessionConfig(max_duration_s=1800))
    await limited.create(NewCall("our-id"))

    assert rest.requests[0][2]["assistantOverrides"]["maxDurationSeconds"] == asked_s
    assert limited.max_call_s == known_s


class Schema(Rest):
    """Refuses the property that is in no schema any more, as a NestJS validator does."""

    def _answer(self, method: str, url: str, body: Any, headers: Any) -> tuple[int, bytes]:
        answer = super()._answer(method, url, body, headers)
        if "silenceTimeoutSeconds" not in body["assistantOverrides"]:
            return answer
        return 400, b'{"message":["assistantOverrides.property silenceTimeoutSeconds should not exist"]}'


async def test_the_limit_of_silence_is_asked_for_where_the_operator_says_so() -> None:
    rest = Rest()
    session = SessionConfig(idle_timeout_s=120)
    await dialer(rest, send_silence_timeout=True, session=session).create(NewCall("our-id"))

    assert rest.requests[0][2]["assistantOverrides"]["silenceTimeoutSeconds"] == 120


async def test_a_service_that_does_not_know_the_limit_of_silence_is_asked_without_it_from_then_on() -> None:
    rest = Schema()
    asking = dialer(rest, send_silence_timeout=True)
    with capture_logs() as logged:
        calls = [await asking.create(NewCall("our-id")) for _ in range(2)]

    asked = ["silenceTimeoutSeconds" in body["assistantOverrides"] for _, _, body, _ in rest.requests]
    assert ([call.call_id for call in calls], asked) == (["call-1", "call-1"], [True, False, False])
    assert [(line["event"], line["property"]) for line in logged] == [
        ("assistant.property_refused", "silenceTimeoutSeconds")
    ]


async def test_of_two_calls_that_ask_at_once_both_are_asked_for_again() -> None:
    class Slow(Schema):
        async def post_json(self, url: str, body: Any, headers: Any = None, **how: Any) -> tuple[int, bytes]:
            await trio.lowlevel.checkpoint()
            return await super().post_json(url, body, headers, **how)

    asking = dialer(rest := Slow(), send_silence_timeout=True)
    with capture_logs() as logged:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asking.create, NewCall("one"))
            nursery.start_soon(asking.create, NewCall("two"))

    assert len(rest.requests) == 4
    assert [line["event"] for line in logged] == ["assistant.property_refused"]


async def test_another_400_is_no_reason_to_ask_twice() -> None:
    rest = Rest(status=400, body=b'{"message":"assistantId must be a UUID"}')
    with pytest.raises(AssistantUnavailable):
        await dialer(rest, send_silence_timeout=True).create(NewCall("our-id"))

    assert len(rest.requests) == 1


async def test_what_is_known_of_the_caller_fills_the_variables_of_the_assistant() -> None:
    rest = Rest()
    await dialer(rest).create(NewCall("our-id", variables={"callerNumber": "+15005550006"}))
    await dialer(rest).create(NewCall("our-id", variables={}))
    known, unknown = (body["assistantOverrides"] for _, _, body, _ in rest.requests)

    assert known["variableValues"] == {"callerNumber": "+15005550006"}
    assert "variableValues" not in unknown


async def test_what_is_known_of_the_caller_is_not_in_the_text_of_a_refusal() -> None:
    rest = Rest(400, b'{"message":"variableValues.callerNumber +15005550006 of gold marigold is bad"}')
    with pytest.raises(AssistantUnavailable) as refused:
        await dialer(rest).create(NewCall("our-id", variables={"callerNumber": "+15005550006", "plan": "gold"}))

    assert "variableValues.callerNumber *** of *** marigold is bad" in str(refused.value)


@dataclass
class Stored(Rest):
    """Knows no other assistant than the configured one."""

    refusal: int = 404

    def _answer(self, method: str, url: str, body: Any, headers: Any) -> tuple[int, bytes]:
        answer = super()._answer(method, url, body, headers)
        return answer if body["assistantId"] == "assistant-1" else (self.refusal, b"{}")


async def test_the_assistant_that_had_the_conversation_gets_it_again_with_the_overrides_as_before() -> None:
    rest = Rest()
    created = await dialer(rest).create(NewCall("our-id", greet=False, replaces="call-0", handed_to="assistant-2"))
    await dialer(rest).create(NewCall("our-id", greet=False, replaces="call-0"))
    handed, configured = (body for _, _, body, _ in rest.requests)

    assert handed == configured | {"assistantId": "assistant-2"}
    assert not created.hand_off_refused


@pytest.mark.parametrize("refusal", [400, 403, 404])
async def test_one_that_vapi_does_not_know_makes_way_for_the_configured_one(refusal: int) -> None:
    rest = Stored(refusal=refusal)
    with capture_logs() as logged:
        created = await dialer(rest).create(NewCall("our-id", handed_to="assistant-2"))

    assert (created.call_id, created.hand_off_refused) == ("call-1", True)
    assert [body["assistantId"] for _, _, body, _ in rest.requests] == ["assistant-2", "assistant-1"]
    assert [(line["event"], line["assistant"], line["status"]) for line in logged] == [
        ("assistant.hand_off_lost", "assistant-2", refusal)
    ]


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_failure_that_is_not_the_assistants_is_no_reason_to_ask_for_another(status: int) -> None:
    rest = Stored(refusal=status)
    with pytest.raises(AssistantUnavailable):
        await dialer(rest).create(NewCall("our-id", handed_to="assistant-2"))

    assert len(rest.requests) == 1


async def test_webhooks_are_asked_for_with_the_newest_secret_only_where_they_are_configured() -> None:
    rest, plain = Rest(), Rest()
    secrets = Secrets(vapi_api_keys={"main": "private-key"}, vapi_webhook_secrets=("old", "new"))
    await dialer(rest, secrets=secrets, webhooks=WebhookRules()).create(NewCall("our-id"))
    await dialer(plain).create(NewCall("our-id"))
    overrides, usual = (it.requests[0][2]["assistantOverrides"] for it in (rest, plain))

    assert overrides["server"]["url"] == "https://relay.example.com/vapi/events"
    assert overrides["server"]["headers"] == {"x-vapi-secret": "new"}
    assert overrides["serverMessages"] == list(SERVER_MESSAGES)
    assert not {"server", "serverMessages"} & set(usual)


async def test_webhooks_of_one_process_of_several_come_to_its_own_address() -> None:
    rest, secrets = Rest(), Secrets(vapi_api_keys={"main": "private-key"}, vapi_webhook_secrets=("new",))
    server = ServerConfig(instance="2")
    await dialer(rest, secrets=secrets, webhooks=WebhookRules(), server=server).create(NewCall("our-id"))

    overrides = rest.requests[0][2]["assistantOverrides"]
    assert overrides["server"]["url"] == "https://relay.example.com/vapi/events/2"


async def test_a_protected_first_message_is_asked_for_there_too() -> None:
    rest = Rest()
    await dialer(rest, barge_in=BargeInConfig(protect_first_message=True)).create(NewCall("our-id"))

    assert rest.requests[0][2]["assistantOverrides"]["firstMessageInterruptionsEnabled"] is False


def test_the_format_is_that_of_the_assistant() -> None:
    assert dialer(Rest()).format == WIDEBAND


@pytest.mark.parametrize(
    ("status", "code", "retriable"),
    [
        (400, "VAPI_BAD_REQUEST", False),
        (401, "VAPI_UNAUTHORIZED", False),
        (402, "VAPI_PAYMENT_REQUIRED", False),
        (403, "VAPI_FORBIDDEN", False),
        (404, "VAPI_NOT_FOUND", False),
        (429, "VAPI_RATE_LIMITED", True),
        (500, "VAPI_SERVER_ERROR", True),
        (503, "VAPI_SERVER_ERROR", True),
        (302, "VAPI_UNEXPECTED_STATUS", False),
    ],
)
async def test_each_refusal_has_its_code(status: int, code: str, *, retriable: bool) -> None:
    with pytest.raises(AssistantUnavailable) as refused:
        await dialer(Rest(status, b"{}")).create(NewCall("our-id"))

    assert (refused.value.code, refused.value.retriable) == (code, retriable)
    assert "private-key" not in str(refused.value)


@pytest.mark.parametrize("failure", [LegLost("TIMEOUT vapi.test"), RemoteProtocolError("long", "RESPONSE_TOO_LARGE")])
async def test_no_answer_is_a_failure_that_may_pass(failure: Exception) -> None:
    with pytest.raises(AssistantUnavailable) as refused:
        await dialer(Rest(failure=failure)).create(NewCall("our-id"))

    assert (refused.value.code, refused.value.retriable) == ("VAPI_UNREACHABLE", True)


CONTROL = "https://control.vapi.test/call-1/control"


@dataclass
class Live(Rest):
    """Knows the call as `GET /call/{id}` shows it; `status` is the answer of its control URL."""

    shown: dict[str, Any] = field(default_factory=dict)
    get_status: int = 200

    async def get(self, url: str, headers: Any = None) -> tuple[int, bytes]:
        self._answer("GET", url, None, headers)
        return self.get_status, json.dumps(self.shown).encode()


RUNS = {"status": "in-progress", "monitor": {"controlUrl": CONTROL}}
OVER = {"status": "ended", "monitor": {"controlUrl": CONTROL}}


class Moved(Live):
    """The machine that had the call is gone, and its control URL with it."""

    async def post_json(self, url: str, body: Any, headers: Any = None, **how: Any) -> tuple[int, bytes]:
        if url == CONTROL:
            raise LegLost("CONNECT_FAILED control.vapi.test")
        return await super().post_json(url, body, headers, **how)


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        (OVER, []),
        (
            {"status": "in-progress", "monitor": {"controlUrl": "https://other.vapi.test/x"}},
            ["https://other.vapi.test/x"],
        ),
    ],
)
async def test_where_the_control_url_does_not_answer_the_call_itself_is_looked_up(shown: Any, told: list[str]) -> None:
    rest = Moved(200, shown=shown)
    await dialer(rest).hang_up("call-1", CONTROL)

    assert [url for method, url, *_ in rest.requests if method == "POST"] == told


async def test_a_call_is_hung_up_at_its_control_url_without_the_key() -> None:
    rest = Rest(200, b"{}")
    await dialer(rest).hang_up("call-1", CONTROL)

    assert rest.requests == [("POST", CONTROL, {"type": "end-call"}, None)]


async def test_a_control_url_that_is_not_known_is_asked_for() -> None:
    rest = Live(200, shown=RUNS)
    await dialer(rest).hang_up("call-1", None)

    asked, told = rest.requests
    assert asked == ("GET", "https://vapi.test/call/call-1", None, {"Authorization": "Bearer private-key"})
    assert told[:2] == ("POST", CONTROL)


@pytest.mark.parametrize(
    ("control_url", "methods"), [(None, ["GET"]), (CONTROL, ["POST", "GET"])], ids=["looked up", "not active there"]
)
async def test_a_call_that_is_over_is_left_alone(control_url: str | None, methods: list[str]) -> None:
    rest = Live(404, shown=OVER)
    await dialer(rest).hang_up("call-1", control_url)

    assert [method for method, *_ in rest.requests] == methods


@pytest.mark.parametrize(
    ("rest", "control_url"),
    [
        (Live(failure=LegLost("TIMEOUT vapi.test")), CONTROL),
        (Live(failure=RemoteProtocolError("long", "RESPONSE_TOO_LARGE")), CONTROL),
        (Live(500, shown=RUNS), CONTROL),
        (Live(500, get_status=404), CONTROL),
        (Live(failure=LegLost("TIMEOUT vapi.test")), None),
        (Live(get_status=404), None),
        (Live(200, shown={"status": "queued"}), None),
    ],
    ids=["no answer", "too long", "500", "500 and 404", "no call", "404", "no control URL"],
)
async def test_a_call_that_is_not_known_to_be_over_is_an_error_that_names_no_address(
    rest: Rest, control_url: str | None
) -> None:
    with pytest.raises(RelayError) as failed:
        await dialer(rest).hang_up("call-1", control_url)

    assert "control.vapi.test/" not in str(failed.value)


async def test_the_answer_to_a_new_call_has_no_limit_and_comes_over_the_connection_that_is_asked_for() -> None:
    rest, heard = Rest(), []
    await dialer(rest).create(NewCall("our-id"), fresh=True, answering=lambda: heard.append("head"))
    rest.how.pop("answering")()

    assert rest.how == {"fresh": True, "answer_timeout_s": math.inf}
    assert heard == ["head"]
