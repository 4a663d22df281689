"""When Twilio asks again, and when it gives up (Twilio docs, "Webhooks connection overrides", the defaults)."""

from collections.abc import Sequence

import httpx
import pytest
import trio
from trio.testing import MockClock

from relay.standin.phone.webhooks import Site, WebhookFailed, Webhooks

Answer = int | type[httpx.HTTPError]


async def ask(answers: Sequence[Answer], *, each_s: float = 0.0) -> tuple[str, int]:
    """The body or the error, and how often was asked."""
    asked = 0

    async def handle(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        await trio.sleep(each_s)
        answer = answers[asked - 1]
        if isinstance(answer, int):
            return httpx.Response(answer, text="<Response/>")
        raise answer("in the test", request=request)  # type: ignore[call-arg]

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        webhooks = Webhooks(Site("http://127.0.0.1:1", "https://relay.example.com"), None, client)
        try:
            return await webhooks.post("/twilio/resume", {}), asked
        except WebhookFailed as failed:
            return str(failed), asked


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout])
async def test_a_connection_that_cannot_be_made_is_tried_twice(error: type[httpx.HTTPError]) -> None:
    assert await ask([error, 200]) == ("<Response/>", 2)
    assert await ask([error, error]) == (f"/twilio/resume: {error.__name__} in the test", 2)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (httpx.ReadError, "ReadError in the test"),
        (httpx.RemoteProtocolError, "RemoteProtocolError in the test"),
        (httpx.ReadTimeout, "ReadTimeout in the test"),
        (503, "503"),
    ],
)
async def test_what_was_sent_is_not_sent_again(answer: Answer, told: str) -> None:
    assert await ask([answer]) == (f"/twilio/resume: {told}", 1)


async def test_both_attempts_together_have_fifteen_seconds(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    failed, asked = await ask([httpx.ConnectTimeout, 200], each_s=10)

    assert (asked, trio.current_time() - began) == (2, 15)
    assert "ConnectTimeout" in failed
