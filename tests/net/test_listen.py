"""The listener and the server around hypercorn: options, isolation of connections, and the end."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from hypercorn.utils import LifespanFailureError

from relay.errors import LegLost
from relay.net.asgi_socket import AsgiSocket
from relay.net.listen import open_listener, serve_asgi
from relay.net.server_stream import Place
from tests.support.leaks import left_to_the_collector, no_collector, resources, resources_return_to
from tests.support.peers import dialled, raw_websocket_app, reset, serving, upgraded, websocket_app


async def echo(asgi: AsgiSocket) -> None:
    try:
        while True:
            await asgi.send(await asgi.receive())
    except LegLost:
        pass


async def request(port: int, raw: bytes) -> bytes:
    """What the server answers within a moment to these bytes."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(raw)
        answer = b""
        with trio.move_on_after(0.3):
            async for part in stream:
                answer += part
                if b"\r\n\r\n" in answer:
                    break
        return answer


GET = b"GET /health HTTP/1.1\r\nHost: relay.test\r\n\r\n"


def test_accepted_connections_inherit_the_limits_of_the_listener() -> None:
    with open_listener("127.0.0.1", 0, user_timeout_ms=1234) as listener:
        with socket.create_connection(listener.getsockname()):
            listener.setblocking(True)
            accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1234
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_a_port_can_be_bound_again_at_once() -> None:
    with open_listener("127.0.0.1", 0) as first:
        address = first.getsockname()
        with socket.create_connection(address):
            first.setblocking(True)
            first.accept()[0].close()
    open_listener(*address).close()


def test_ipv6_is_served_too() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        listener = open_listener("::1", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    assert listener.family == socket.AF_INET6
    listener.close()


def test_an_address_in_use_is_an_error_and_leaves_nothing_open() -> None:
    with open_listener("127.0.0.1", 0) as first, pytest.raises(OSError, match="in use"):
        open_listener(*first.getsockname())


async def test_answers_carry_no_server_header_and_requests_leave_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(websocket_app(echo)) as port:
        answer = await request(port, GET)
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert b"server:" not in answer.lower()
    assert not caplog.records


@pytest.mark.parametrize("sent", [b"", b"G", GET, GET + GET], ids=["nothing", "half", "one", "two"])
async def test_a_connection_that_is_over_is_freed_without_the_garbage_collector(sent: bytes) -> None:
    async with serving(websocket_app(echo)) as port:
        before = await resources()
        with no_collector():
            await request(port, sent)
            await resources_return_to(before)
            assert left_to_the_collector() == {}


async def test_a_socket_that_is_over_is_freed_without_the_garbage_collector() -> None:
    async with serving(websocket_app(echo)) as port:
        before = await resources()
        with no_collector():
            async with dialled(port) as peer:
                await peer.send("hello")
                assert await peer.receive() == "hello"
            await resources_return_to(before)
            del peer
            assert left_to_the_collector() == {}


NOT_ASCII = {
    "connection": ("Connection: \xff, Upgrade",),
    "protocol": ("Sec-WebSocket-Protocol: \xff",),
}


@pytest.mark.parametrize("headers", NOT_ASCII.values(), ids=NOT_ASCII)
async def test_a_request_that_hypercorn_trips_over_ends_only_its_own_connection(
    headers: tuple[str, ...],
) -> None:
    failed: list[str] = []
    async with serving(websocket_app(echo), failed=failed.append) as port, dialled(port) as bystander:
        stream = await upgraded(port, *headers)
        await stream.receive_some()
        await stream.aclose()
        await bystander.send("still here")
        assert await bystander.receive() == "still here"
        assert (await request(port, GET)).startswith(b"HTTP/1.1 204 ")
    assert len(failed) == 1
    assert "xff" not in failed[0]


GARBAGE = {
    "noise": bytes(range(256)) * 4,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "endless header": b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000,
    "bad length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: abc\r\n\r\n",
    "bad path": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "http2 noise": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xee" * 100,
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0",
    "h2c without settings": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
}


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_instead_of_a_request_leaves_the_server_working(raw: bytes) -> None:
    async with serving(websocket_app(echo)) as port:
        before = await resources()
        await request(port, raw)
        assert (await request(port, GET)).startswith(b"HTTP/1.1 204 ")
        await resources_return_to(before)


async def test_an_offer_of_http2_is_passed_over() -> None:
    """As RFC 9110, 7.8, allows: some clients make it with every request."""
    offer = GET[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    async with serving(websocket_app(echo)) as port:
        assert (await request(port, offer)).startswith(b"HTTP/1.1 204 ")


async def test_who_begins_with_http2_is_told_that_it_is_not_served() -> None:
    async with serving(websocket_app(echo)) as port:
        answer = await request(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 505 ")
    assert b"connection: close" in answer.lower()


async def test_200_connections_that_come_and_go_leave_no_task_and_no_descriptor() -> None:
    async with serving(websocket_app(echo)) as port:
        before = await resources()
        limit = trio.CapacityLimiter(20)

        async def visit(number: int) -> None:
            async with limit, dialled(port) as peer:
                await peer.send("hello")
                assert await peer.receive() == "hello"
                if number % 4 == 0:
                    await peer.lose()

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(visit, number)
        await resources_return_to(before)


async def test_a_reset_before_the_answer_leaves_nothing() -> None:
    async with serving(websocket_app(echo)) as port:
        before = await resources()
        for _ in range(20):
            stream = await upgraded(port)
            reset(stream)
            await stream.aclose()
        await resources_return_to(before)


async def test_a_peer_that_stops_reading_is_given_up_by_the_kernel() -> None:
    """E13: hypercorn's send has no limit; TCP_USER_TIMEOUT ends it, and the application learns it from receive."""
    freed = trio.Event()

    async def fill(asgi: AsgiSocket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_sending, asgi)
            with pytest.raises(LegLost):
                await asgi.receive()
            freed.set()

    async def keep_sending(asgi: AsgiSocket) -> None:
        try:
            while True:
                await asgi.send(b"x" * 60_000)
        except LegLost:
            pass

    async with serving(websocket_app(fill), user_timeout_ms=500) as port:
        stream = await upgraded(port)
        with trio.fail_after(20):
            await freed.wait()
        await stream.aclose()


async def stay(asgi: AsgiSocket) -> None:
    await trio.sleep_forever()


async def fill_without_end(asgi: AsgiSocket) -> None:
    while True:
        await asgi.send(b"x" * 60_000)


@pytest.mark.parametrize("handler", [echo, stay, fill_without_end])
async def test_shutdown_ends_soon_whatever_the_connections_do(handler: Any) -> None:
    with trio.fail_after(20):
        async with serving(websocket_app(handler), user_timeout_ms=60_000) as port:
            idle = await trio.open_tcp_stream("127.0.0.1", port)
            half_asked = await trio.open_tcp_stream("127.0.0.1", port)
            await half_asked.send_all(b"GET / HT")
            open_socket = await upgraded(port)
            await trio.sleep(0.3)
        for stream in (idle, half_asked, open_socket):
            await stream.aclose()


async def test_shutdown_cuts_an_application_that_is_stuck_in_a_send_of_its_own() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while True:
                await send({"type": "websocket.send", "bytes": b"x" * 60_000})
                await trio.lowlevel.checkpoint()
        await raw_websocket_app(stay)(scope, receive, send)

    with trio.fail_after(20):
        async with serving(app, user_timeout_ms=60_000) as port:
            stream = await upgraded(port)
            await trio.sleep(0.3)
        await stream.aclose()


async def test_after_shutdown_the_port_refuses_and_the_listener_is_closed() -> None:
    shutdown = trio.Event()
    listener = open_listener("127.0.0.1", 0)
    address = listener.getsockname()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_asgi, websocket_app(echo), listener, shutdown=shutdown))
        shutdown.set()
    assert listener.fileno() == -1
    with pytest.raises(OSError, match="111"):
        socket.create_connection(address)


async def test_cancelled_it_closes_everything() -> None:
    before = await resources()
    listener = open_listener("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_asgi, websocket_app(echo), listener, shutdown=trio.Event()))
        stream = await upgraded(listener.getsockname()[1])
        await stream.receive_some()
        nursery.cancel_scope.cancel()
    await stream.aclose()
    await resources_return_to(before)


async def test_an_application_that_cannot_start_closes_the_listener() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    listener = open_listener("127.0.0.1", 0)
    with pytest.RaisesGroup(LifespanFailureError, flatten_subgroups=True):
        await serve_asgi(app, listener, shutdown=trio.Event())
    assert listener.fileno() == -1


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "x-other, permessage-deflate",
        "permessage-deflate; server_max_window_bits=abc",
        "\xff\xfe",
    ],
)
async def test_no_compression_is_agreed_to_and_the_socket_works(offer: str) -> None:
    async with serving(websocket_app(echo)) as port:
        async with await upgraded(port, f"Sec-WebSocket-Extensions: {offer}") as stream:
            answer = bytes(await stream.receive_some())
            assert answer.startswith(b"HTTP/1.1 101")
            assert b"extensions" not in answer.lower()
        async with dialled(port) as peer:
            await peer.send(b"\0" * 5000)
            assert await peer.receive() == b"\0" * 5000


@pytest.mark.parametrize("gone", [True, False])
async def test_a_body_that_nobody_reads_holds_no_connection_when_its_request_has_its_answer(*, gone: bool) -> None:
    """More of it than hypercorn's queue has room for, which would wait there for a reader for good."""
    enough, open_now = trio.Event(), 0

    @contextmanager
    def admit(_peer: str, _close: Callable[[], None]) -> Iterator[Place]:
        nonlocal open_now
        open_now += 1
        try:
            yield Place()
        finally:
            open_now -= 1

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await enough.wait()
        await send({"type": "http.response.start", "status": 429, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    listener = open_listener("127.0.0.1", 0)
    port = listener.getsockname()[1]
    async with trio.open_nursery() as nursery:
        shutdown = trio.Event()
        await nursery.start(partial(serve_asgi, refuse, listener, shutdown=shutdown, admit=admit))
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 300
            )
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert open_now == 1
            if gone:
                await stream.aclose()
            enough.set()
            with trio.fail_after(3):
                while open_now:  # noqa: ASYNC110 - a connection's end has no event
                    await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


class Steps(trio.abc.Instrument):
    """Counts the steps of tasks in a round of the event loop: `most` in any."""

    def __init__(self) -> None:
        self.most = self._now = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._now += 1
        self.most = max(self.most, self._now)

    def before_io_wait(self, timeout: float) -> None:
        self._now = 0


@pytest.mark.parametrize("begin", [b"", GET[:10]], ids=["silent", "slow head"])
async def test_a_crowd_of_strangers_that_hangs_up_together_is_no_long_round_of_the_loop(begin: bytes) -> None:
    crowd, steps = 400, Steps()
    async with serving(websocket_app(echo)) as port:
        before = await resources()
        peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(crowd)]
        for peer in peers:
            peer.sendall(begin)
        await trio.testing.wait_all_tasks_blocked(0.05)
        trio.lowlevel.add_instrument(steps)
        for peer in peers:
            peer.close()
        await resources_return_to(before)
        trio.lowlevel.remove_instrument(steps)

    assert steps.most < crowd / 2
