"""One HTTP request without a framework: what is read of its body, how long that may take, and the one answer."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from relay.errors import LegLost, RemoteProtocolError, RequestRefused
from relay.net.asgi_request import BODY_TIMEOUT_S, PROMPT_S, UNREAD_MAX_BYTES, UNREAD_TIMEOUT_S, AsgiRequest, Slow

GONE = {"type": "http.disconnect"}


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


class Tap:
    """The two ends of a request, driven by hand. After the given events the client says nothing more."""

    def __init__(self, *events: dict[str, Any], slow: Slow = nullcontext, **scope: Any) -> None:
        self.events = list(events)
        self.sent: list[dict[str, Any]] = []
        self.news = trio.Event()
        usual = {"method": "POST", "path": "/a", "client": ("203.0.113.5", 4), "query_string": b"", "headers": []}
        self.request = AsgiRequest({**usual, **scope}, self.receive, self.send, slow)

    async def receive(self) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        if not self.events:
            await self.news.wait()
        return self.events.pop(0)

    async def send(self, event: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(event)

    async def arrives(self, after_s: float, event: dict[str, Any]) -> None:
        """One more event, while something waits for it."""
        await trio.sleep(after_s)
        self.events.append(event)
        self.news.set()

    @property
    def head(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}


async def code_of(read: Callable[[], Awaitable[object]]) -> str:
    with pytest.raises(RemoteProtocolError) as refused:
        await read()
    return refused.value.code


def test_headers_are_found_in_any_case_and_joined() -> None:
    headers = [(b"x-forwarded-for", b"a"), (b"X-Forwarded-For", b"b"), (b"host", b"\xfc")]
    request = Tap(headers=headers).request

    assert request.header("X-forwarded-FOR") == "a, b"
    assert request.header("host") == "ü"
    assert request.header("origin") is None


@pytest.mark.parametrize(
    ("query", "value"),
    [(b"a=1&b=2&b=3", "2"), (b"b=", ""), (b"a=1", None), (b"", None), (b"b=%C3%BC", "ü"), (b"b=1&" * 30, None)],
)
def test_the_first_value_of_a_name_in_the_query_counts(query: bytes, value: str | None) -> None:
    assert Tap(query_string=query).request.query("b") == value


@pytest.mark.parametrize(
    ("header", "length"), [("12", 12), (None, None), ("", None), ("-1", None), ("1, 1", None), ("²", None)]
)
def test_only_a_plain_number_is_a_length(header: str | None, length: int | None) -> None:
    headers = [] if header is None else [(b"Content-Length", header.encode("latin-1"))]

    assert Tap(headers=headers).request.content_length == length


async def test_a_body_is_read_whole_up_to_the_limit() -> None:
    assert await Tap(part(b"ab"), part(b"c", more=False)).request.read(3) == b"abc"
    assert await Tap({"type": "http.request"}).request.read(3) == b""
    assert await Tap(part(b"ab"), part(b"c", more=False)).request.count(3) == 3


async def test_a_body_that_is_too_long_is_refused_as_soon_as_that_is_known() -> None:
    unannounced = Tap(part(b"ab"), part(b"cd"), part(b"ef"))
    announced = Tap(part(b"ab"), headers=[(b"content-length", b"4")])

    assert await code_of(lambda: unannounced.request.read(3)) == "BODY_TOO_LARGE"
    assert await code_of(lambda: announced.request.count(3)) == "BODY_TOO_LARGE"
    assert (len(unannounced.events), len(announced.events)) == (1, 1)


async def test_a_body_has_only_so_much_time(autojump_clock: MockClock) -> None:
    began_at = trio.current_time()

    assert await code_of(lambda: Tap(part(b"ab")).request.read(3)) == "BODY_TIMEOUT"
    assert trio.current_time() - began_at == pytest.approx(BODY_TIMEOUT_S)


class Places:
    """Gives a place to each slow body, or to none, and knows who asked."""

    def __init__(self, *, free: bool) -> None:
        self.free = free
        self.asked_at: list[float] = []
        self.held = 0

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        self.asked_at.append(trio.current_time())
        if not self.free:
            raise RequestRefused(503, "BUSY", "too many")
        self.held += 1
        yield
        self.held -= 1


async def test_a_body_that_is_not_there_within_half_a_second_takes_a_place_until_it_is(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    places, began_at = Places(free=True), trio.current_time()
    prompt = Tap(part(b"ab"), part(b"c", more=False), slow=places.hold)
    assert (await prompt.request.read(3), places.asked_at) == (b"abc", [])

    slow = Tap(part(b"ab"), slow=places.hold)
    nursery.start_soon(slow.arrives, 3, part(b"c", more=False))
    with trio.fail_after(4):
        assert await slow.request.read(3) == b"abc"
    assert places.asked_at == [pytest.approx(began_at + PROMPT_S)]
    assert places.held == 0


async def test_a_slow_body_without_a_place_is_given_up_and_its_connection_too(autojump_clock: MockClock) -> None:
    places, began_at = Places(free=False), trio.current_time()
    tap = Tap(part(b"ab"), slow=places.hold)
    with pytest.raises(RequestRefused):
        await tap.request.read(3)
    await tap.request.answer(503, b"{}")

    assert trio.current_time() - began_at == pytest.approx(PROMPT_S)
    assert tap.head["connection"] == "close"


async def test_what_nobody_wants_of_a_slow_body_needs_a_place_too(autojump_clock: MockClock) -> None:
    places, began_at = Places(free=False), trio.current_time()
    tap = Tap(part(b"ab"), slow=places.hold)
    await tap.request.answer(401, b"{}")

    assert trio.current_time() - began_at == pytest.approx(PROMPT_S)
    assert (len(places.asked_at), tap.head["connection"]) == (1, "close")


async def test_a_client_that_goes_away_in_the_middle_is_lost() -> None:
    with pytest.raises(LegLost):
        await Tap(part(b"ab"), GONE).request.read(3)


async def test_an_answer_has_its_length_and_is_not_to_be_stored() -> None:
    tap = Tap(part(b"", more=False))
    await tap.request.answer(201, b"{}", headers={"Retry-After": "1"})

    assert [event["type"] for event in tap.sent] == ["http.response.start", "http.response.body"]
    assert (tap.sent[0]["status"], tap.sent[1]["body"], tap.sent[1]["more_body"]) == (201, b"{}", False)
    assert tap.head == {
        "content-type": "application/json",
        "cache-control": "no-store",
        "content-length": "2",
        "retry-after": "1",
    }


async def test_a_head_is_answered_without_the_body_and_a_304_without_a_length() -> None:
    head, unchanged = Tap(part(b"", more=False), method="HEAD"), Tap(part(b"", more=False))
    await head.request.answer(200, b"four")
    await unchanged.request.answer(304, b"")

    assert (head.sent[1]["body"], head.head["content-length"]) == (b"", "4")
    assert "content-length" not in unchanged.head


async def test_what_nobody_wants_of_a_body_is_read_before_the_answer() -> None:
    tap = Tap(part(b"ab"), part(b"cd", more=False))
    await tap.request.answer(413, b"{}")

    assert tap.events == []
    assert "connection" not in tap.head


async def test_a_body_that_goes_on_for_too_much_or_too_long_ends_the_connection(autojump_clock: MockClock) -> None:
    endless = Tap(*[part(bytes(UNREAD_MAX_BYTES // 4))] * 8)
    await endless.request.answer(413, b"{}")
    assert (endless.head["connection"], len(endless.events)) == ("close", 3)

    stalled, began_at = Tap(part(b"ab")), trio.current_time()
    await stalled.request.answer(413, b"{}")
    assert stalled.head["connection"] == "close"
    assert trio.current_time() - began_at == pytest.approx(UNREAD_TIMEOUT_S)


async def test_a_body_that_was_too_slow_is_not_waited_for_again(autojump_clock: MockClock) -> None:
    tap = Tap(part(b"ab"))
    assert await code_of(lambda: tap.request.read(3)) == "BODY_TIMEOUT"
    began_at = trio.current_time()
    await tap.request.answer(408, b"{}")

    assert (trio.current_time(), tap.head["connection"]) == (began_at, "close")


async def test_a_client_that_is_gone_is_answered_without_an_error() -> None:
    tap = Tap(GONE)
    await tap.request.answer(200, b"{}")

    assert tap.sent[-1]["body"] == b"{}"


async def test_an_answer_that_has_begun_is_sent_whole_though_it_is_cancelled() -> None:
    """Half an answer would leave the connection useless for the next request."""
    tap = Tap(part(b"", more=False))
    assert await tap.request.read(3) == b""
    with trio.CancelScope() as scope:
        scope.cancel()
        await tap.request.answer(200, b"{}")

    assert len(tap.sent) == 2


async def test_a_stream_of_parts_has_no_length_and_is_not_collected_by_proxies() -> None:
    tap = Tap(method="GET")
    await tap.request.begin("text/event-stream")
    await tap.request.send_part(b"one")
    await tap.request.send_part(b"", last=True)

    assert tap.head == {
        "content-type": "text/event-stream",
        "cache-control": "no-store",
        "x-accel-buffering": "no",
    }
    assert [(event["body"], event["more_body"]) for event in tap.sent[1:]] == [(b"one", True), (b"", False)]


async def test_a_client_that_goes_away_within_its_body_is_gone_and_no_error() -> None:
    with trio.fail_after(1):
        await Tap(part(b"a"), GONE).request.wait_gone()


async def test_the_end_of_the_client_is_noticed_behind_its_body(autojump_clock: MockClock) -> None:
    gone = Tap(part(b"", more=False), {"type": "http.request"}, GONE)
    await gone.request.wait_gone()
    assert gone.events == []

    with trio.move_on_after(60) as limit:
        await Tap(part(b"", more=False)).request.wait_gone()
    assert limit.cancelled_caught


async def test_what_is_done_for_a_client_ends_when_it_is_gone(autojump_clock: MockClock) -> None:
    tap = Tap(part(b"", more=False), GONE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tap.request.cancel_when_gone, nursery.cancel_scope)
        await trio.sleep(60)

    assert nursery.cancel_scope.cancelled_caught
    assert trio.current_time() < 1
