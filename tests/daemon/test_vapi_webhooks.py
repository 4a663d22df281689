"""POST /vapi/events: who is let in, what is answered, what is known again, and what nobody ever sees."""

import json
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from structlog.testing import capture_logs

from relay.config import EventsConfig, LimitsConfig, StateConfig
from relay.daemon import vapi_webhooks
from relay.net.asgi_request import PROMPT_S
from relay.standin.assistant.credentials import BearerCredential, Credential, HmacCredential
from relay.standin.http import Response
from relay.wire.webhook_auth import WebhookRules
from tests.support.frontrig import PUBLIC, SID, FrontRig, front_config, open_front
from tests.support.receivers import EVENTS_SECRET, open_receiver, taken

URL = "/vapi/events"
OLD, NEW = "old-secret-of-the-test", "new-secret-of-the-test"
BY_SECRET = {"x-vapi-secret": NEW}
TOOLS = [{"id": "t1", "type": "function", "function": {"name": "book", "arguments": {"table": 4}}}]


@asynccontextmanager
async def rig(
    forward_url: str = "", rules: WebhookRules | None = None, timeout_s: float = 5.0
) -> AsyncIterator[FrontRig]:
    config = front_config(
        {"vapi_webhook_secrets": (OLD, NEW), "events_secret": EVENTS_SECRET},
        webhooks=rules or WebhookRules(),
        events=EventsConfig(forward_url=forward_url, timeout_s=timeout_s),
        state=StateConfig(url="memory:"),
    )
    async with open_front(config) as front:
        yield front


def body(kind: str = "hang", call: str = "v1", /, **fields: Any) -> bytes:
    message = {"type": kind, "timestamp": 1000, "call": {"id": call}, **fields}
    return json.dumps({"message": message}).encode()


async def post(front: FrontRig, content: bytes, headers: Mapping[str, str] = BY_SECRET) -> httpx.Response:
    return await front.http.post(URL, content=content, headers={"Content-Type": "application/json", **headers})


async def test_there_is_no_such_address_unless_webhooks_are_asked_for() -> None:
    async with open_front() as front:
        answer = await post(front, body())

        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


async def test_a_webhook_is_answered_and_counted() -> None:
    async with rig() as front:
        answer = await post(front, body("status-update", status="ended"))

        assert (answer.status_code, answer.json()) == (200, {})
        assert front.metric("relay_webhook_events_total", type="status-update") == 1


@pytest.mark.parametrize(
    ("rules", "credential"),
    [
        (WebhookRules(auth="bearer", header="authorization"), BearerCredential(OLD)),
        (WebhookRules(auth="bearer", header="authorization"), BearerCredential(NEW)),
        (WebhookRules(auth="hmac", header="x-signature"), HmacCredential(NEW)),
        (
            WebhookRules(auth="hmac", header="x-signature", payload="{url}|{timestamp}|{body}"),
            HmacCredential(NEW, payload="{url}|{timestamp}|{body}"),
        ),
    ],
)
async def test_each_way_in_lets_in_what_is_signed_and_nothing_else(rules: WebhookRules, credential: Credential) -> None:
    async with rig(rules=rules) as front:
        signed = credential.headers("POST", PUBLIC + URL, body(), time.time())
        good, none = await post(front, body(), signed), await post(front, body(), {})
        wrong = await post(front, body(), {**signed, rules.header: "Bearer x"})

        assert good.status_code == 200
        assert [(it.status_code, it.json()["code"]) for it in (none, wrong)] == [(401, "WEBHOOK_UNAUTHORIZED")] * 2
        assert front.metric("relay_auth_rejected_total", endpoint=URL) == 2


async def test_who_is_not_let_in_has_no_body_read() -> None:
    async with rig() as front:
        stream = await trio.open_tcp_stream("127.0.0.1", front.port)
        async with stream:
            head = b"POST /vapi/events HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
            await stream.send_all(head)
            with trio.fail_after(5):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "NOT_JSON"),
        (b"[]", 400, "NOT_OBJECT"),
        (b'{"message": {}}', 400, "FIELD_MISSING"),
        (b" " * (4 * 2**20 + 1), 413, "BODY_TOO_LARGE"),
    ],
)
async def test_a_body_that_is_no_message_is_refused_and_said(content: bytes, status: int, code: str) -> None:
    async with rig() as front:
        with capture_logs() as logs:
            answer = await post(front, content)

        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert [line["code"] for line in logs if line["event"] == "webhook.rejected"] == [code]


async def test_tool_calls_that_are_left_out_are_said() -> None:
    async with rig() as front:
        with capture_logs() as logs:
            for number in range(2):
                await post(front, body("tool-calls", toolCallList=[{"id": f"t{number}", "name": "f"}] * (100 + number)))

        assert [line["left_out"] for line in logs if line["event"] == "webhook.cut"] == [1]


async def test_a_body_of_four_mebibytes_is_taken() -> None:
    async with rig() as front:
        answer = await post(front, body("end-of-call-report", transcript="x" * (4 * 2**20 - 200)))

        assert answer.status_code == 200


async def test_a_burst_of_small_webhooks_is_taken_whole() -> None:
    codes: list[int] = []

    async def send(front: FrontRig, number: int) -> None:
        codes.append((await post(front, body(timestamp=number))).status_code)

    async with rig() as front:
        await post(front, body())
        async with trio.open_nursery() as nursery:
            for number in range(80):
                nursery.start_soon(send, front, number)

    assert codes == [200] * 80


async def test_only_so_much_is_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vapi_webhooks, "HELD_MAX_BYTES", 0)
    async with rig() as front:
        answer = await post(front, body())

        assert (answer.status_code, answer.json()["code"]) == (503, "BUSY")


async def test_an_event_is_forwarded_once_however_often_it_comes() -> None:
    async with open_receiver() as receiver, rig(receiver.url) as front:
        for _ in range(3):
            assert (await post(front, body("status-update", status="ended"))).status_code == 200
        await post(front, body("hang"))
        first, second = await receiver.wait(2)

        assert (first["event"]["type"], second["event"]["type"]) == ("status-update", "hang")
        assert first["call_id"] is None
        assert front.metric("relay_webhook_events_total", type="status-update") == 3


async def test_an_event_of_a_live_call_is_told_in_the_call_and_passed_on_with_its_ids() -> None:
    async with open_receiver() as receiver, rig(receiver.url) as front:
        await front.token()
        with trio.fail_after(10):
            await front.inner.connected.wait()
        call = front.calls.find(SID)
        assert call is not None
        assistant_call_id = call.summary()["assistant_call_id"]
        told: list[Any] = []
        with call.report.listeners.listening(told.append):
            await post(front, body("status-update", str(assistant_call_id), status="in-progress"))
        (passed_on,) = await receiver.wait(1)

        assert [event.log_name for event in told] == ["webhook.accepted"]
        assert (passed_on["call_id"], passed_on["call_sid"]) == (call.id, SID)


async def test_an_event_is_joined_to_its_call_after_that_has_ended() -> None:
    async with open_receiver() as receiver, rig(receiver.url) as front:
        await front.token()
        with trio.fail_after(10):
            await front.inner.connected.wait()
        call = front.calls.find(SID)
        assert call is not None
        assistant_call_id = str(call.summary()["assistant_call_id"])
        await front.http.delete(f"/calls/{call.id}", headers={"Authorization": "Bearer admin-token-of-the-test"})
        await front.until_over()
        with capture_logs() as logs:
            await post(front, body("end-of-call-report", assistant_call_id, endedReason="customer-ended-call"))
            (passed_on,) = await receiver.wait(1)

        (line,) = [it for it in logs if it["event"] == "webhook.accepted"]
        assert (line["call_id"], line["ended_reason"]) == (call.id, "customer-ended-call")
        assert (passed_on["call_id"], passed_on["call_sid"]) == (call.id, SID)


async def test_a_tool_call_is_answered_by_the_operator_once() -> None:
    def answer(asked: dict[str, Any]) -> Response:
        (tool,) = asked["event"]["toolCallList"]
        result = {"toolCallId": tool["id"], "result": {"booked": tool["function"]["arguments"]["table"]}}
        return Response(200, json.dumps({"results": [result]}).encode())

    async with open_receiver(answer) as receiver, rig(receiver.url) as front:
        answers = [await post(front, body("tool-calls", toolCallList=TOOLS, timestamp=at)) for at in (1, 2)]

        expected = {"results": [{"toolCallId": "t1", "name": "book", "result": '{"booked":4}'}]}
        assert [it.json() for it in answers] == [expected] * 2
        assert len(receiver.bodies) == 1


@pytest.mark.parametrize("trouble", ["nobody", "status", "body", "slow"])
async def test_a_question_without_an_answer_is_refused_in_the_documented_form(trouble: str) -> None:
    answers = {"status": Response(500, b"{}"), "body": Response(200, b"[]")}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with open_receiver(lambda _: answers[trouble]) as receiver:
            urls = {"nobody": "", "slow": f"http://127.0.0.1:{silent.getsockname()[1]}/"}
            async with rig(urls.get(trouble, receiver.url), timeout_s=0.3) as front:
                tools = await post(front, body("tool-calls", toolCallList=TOOLS))
                transfer = await post(front, body("transfer-destination-request"))

    (result,) = tools.json()["results"]
    assert {name: result[name] for name in ("toolCallId", "name")} == {"toolCallId": "t1", "name": "book"}
    assert (set(result), set(transfer.json())) == ({"toolCallId", "name", "error"}, {"error"})
    assert (tools.status_code, transfer.status_code) == (200, 200)


async def test_webhooks_of_a_known_address_have_an_allowance_of_their_own() -> None:
    async with open_receiver(taken) as receiver, rig(receiver.url) as front:
        codes = {(await post(front, body(timestamp=number))).status_code for number in range(400)}

        assert codes == {200}
        assert front.metric("relay_limited_total", limit="requests") == 0


async def test_bodies_of_a_known_address_may_all_be_slow() -> None:
    """As they are when the event loop is late."""
    config = front_config(
        {"vapi_webhook_secrets": (NEW,)},
        webhooks=WebhookRules(),
        state=StateConfig(url="memory:"),
        limits=LimitsConfig(slow_bodies=0, slow_bodies_per_address=0),
    )

    async def slowly(front: FrontRig, number: int) -> bytes:
        content = body(timestamp=number)
        head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nX-Vapi-Secret: {NEW}\r\nContent-Length: {len(content)}\r\n\r\n"
        async with await trio.open_tcp_stream("127.0.0.1", front.port) as stream:
            await stream.send_all(head.encode())
            await trio.sleep(2 * PROMPT_S)
            await stream.send_all(content)
            return bytes(await stream.receive_some())

    async with open_front(config) as front:
        before = await slowly(front, 1)
        await post(front, body())
        after = await slowly(front, 2)

    assert (before[:12], after[:12]) == (b"HTTP/1.1 429", b"HTTP/1.1 200")


async def test_health_and_metrics_say_how_many_were_ever_accepted() -> None:
    async with open_front() as plain, rig() as front:
        shown = [(await it.http.get("/health")).json()["webhooks"] for it in (plain, front)]
        missing = [it.metric("relay_webhooks_missing") for it in (plain, front)]
        await post(front, body())
        await post(front, body())

        assert (missing, front.metric("relay_webhooks_missing")) == ([0, 1], 0)
        assert shown == [None, {"accepted": 0, "waiting": 0}]
        assert (await front.http.get("/health")).json()["webhooks"] == {"accepted": 1, "waiting": 0}
