"""Webhooks are signed, and asked again, as Twilio does (Twilio docs, "Webhooks connection overrides", the defaults)."""

from collections.abc import Sequence

import httpx
import pytest
import trio
from trio.testing import MockClock

from relay.standin.phone.signature import sign
from relay.standin.phone.webhooks import RetryOn, Site, WebhookFailed, Webhooks

Answer = int | type[httpx.HTTPError]
SITE = Site("http://127.0.0.1:8080", "https://relay.example.com")


async def ask(
    answers: Sequence[Answer], *, each_s: float = 0.0, retry_on: frozenset[RetryOn] = frozenset()
) -> tuple[str, int]:
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
        webhooks = Webhooks(SITE, None, client, retry_on)
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


@pytest.mark.parametrize(
    ("answer", "retry_on"), [(404, "HTTP_4XX"), (503, "HTTP_5XX"), (httpx.ReadTimeout, "READ_TIMEOUT")]
)
async def test_by_a_retry_policy_what_was_sent_is_sent_once_more(answer: Answer, retry_on: RetryOn) -> None:
    assert await ask([answer, 200], retry_on=frozenset({retry_on})) == ("<Response/>", 2)
    failed, asked = await ask([answer, answer], retry_on=frozenset({retry_on}))
    assert (failed.startswith("/twilio/resume: "), asked) == (True, 2)


async def test_a_policy_for_one_kind_of_failure_is_none_for_another() -> None:
    assert await ask([503, 200], retry_on=frozenset({"HTTP_4XX", "READ_TIMEOUT"})) == ("/twilio/resume: 503", 1)


async def test_both_attempts_together_have_fifteen_seconds(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    failed, asked = await ask([httpx.ConnectTimeout, 200], each_s=10)

    assert (asked, trio.current_time() - began) == (2, 15)
    assert "ConnectTimeout" in failed


async def posted(token: str | None) -> httpx.Request:
    requests: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, text="<Response/>")

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        await Webhooks(SITE, token, client).post("/twilio/voice", {"CallSid": "CA1"})
    return requests[0]


async def test_a_form_goes_to_where_the_relay_is_and_is_signed_for_where_it_says_it_is() -> None:
    request = await posted("auth")

    assert str(request.url) == "http://127.0.0.1:8080/twilio/voice"
    assert request.content == b"CallSid=CA1"
    assert request.headers["host"] == "relay.example.com"
    signed = sign("auth", "https://relay.example.com/twilio/voice", {"CallSid": "CA1"})
    assert request.headers["x-twilio-signature"] == signed


async def test_without_a_token_nothing_is_signed() -> None:
    assert "x-twilio-signature" not in (await posted(None)).headers


@pytest.mark.parametrize(
    ("target", "absolute", "local"),
    [
        ("/twilio/voice", "https://relay.example.com/twilio/voice", "http://127.0.0.1:8080/twilio/voice"),
        ("status?a=b", "https://relay.example.com/status?a=b", "http://127.0.0.1:8080/status?a=b"),
        ("https://relay.example.com:443/x", "https://relay.example.com:443/x", "http://127.0.0.1:8080/x"),
        ("wss://relay.example.com/media", "wss://relay.example.com/media", "ws://127.0.0.1:8080/media"),
    ],
)
def test_an_address_in_twiml_is_found_where_the_relay_is(target: str, absolute: str, local: str) -> None:
    assert SITE.absolute(target) == absolute
    assert SITE.local(absolute) == local


@pytest.mark.parametrize("target", ["https://elsewhere.example.com/x", "https://relay.example.com:8443/x", "ftp:///x"])
def test_an_address_that_leads_elsewhere_is_not_followed(target: str) -> None:
    with pytest.raises(WebhookFailed, match=r"is not at https://relay\.example\.com"):
        SITE.absolute(target)
