"""HTTP/1.1 and WebSocket frames as they come from proxies, tools and strangers, over a real connection."""

import struct
from typing import Any

import pytest
import trio
import trio.testing

from relay.errors import LegLost
from relay.net.asgi_request import AsgiRequest
from relay.net.asgi_socket import AsgiSocket
from relay.net.listen import WEBSOCKET_MESSAGE_MAX_BYTES
from tests.support.leaks import resources, resources_return_to
from tests.support.peers import raw_websocket_app, serving, upgraded, websocket_app

PATIENCE_S = 10.0
LIMIT_BYTES = 1000
TOO_LARGE = 413


async def listen(asgi: AsgiSocket) -> None:
    try:
        while True:
            await asgi.receive()
    except LegLost:
        pass


def posting_app(*, wants: bool = True) -> Any:
    """Answers with the length of the body, 413 to one that is too large, and 403 if it does not want any."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await raw_websocket_app(listen)(scope, receive, send)
            return
        request = AsgiRequest(scope, receive, send)
        if not wants:
            await request.answer(403, b"{}")
        elif (request.content_length or 0) > LIMIT_BYTES:
            await request.answer(TOO_LARGE, b"{}")
        else:
            await request.answer(200, str(len(await request.read(LIMIT_BYTES))).encode())

    return app


async def read_answer(stream: trio.SocketStream) -> bytes:
    """One head, and the body that it announces."""
    answer = b""
    with trio.fail_after(PATIENCE_S):
        while b"\r\n\r\n" not in answer:
            part = await stream.receive_some()
            if not part:
                return answer
            answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length: "):
                while len(body) < int(line.removeprefix(b"content-length: ")):
                    body += await stream.receive_some()
    return head + b"\r\n\r\n" + body


def post(length: int, *more: str, version: str = "1.1") -> bytes:
    lines = [f"POST /audio HTTP/{version}", "Host: relay.test", f"Content-Length: {length}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


EXPECT = "Expect: 100-continue"


async def test_a_body_that_is_wanted_is_asked_for_once_and_the_connection_goes_on() -> None:
    async with serving(posting_app()) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for _ in range(2):
            await stream.send_all(post(10, EXPECT))
            assert (await read_answer(stream)).startswith(b"HTTP/1.1 100 ")
            await stream.send_all(b"x" * 4)
            await stream.send_all(b"x" * 6)
            answer = await read_answer(stream)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b"\r\n\r\n10")


@pytest.mark.parametrize(("wants", "status"), [(True, b"413"), (False, b"403")])
async def test_a_body_that_is_not_wanted_is_refused_before_it_is_sent(wants: bool, status: bytes) -> None:
    async with serving(posting_app(wants=wants)) as port:
        before = await resources()
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(post(LIMIT_BYTES + 1, EXPECT))
            answer = await read_answer(stream)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"connection: close" in answer.lower()
        await resources_return_to(before)


async def test_who_sends_the_refused_body_all_the_same_gets_the_whole_answer() -> None:
    """As RFC 9110, 10.1.1, allows: a client need not wait for long."""
    length = 5_000_000
    async with serving(posting_app()) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        with trio.fail_after(PATIENCE_S):
            await stream.send_all(post(length, EXPECT) + bytes(length))
        assert (await read_answer(stream)).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("more", "version"),
    [((), "1.1"), ((EXPECT,), "1.0"), (("Expect: 100-Continue",), "1.1")],
    ids=["no expectation", "HTTP/1.0", "other letters"],
)
async def test_who_has_sent_the_body_already_is_not_asked_for_it(more: tuple[str, ...], version: str) -> None:
    async with serving(posting_app()) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(post(3, *more, version=version) + b"abc")
        answer = await read_answer(stream)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n3")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a/b?x=1", "/a/b", "x=1"),
        ("http://relay.test/a/b?x=1", "/a/b", "x=1"),
        ("HTTPS://relay.test:8443/a%2Fb", "/a%2Fb", ""),
        ("http://relay.test", "/", ""),
        ("http://relay.test?x=1", "/", "x=1"),
        ("http://user@[2001:db8::1]:80/a?u=http://other/", "/a", "u=http://other/"),
        ("/a?u=http://other/", "/a", "u=http://other/"),
        ("/http://other/", "/http://other/", ""),
        ("//relay.test/a", "//relay.test/a", ""),
    ],
)
@pytest.mark.parametrize("upgrade", [False, True])
async def test_a_request_that_names_the_whole_address_is_one_for_its_path(
    target: str, path: str, query: str, *, upgrade: bool
) -> None:
    seen: list[tuple[str, str]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            seen.append((scope["raw_path"].decode(), scope["query_string"].decode()))
        await raw_websocket_app(refuse)(scope, receive, send)

    async def refuse(asgi: AsgiSocket) -> None:
        await asgi.refuse(403, error="no", code="NO")

    more = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a\r\n"
    async with serving(app) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"GET {target} HTTP/1.1\r\nHost: x\r\n{more if upgrade else ''}\r\n".encode())
        assert (await read_answer(stream)).startswith(b"HTTP/1.1 403 " if upgrade else b"HTTP/1.1 204 ")
    assert seen == [(path, query)]


FIN, TEXT, BINARY, CONTINUATION, PING, MASK = 0x80, 1, 2, 0, 9, 0x80
KEY = b"\0\0\0\0"


def frame(first: int, announced: int, payload: bytes = b"") -> bytes:
    """A frame of a client, masked with nothing; it may announce more than it has."""
    if announced < 126:
        return struct.pack(">BB", first, MASK | announced) + KEY + payload
    if announced < 1 << 16:
        return struct.pack(">BBH", first, MASK | 126, announced) + KEY + payload
    return struct.pack(">BBQ", first, MASK | 127, announced) + KEY + payload


MAX = WEBSOCKET_MESSAGE_MAX_BYTES
REFUSED = {
    "2^62 bytes": (frame(FIN | BINARY, 1 << 62), 1009),
    "2^62 bytes of text": (frame(FIN | TEXT, 1 << 62), 1009),
    "one byte too many": (frame(FIN | BINARY, MAX + 1), 1009),
    "too many in fragments": (frame(BINARY, MAX, bytes(MAX)) + frame(FIN | CONTINUATION, 1), 1009),
    "2^63 bytes, which cannot be": (frame(FIN | BINARY, 1 << 63), 1002),
    "an operation that is none": (frame(FIN | 3, 0), 1002),
    "text that is none": (frame(FIN | TEXT, 2, b"\xff\xff"), 1007),
    "a frame without a mask": (struct.pack(">BB", FIN | BINARY, 1) + b"x", 1002),
}


@pytest.mark.parametrize(("sent", "code"), REFUSED.values(), ids=REFUSED)
async def test_frames_that_cannot_be_taken_end_the_socket_at_once_with_a_code(sent: bytes, code: int) -> None:
    async with serving(websocket_app(listen)) as port:
        before = await resources()
        async with await upgraded(port) as stream:
            assert (await read_answer(stream)).startswith(b"HTTP/1.1 101 ")
            await stream.send_all(sent)
            received = b""
            with trio.fail_after(PATIENCE_S):
                async for part in stream:
                    received += part
        assert received[0] == 0x88
        assert struct.unpack(">H", received[2:4])[0] == code
        await resources_return_to(before)


async def test_the_longest_message_passes_and_the_bound_is_of_each_message() -> None:
    received: list[str | bytes] = []
    done = trio.Event()

    async def take(asgi: AsgiSocket) -> None:
        received.extend([await asgi.receive() for _ in range(3)])
        done.set()

    fragments = frame(BINARY, MAX - 1, bytes(MAX - 1)) + frame(FIN | PING, 0) + frame(FIN | CONTINUATION, 1, b"x")
    async with serving(websocket_app(take)) as port, await upgraded(port) as stream:
        await read_answer(stream)
        await stream.send_all(frame(FIN | BINARY, MAX, bytes(MAX)) + fragments + frame(FIN | TEXT, 1, b"y"))
        with trio.fail_after(PATIENCE_S):
            await done.wait()
    assert received == [bytes(MAX), bytes(MAX - 1) + b"x", "y"]


@pytest.mark.parametrize("before", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["first", "second"])
async def test_what_comes_behind_an_upgrade_waits_for_the_answer(before: bytes) -> None:
    received: list[str | bytes] = []

    async def answer_late(asgi: AsgiSocket) -> None:
        await trio.testing.wait_all_tasks_blocked()
        await asgi.accept()
        received.extend([await asgi.receive() for _ in range(2)])

    behind = frame(FIN | TEXT, 1, b"a") + frame(FIN | TEXT, 1, b"b")
    app = raw_websocket_app(answer_late)
    async with serving(app) as port, await upgraded(port, before=before, behind=behind) as stream:
        answer = b""
        with trio.fail_after(PATIENCE_S):
            while b"\x88" not in answer:
                answer += await stream.receive_some()
    assert b"HTTP/1.1 101 " in answer
    assert b"HTTP/1.1 400 " not in answer
    assert received == ["a", "b"]


@pytest.mark.parametrize("half_closed", [False, True])
async def test_what_comes_behind_a_refused_upgrade_changes_nothing(*, half_closed: bool) -> None:
    async def refuse(asgi: AsgiSocket) -> None:
        await trio.testing.wait_all_tasks_blocked()
        await asgi.refuse(503, error="full", code="FULL")

    async with serving(raw_websocket_app(refuse)) as port:
        before = await resources()
        async with await upgraded(port, behind=b"noise" * 100) as stream:
            if half_closed:
                await stream.send_eof()
            answer = b""
            with trio.fail_after(PATIENCE_S):
                async for part in stream:
                    answer += part
        await resources_return_to(before)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.count(b"HTTP/1.1") == 1


async def test_a_handshake_that_is_none_is_refused_and_its_connection_closed() -> None:
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with serving(websocket_app(listen)) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request)
        answer = b""
        with trio.fail_after(PATIENCE_S):
            async for part in stream:
                answer += part
    assert answer.startswith(b"HTTP/1.1 400 ")
