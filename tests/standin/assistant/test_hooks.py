"""A call's webhooks are posted in order, stamped and signed, and what fails harms nothing."""

import hmac
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from relay.standin.assistant.credentials import BearerCredential, Credential, HmacCredential
from relay.standin.assistant.hooks import Hooks, Reply

URL = "https://events.example.com/hook"
Handler = Callable[[httpx.Request], httpx.Response]


def well(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200)


async def delivered(
    *kinds: str,
    handle: Handler = well,
    server: Mapping[str, Any] | None = None,
    credential: Credential | None = None,
    reply: Callable[[Reply], None] | None = None,
) -> tuple[list[httpx.Request], Counter[str]]:
    """The requests for messages of these kinds, and what was counted. The queue is closed behind them."""
    requests: list[httpx.Request] = []
    counts: Counter[str] = Counter()

    def keep(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return handle(request)

    hooks = Hooks({"url": URL, **(server or {})}, "call-1", counts, credential)
    for kind in kinds:
        hooks.put({"type": kind}, reply)
    hooks.close()
    async with httpx.AsyncClient(transport=httpx.MockTransport(keep)) as client:
        await hooks.deliver(client)
    return requests, counts


def message(request: httpx.Request) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(request.content)["message"]
    return value


async def test_they_come_in_order_until_the_call_is_over() -> None:
    requests, counts = await delivered("status-update", "transcript", "end-of-call-report")

    assert [message(request)["type"] for request in requests] == ["status-update", "transcript", "end-of-call-report"]
    assert {(request.method, str(request.url)) for request in requests} == {("POST", URL)}
    assert counts == {"delivered": 3}


async def test_each_says_of_which_call_it_is_and_when_it_was_said() -> None:
    before_ms = time.time() * 1000
    (request,), _ = await delivered("hang")

    assert before_ms - 1 <= message(request)["timestamp"] <= time.time() * 1000
    assert request.headers["x-call-id"] == "call-1"
    assert "x-vapi-secret" not in request.headers


async def test_the_secret_and_the_headers_that_were_ordered_are_sent() -> None:
    (request,), _ = await delivered("hang", server={"secret": "s3cret", "headers": {"x-ours": "yes"}})

    assert request.headers["x-vapi-secret"] == "s3cret"
    assert request.headers["x-ours"] == "yes"


@pytest.mark.parametrize(("ordered", "seconds"), [({}, 20.0), ({"timeoutSeconds": 3}, 3.0)])
async def test_an_answer_is_waited_for_as_long_as_was_ordered(ordered: dict[str, Any], seconds: float) -> None:
    (request,), _ = await delivered("hang", server=ordered)

    assert set(request.extensions["timeout"].values()) == {seconds}


async def test_what_fails_is_counted_and_the_next_is_sent() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        match message(request)["type"]:
            case "refused":
                raise httpx.ConnectError("in the test", request=request)
            case "late":
                raise httpx.ReadTimeout("in the test", request=request)
            case "error":
                return httpx.Response(500)
        return httpx.Response(201)

    requests, counts = await delivered("refused", "late", "error", "good", handle=handle)

    assert len(requests) == 4
    assert counts == {"failed": 3, "delivered": 1}


async def test_an_address_that_is_none_is_a_failure_like_any_other() -> None:
    requests, counts = await delivered("hang", "hang", server={"url": "http://127.0.0.1:port"})

    assert (requests, counts) == ([], {"failed": 2})


async def test_what_does_not_fit_into_the_queue_is_counted_and_forgotten() -> None:
    requests, counts = await delivered(*["transcript"] * 300)

    assert len(requests) == 256
    assert counts == {"delivered": 256, "dropped": 44}


@pytest.mark.parametrize(
    ("plan", "seconds"),
    [
        ({"type": "fixed", "maxRetries": 3, "baseDelaySeconds": 2}, [0, 2, 4, 6]),
        ({"type": "exponential", "maxRetries": 3, "baseDelaySeconds": 1}, [0, 1, 3, 7]),
        ({"type": "fixed", "maxRetries": 0, "baseDelaySeconds": 2}, [0]),
        ({"type": "fixed", "maxRetries": 3, "baseDelaySeconds": 2, "excludedStatusCodes": [500]}, [0]),
        (None, [0]),
    ],
)
async def test_what_fails_is_sent_again_by_the_plan(
    plan: dict[str, Any] | None, seconds: list[float], autojump_clock: MockClock
) -> None:
    times: list[float] = []

    def handle(_: httpx.Request) -> httpx.Response:
        times.append(trio.current_time())
        return httpx.Response(500)

    requests, counts = await delivered("hang", handle=handle, server={"backoffPlan": plan})

    assert [at_s - times[0] for at_s in times] == pytest.approx(seconds)
    assert len({request.content for request in requests}) == 1
    assert (counts["failed"], counts["retried"]) == (1, len(seconds) - 1)


async def test_a_retry_that_succeeds_is_the_last(autojump_clock: MockClock) -> None:
    answers = iter([httpx.Response(503), httpx.Response(204), httpx.Response(200)])
    plan = {"type": "fixed", "maxRetries": 10, "baseDelaySeconds": 1}
    requests, counts = await delivered("first", "second", handle=lambda _: next(answers), server={"backoffPlan": plan})

    assert [message(request)["type"] for request in requests] == ["first", "first", "second"]
    assert counts == {"delivered": 2, "retried": 1}


async def test_a_webhook_that_does_not_answer_is_sent_again_too(autojump_clock: MockClock) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("in the test", request=request)

    plan = {"type": "fixed", "maxRetries": 2, "baseDelaySeconds": 1}
    requests, counts = await delivered("hang", handle=handle, server={"backoffPlan": plan})

    assert (len(requests), counts) == (3, {"failed": 1, "retried": 2})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx.Response(200, json={"results": []}), {"results": []}),
        (httpx.Response(201, json={"results": []}), None),
        (httpx.Response(500, json={"results": []}), None),
        (httpx.Response(200), None),
        (httpx.Response(200, text="fine"), None),
        (httpx.Response(200, json=[1]), None),
    ],
)
async def test_only_an_object_with_status_200_is_an_answer(answer: httpx.Response, expected: Reply) -> None:
    replies: list[Reply] = []
    await delivered("tool-calls", handle=lambda _: answer, reply=replies.append)

    assert replies == [expected]


async def test_a_request_that_does_not_fit_into_the_queue_has_no_answer() -> None:
    replies: list[Reply] = []
    await delivered(*["tool-calls"] * 257, reply=replies.append)

    assert replies == [None] * 257


async def test_a_bearer_credential_is_sent_in_its_header() -> None:
    (plain,), _ = await delivered("hang", credential=BearerCredential("t0ken"))
    (bare,), _ = await delivered("hang", credential=BearerCredential("t0ken", "X-Vapi-Secret", prefixed=False))

    assert plain.headers["authorization"] == "Bearer t0ken"
    assert bare.headers["x-vapi-secret"] == "t0ken"


async def test_a_header_of_the_order_overrides_that_of_the_credential() -> None:
    (request,), _ = await delivered(
        "hang", server={"headers": {"authorization": "Basic ours"}}, credential=BearerCredential("t0ken")
    )

    assert request.headers.get_list("authorization") == ["Basic ours"]


async def test_an_hmac_credential_signs_the_body_that_is_sent() -> None:
    (request,), _ = await delivered("hang", credential=HmacCredential("key"))
    stamp = request.headers["x-timestamp"]
    signed = f"{stamp}.".encode() + request.content

    assert request.headers["x-signature"] == hmac.new(b"key", signed, "sha256").hexdigest()
    assert abs(int(stamp) / 1000 - time.time()) < 60
