"""Poster against real sockets: one address, connections that stay open, and nothing but the status."""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import h11
import pytest
import trio

from relay.errors import LegLost
from relay.net import poster as poster_module
from relay.net.poster import ANSWER_MAX_BYTES, Poster

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
HEADERS = {"Content-Type": "application/json", "X-Relay-Delivery": "d1"}


@dataclass
class Peer:
    """Notes each request, and sends what `answer` gives for it; an answer that is None closes the connection."""

    answer: Callable[[int], bytes | None] = lambda _: OK
    port: int = 0
    connections: int = 0
    requests: list[tuple[h11.Request, bytes]] = field(default_factory=list)
    streams: list[trio.SocketStream] = field(default_factory=list)
    closed: trio.Event = field(default_factory=trio.Event)
    """A connection was, by the other side."""

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.streams.append(stream)
        async with stream:
            while (request := await self._request(stream)) is not None:
                self.requests.append(request)
                answer = self.answer(len(self.requests))
                if answer is None:
                    return
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(answer)
            self.closed.set()

    async def _request(self, stream: trio.SocketStream) -> tuple[h11.Request, bytes] | None:
        http, head, body = h11.Connection(h11.SERVER), None, b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                try:
                    http.receive_data(await stream.receive_some())
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return None
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return head, body
            else:
                return None


@asynccontextmanager
async def posting(peer: Peer, *, userinfo: str = "", timeout_s: float = 5.0) -> AsyncIterator[Poster]:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        peer.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, peer.serve, [listener])
        poster = Poster(f"http://{userinfo}127.0.0.1:{peer.port}/secret?a=b", timeout_s)
        nursery.start_soon(poster.run)
        yield poster
        nursery.cancel_scope.cancel()


async def test_bodies_go_to_the_address_over_one_connection() -> None:
    peer = Peer()
    async with posting(peer) as poster:
        statuses = [await poster.post(body, HEADERS) for body in (b"one", b"two")]

    assert statuses == [200, 200]
    assert peer.connections == 1
    (head, first), (_, second) = peer.requests
    assert (head.method, head.target, first, second) == (b"POST", b"/secret?a=b", b"one", b"two")
    sent = dict(head.headers)
    assert (sent[b"host"], sent[b"x-relay-delivery"]) == (f"127.0.0.1:{peer.port}".encode(), b"d1")


async def test_requests_at_a_time_have_a_connection_each() -> None:
    peer = Peer()
    async with posting(peer) as poster:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(poster.post, b"x", HEADERS)
        await poster.post(b"x", HEADERS)

    assert (len(peer.requests), peer.connections) == (6, 5)


@pytest.mark.parametrize("status", [204, 301, 404, 503])
async def test_any_status_is_returned(status: int) -> None:
    answer = f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n".encode()
    async with posting(Peer(lambda _: answer)) as poster:
        assert await poster.post(b"x", HEADERS) == status


async def test_what_comes_before_the_answer_is_passed_over() -> None:
    async with posting(Peer(lambda _: b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)) as poster:
        assert await poster.post(b"x", HEADERS) == 200


async def test_a_connection_that_was_closed_while_it_was_idle_costs_no_request() -> None:
    """Once the kernel knows of it, and once it is found out only by the request."""
    peer = Peer(lambda number: None if number == 3 else OK)
    async with posting(peer) as poster:
        await poster.post(b"one", HEADERS)
        await trio.aclose_forcefully(peer.streams[0])
        statuses = [await poster.post(body, HEADERS) for body in (b"two", b"three")]

    assert statuses == [200, 200]
    assert [body for _, body in peer.requests] == [b"one", b"two", b"three", b"three"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [(None, "closed without an answer"), (b"nonsense\r\n\r\n", "no HTTP"), (OK[:-1], "no answer in time")],
)
async def test_without_an_answer_it_is_lost_and_the_address_is_not_told(answer: bytes | None, said: str) -> None:
    async with posting(Peer(lambda _: answer), timeout_s=0.2) as poster:
        with pytest.raises(LegLost, match=said) as raised:
            await poster.post(b"x", HEADERS)

    assert "secret" not in str(raised.value)


async def test_where_nobody_listens_it_is_lost() -> None:
    with pytest.raises(LegLost, match="ECONNREFUSED"):
        await Poster("http://127.0.0.1:1/secret", 2.0).post(b"x", HEADERS)


@pytest.mark.parametrize(
    "answer",
    [
        f"HTTP/1.1 200 OK\r\nContent-Length: {2**30}\r\n\r\n".encode() + bytes(2 * ANSWER_MAX_BYTES),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        OK + b"more than was asked for",
    ],
)
async def test_a_connection_that_cannot_be_used_again_is_closed(answer: bytes) -> None:
    peer = Peer(lambda _: answer)
    async with posting(peer) as poster:
        assert [await poster.post(b"x", HEADERS) for _ in range(2)] == [200, 200]

    assert peer.connections == 2


async def test_idle_connections_are_closed_when_they_are_old_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poster_module, "IDLE_S", 0.02)
    peer = Peer()
    async with posting(peer) as poster:
        await poster.post(b"one", HEADERS)
        with trio.fail_after(5):
            await peer.closed.wait()
        await poster.post(b"two", HEADERS)

    assert (peer.connections, len(poster._idle)) == (2, 0)


async def test_who_is_named_in_the_address_is_told_as_basic_authorization() -> None:
    peer = Peer()
    async with posting(peer, userinfo="user:pass%20word@") as poster:
        await poster.post(b"x", HEADERS)

    assert dict(peer.requests[0][0].headers)[b"authorization"] == b"Basic " + base64.b64encode(b"user:pass word")
