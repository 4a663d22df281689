"""A call's webhooks are posted in order, stamped and signed, and what fails harms nothing."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from relay.standin.assistant.hooks import Hooks

URL = "https://events.example.com/hook"
Handler = Callable[[httpx.Request], httpx.Response]


def well(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200)


async def delivered(
    *kinds: str, handle: Handler = well, server: Mapping[str, Any] | None = None
) -> tuple[list[httpx.Request], Counter[str]]:
    """The requests for messages of these kinds, and what was counted. The queue is closed behind them."""
    requests: list[httpx.Request] = []
    counts: Counter[str] = Counter()

    def keep(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return handle(request)

    hooks = Hooks({"url": URL, **(server or {})}, "call-1", counts)
    for kind in kinds:
        hooks.put({"type": kind})
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

    assert message(request)["call"] == {"id": "call-1"}
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
