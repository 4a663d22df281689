"""HTTP/1.1 and WebSocket frames as they come from proxies, tools and strangers, over a real connection."""

import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
import trio
import trio.testing

from relay.errors import LegLost
from relay.net.asgi_request import UNREAD_MAX_BYTES, AsgiRequest
from relay.net.asgi_socket import AsgiSocket
from relay.net.link.pace import OF_A_STRANGER
from relay.net.link.protocol import FRAMES_PER_TURN
from relay.net.listen import WEBSOCKET_MESSAGE_MAX_BYTES
from relay.net.request_reader import LINES_PER_TURN, LINES_UNJUDGED, READ_BYTES
from relay.net.server_stream import ServerStream
from relay.net.turns import LINES_BURST_S, LINES_PER_S
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
    length = UNREAD_MAX_BYTES
    async with serving(posting_app()) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        with trio.fail_after(PATIENCE_S):
            await stream.send_all(post(length, EXPECT) + bytes(length))
        assert (await read_answer(stream)).startswith(b"HTTP/1.1 413 ")


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much each look at a connection's stream gave."""
    lengths: list[int] = []
    receive_some = ServerStream.receive_some

    async def noting(stream: ServerStream, max_bytes: int | None = None) -> bytes | bytearray:
        data = await receive_some(stream, max_bytes)
        lengths.append(len(data))
        return data

    monkeypatch.setattr(ServerStream, "receive_some", noting)
    return lengths


@asynccontextmanager
async def sending(port: int, head: bytes, more: bytes) -> AsyncIterator[trio.SocketStream]:
    """A connection over which `more` is sent again and again, as fast as it is taken."""

    async def send() -> None:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(head)
            while True:
                await stream.send_all(more)

    async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(send)
        yield stream
        nursery.cancel_scope.cancel()


CHUNKED = b"POST /audio HTTP/1.1\r\nHost: relay.test\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("expects", [(), (EXPECT,)])
async def test_of_a_body_without_end_behind_a_refusal_little_is_read_and_the_connection_closed(
    expects: tuple[str, ...], read_bytes: list[int]
) -> None:
    async with serving(posting_app(wants=False)) as port, sending(port, post(2**40, *expects), bytes(65_536)) as stream:
        assert (await read_answer(stream)).startswith(b"HTTP/1.1 403 ")
        with trio.fail_after(PATIENCE_S), suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
    assert sum(read_bytes) <= UNREAD_MAX_BYTES + 3 * READ_BYTES


async def test_a_body_is_read_no_faster_than_the_application_takes_it(read_bytes: list[int]) -> None:
    taken = 0
    wanted, done = trio.Event(), trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal taken
        if scope["type"] == "lifespan":
            await posting_app()(scope, receive, send)
            return
        await wanted.wait()
        while taken < 10 * READ_BYTES:
            taken += len((await receive())["body"])
        done.set()
        await trio.sleep_forever()

    async with serving(app) as port, sending(port, post(2**40), bytes(65_536)):
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert sum(read_bytes) <= 2 * READ_BYTES
        wanted.set()
        with trio.fail_after(PATIENCE_S):
            await done.wait()
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert sum(read_bytes) <= taken + 2 * READ_BYTES


async def test_small_chunks_have_a_rate_and_others_are_served_among_them() -> None:
    messages = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal messages
        if scope["type"] != "http" or scope["method"] == "GET":
            await raw_websocket_app(listen)(scope, receive, send)
            return
        while (await receive())["type"] == "http.request":
            messages += 1

    async with serving(app) as port, AsyncExitStack() as floods:
        began_at = trio.current_time()
        for _ in range(20):
            await floods.enter_async_context(sending(port, CHUNKED, (b"40\r\n" + bytes(64) + b"\r\n") * 1000))
        with trio.fail_after(PATIENCE_S):
            for _ in range(20):
                async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                    await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert (await read_answer(stream)).startswith(b"HTTP/1.1 204 ")
                await trio.sleep(0.02)
        took_s = trio.current_time() - began_at
    assert 0 < messages <= (took_s + LINES_BURST_S) * LINES_PER_S / 2 + 20 * LINES_PER_TURN


async def test_a_body_in_tiny_chunks_is_refused_and_the_connection_closed() -> None:
    tiny = CHUNKED + b"1\r\nx\r\n" * LINES_UNJUDGED
    async with serving(posting_app()) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(tiny)
        answer = b""
        with trio.fail_after(PATIENCE_S), suppress(trio.BrokenResourceError):
            async for part in stream:
                answer += part
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_of_requests_behind_each_other_none_is_served_for_a_peer_that_is_gone() -> None:
    served = 0
    gone = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal served
        if scope["type"] == "http":
            served += 1
            await gone.wait()
            await trio.testing.wait_all_tasks_blocked(0.01)
        await raw_websocket_app(listen)(scope, receive, send)

    async with serving(app) as port:
        before = await resources()
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
            await trio.testing.wait_all_tasks_blocked(0.05)
        gone.set()
        await resources_return_to(before)
    assert served <= 5


async def test_the_head_of_an_answer_leaves_with_its_body() -> None:
    async with serving(posting_app()) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(post(3) + b"abc")
        with trio.fail_after(PATIENCE_S):
            answer = await stream.receive_some()

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n3")


async def test_requests_that_come_together_are_answered_in_their_order() -> None:
    bodies = [b"", b"abc", b"\r\n\r\n" * 20, b"GET / HTTP/1.1\r\n\r\n"]
    sent = b"".join(post(len(body)) + body for body in bodies) + CHUNKED + b"1\r\nx\r\n" * 40 + b"0\r\n\r\n" + post(0)
    async with serving(posting_app()) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(sent)
        received = b""
        with trio.fail_after(PATIENCE_S):
            while received.count(b"HTTP/1.1 200 ") < 6 or not received.endswith(b"\r\n\r\n0"):
                received += await stream.receive_some()
    answers = received.split(b"HTTP/1.1 200 ")[1:]
    assert [answer.rpartition(b"\r\n\r\n")[2] for answer in answers] == [b"0", b"3", b"80", b"18", b"40", b"0"]


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


async def test_a_head_that_comes_in_parts_counts_once() -> None:
    async def take(asgi: AsgiSocket) -> None:
        await asgi.send(str(len(await asgi.receive())))

    length = MAX * 3 // 5
    split = frame(FIN | CONTINUATION, length)
    async with serving(websocket_app(take)) as port, await upgraded(port) as stream:
        await read_answer(stream)
        await stream.send_all(frame(BINARY, 10, bytes(10)) + split[:-4])
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(split[-4:] + bytes(length))
        with trio.fail_after(PATIENCE_S):
            assert (await stream.receive_some(7))[2:] == str(length + 10).encode()


FLOODS = {
    "fragments": (frame(TEXT, 0) + frame(CONTINUATION, 0) * 48 + frame(FIN | CONTINUATION, 0)) * 20,
    "empty messages": frame(FIN | TEXT, 0) * 1000,
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_among_a_flood_of_frames_others_have_their_turn(flood: bytes) -> None:
    turns = 0
    done = trio.Event()

    async def take(asgi: AsgiSocket) -> None:
        while await asgi.receive() != "x":
            pass
        done.set()

    async def take_turns() -> None:
        nonlocal turns
        while not done.is_set():
            await trio.lowlevel.checkpoint()
            turns += 1

    async with serving(websocket_app(take)) as port, await upgraded(port) as stream, trio.open_nursery() as nursery:
        await read_answer(stream)
        await stream.send_all(flood + frame(FIN | TEXT, 1, b"x"))
        nursery.start_soon(take_turns)
    assert turns > 1000 / (FRAMES_PER_TURN + 1)


@pytest.mark.parametrize(
    ("flood", "count"), [(frame(FIN | TEXT, 0), 500), (frame(FIN | TEXT, 30_000, bytes(30_000)), 100)]
)
async def test_a_stranger_is_read_slowly_until_it_is_admitted(flood: bytes, count: int) -> None:
    received = 0
    before: list[tuple[int, float]] = []

    async def take(asgi: AsgiSocket) -> None:
        began_at = trio.current_time()
        await asgi.accept()
        with trio.move_on_after(0.3):
            await take_all(asgi)
        before.append((received, trio.current_time() - began_at))
        asgi.admit()
        await take_all(asgi)

    async def take_all(asgi: AsgiSocket) -> None:
        nonlocal received
        while received < count:
            await asgi.receive()
            received += 1

    with trio.fail_after(PATIENCE_S):
        async with serving(raw_websocket_app(take)) as port, await upgraded(port) as stream:
            await read_answer(stream)
            await stream.send_all(flood * count)
            await read_answer(stream)
    cost_s = 1 / OF_A_STRANGER.frames_per_s + len(flood) / OF_A_STRANGER.bytes_per_s
    assert before[0][0] <= (OF_A_STRANGER.burst_s + before[0][1]) / cost_s + FRAMES_PER_TURN
    assert received == count


async def test_who_goes_too_far_learns_why_although_it_sends_on() -> None:
    async with serving(websocket_app(listen)) as port, await upgraded(port) as stream:
        await read_answer(stream)
        await stream.send_all(frame(FIN | BINARY, 1 << 40) + bytes(100_000))
        received = b""
        with trio.fail_after(PATIENCE_S):
            async for part in stream:
                received += part
    assert struct.unpack(">H", received[2:4])[0] == 1009


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


HIDDEN = "POST /audio HTTP/1.1\r\nHost: relay.test\r\n"
SMUGGLED = {
    "two lengths": HIDDEN + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths, the other way": HIDDEN + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "lengths that differ": HIDDEN + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "lengths that differ in one line": HIDDEN + "Content-Length: 3, 4\r\n\r\nabcd",
    "a length with a sign": HIDDEN + "Content-Length: +3\r\n\r\nabc",
    "a length that is none": HIDDEN + "Content-Length: 0x3\r\n\r\nabc",
    "a space before the colon": HIDDEN + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded line": HIDDEN + "X: a\r\n Content-Length: 3\r\n\r\nabc",
    "a folded coding": HIDDEN + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a bare LF": HIDDEN + "X: a\nContent-Length: 3\r\n\r\nabc",
    "nothing but bare LFs": "GET / HTTP/1.1\nHost: relay.test\n\n",
    "a bare LF at the end": "GET / HTTP/1.1\r\nHost: relay.test\r\n\n",
    "a bare CR": HIDDEN + "X: a\rContent-Length: 3\r\n\r\nabc",
    "a NUL in a value": HIDDEN + "X: a\0b\r\n\r\n",
    "a NUL in a name": HIDDEN + "X\0: a\r\n\r\n",
    "a coding before HTTP/1.1": HIDDEN.replace("1.1", "1.0") + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk whose size has a sign": HIDDEN + "Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n",
    "no host": "GET / HTTP/1.1\r\n\r\n",
    "two hosts": "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "too long a head in one piece": "GET / HTTP/1.1\r\nHost: a\r\nX: " + "a" * 20_000 + "\r\n\r\n",
    "a head without end": "GET / HTTP/1.1\r\nHost: a\r\nX: " + "a" * 20_000,
    "too many headers": "GET / HTTP/1.1\r\nHost: a\r\n" + "a: b\r\n" * 101 + "\r\n",
    "another coding": HIDDEN + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding twice": HIDDEN + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk extension without end": HIDDEN + "Transfer-Encoding: chunked\r\n\r\n1;" + "a" * 200_000,
    "trailers without end": HIDDEN + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + "a" * 200_000,
}
STATUS = {"too": 431, "a head": 431, "another": 501, "a coding twice": 501, "a chunk extension": 431, "trailers": 431}


@pytest.mark.parametrize("kind", SMUGGLED)
async def test_what_a_proxy_could_read_otherwise_is_refused_and_the_connection_closed(kind: str) -> None:
    """RFC 9112, 11.2: what is behind it must not be taken for a request."""
    status = next((code for begin, code in STATUS.items() if kind.startswith(begin)), 400)
    async with serving(posting_app()) as port:
        before = await resources()
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            answer = b""
            with trio.fail_after(PATIENCE_S):
                await stream.send_all((SMUGGLED[kind] + "GET /next HTTP/1.1\r\nHost: relay.test\r\n\r\n").encode())
                async for part in stream:
                    answer += part
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert answer.count(b"HTTP/1.1") == 1
        await resources_return_to(before)


async def test_a_hundred_headers_and_an_empty_length_twice_pass() -> None:
    lines = [*(f"X-{number}: a" for number in range(96)), "Content-Length: 3"]
    async with serving(posting_app()) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(post(3, *lines) + b"abc")
        assert (await read_answer(stream)).startswith(b"HTTP/1.1 200 ")
