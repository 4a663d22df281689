"""A dialled socket: what goes wrong while dialling, the keepalive, torn frames, and the end."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MemoryReceiveStream, MemorySendStream, MockClock, memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream
from wsproto.utilities import generate_accept_token

from relay.errors import LegClosed, LegLost
from relay.net.client_socket import (
    BINARY_MAX_BYTES,
    MESSAGE_MAX_BYTES,
    UNREAD_MAX,
    client_socket_over,
    open_client_socket,
)
from relay.net.dial import Target
from relay.net.link.link import Link
from relay.net.link.protocol import FRAMES_PER_TURN
from tests.support.certificates import make_certificate
from tests.support.leaks import resources, resources_return_to

TARGET = Target("assistant.test", 443, "/secret-path?token=secret", secure=True)
MemoryStream = trio.StapledStream[MemorySendStream, MemoryReceiveStream]
Serve = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def tcp_server(serve: Serve) -> AsyncIterator[int]:
    """A server on loopback whose every connection is handled by `serve`; yields the port."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def refused_by(serve: Serve, *, timeout_s: float = 5.0) -> str:
    """The text of the LegLost when dialling such a server, which never quotes the address."""
    async with tcp_server(serve) as port:
        with pytest.raises(LegLost) as lost:
            async with open_client_socket(f"ws://127.0.0.1:{port}/secret?t=secret", connect_timeout_s=timeout_s):
                raise AssertionError("connected")
    assert "secret" not in str(lost.value)
    return str(lost.value)


def dialled(port: int) -> AbstractAsyncContextManager[Link]:
    return open_client_socket(f"ws://127.0.0.1:{port}/", connect_timeout_s=5)


def answering(raw: bytes) -> Serve:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(raw)
        await stream.aclose()

    return serve


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Link, WebSocketConnection, MemoryStream]]:
    """A Link over memory, the trio-websocket server at its other end, and that server's stream."""
    near, far = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        peers: list[WebSocketConnection] = []

        async def answer() -> None:
            request: WebSocketRequest = await wrap_server_stream(nursery, far, message_queue_size=100)
            peers.append(await request.accept())

        nursery.start_soon(answer)
        async with client_socket_over(near, TARGET, deadline=trio.current_time() + 5) as client:
            yield client, peers[0], far
        nursery.cancel_scope.cancel()


ANSWERS = {
    "rejected with a body": (b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", "HTTP 403"),
    "rejected without a body": (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "HTTP 503"),
    "rejected until the end of the stream": (b"HTTP/1.1 500 No\r\n\r\nno", "HTTP 500"),
    "redirected": (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n", "HTTP 302"),
    "plain success": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP 200"),
    "wrong accept token": (
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
        "bad WebSocket handshake",
    ),
    "garbage": (b"\x00\xffSSH-2.0\r\n\r\n", "no WebSocket handshake"),
    "nothing": (b"", "closed during the handshake"),
}


@pytest.mark.parametrize(("raw", "text"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_that_is_no_handshake_is_lost_at_once_with_its_status(raw: bytes, text: str) -> None:
    with trio.fail_after(4):
        assert await refused_by(answering(raw)) == f"127.0.0.1: {text}"


async def test_no_answer_is_lost_at_the_limit() -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    assert await refused_by(silent, timeout_s=0.2) == "127.0.0.1: no answer in time"


async def test_a_refused_connection_names_the_reason() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(LegLost, match=r"^127\.0\.0\.1: no connection \(ECONNREFUSED\)$"):
            async with open_client_socket(f"ws://127.0.0.1:{port}/secret", connect_timeout_s=5):
                pass


async def test_a_name_that_does_not_exist_is_lost() -> None:
    with pytest.raises(LegLost, match=r"^relay\.invalid: "):
        async with open_client_socket("wss://relay.invalid/secret", connect_timeout_s=5):
            pass


@pytest.mark.parametrize("url", ["http://a/secret", "wss://", "secret", "ws://a:port/secret", "ws://[secret/"])
async def test_what_is_no_websocket_address_is_lost_without_being_quoted(url: str) -> None:
    with pytest.raises(LegLost) as lost:
        async with open_client_socket(url, connect_timeout_s=5):
            pass
    assert str(lost.value) == "not a WebSocket address"


def test_the_host_header_has_the_port_only_when_it_is_unusual() -> None:
    assert Target.parse("wss://a.test/x").host_header == "a.test"
    assert Target.parse("wss://a.test:80/x").host_header == "a.test:80"
    assert Target.parse("ws://[::1]:8080").host_header == "[::1]:8080"
    assert Target.parse("ws://a.test?t=1").resource == "/?t=1"


async def test_a_peer_without_tls_is_a_tls_failure() -> None:
    async with tcp_server(answering(b"HTTP/1.1 400 Bad\r\n\r\n")) as port:
        with pytest.raises(LegLost, match=r"^127\.0\.0\.1: TLS failed \(\w+\)$"):
            async with open_client_socket(f"wss://127.0.0.1:{port}/secret", connect_timeout_s=5):
                pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody trusts, and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def tls_echo(certificate: tuple[Path, Path]) -> AsyncIterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    async def serve(stream: trio.SocketStream) -> None:
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await secured.do_handshake()
        except trio.BrokenResourceError:
            return
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, secured)
            connection = await request.accept()
            await connection.send_message(await connection.get_message())
            with trio.move_on_after(1):
                await connection.aclose()
            nursery.cancel_scope.cancel()

    async with tcp_server(serve) as port:
        yield port


async def test_tls_is_verified_and_carries_messages_when_trusted(certificate: tuple[Path, Path]) -> None:
    async with tls_echo(certificate) as port:
        url = f"wss://127.0.0.1:{port}/secret"
        with pytest.raises(LegLost, match=r"^127\.0\.0\.1: TLS failed \(CERTIFICATE_VERIFY_FAILED\)$"):
            async with open_client_socket(url, connect_timeout_s=5):
                pass
        trusting = ssl.create_default_context(cafile=certificate[0])
        async with open_client_socket(url, connect_timeout_s=5, tls=trusting) as client:
            await client.send("hello")
            assert await client.receive() == "hello"


async def test_headers_and_resource_are_sent() -> None:
    seen: list[WebSocketRequest] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            seen.append(await wrap_server_stream(nursery, stream))
            await seen[0].reject(401)
            nursery.cancel_scope.cancel()

    async with tcp_server(serve) as port:
        url = f"ws://127.0.0.1:{port}/a/b?c=d"
        with pytest.raises(LegLost, match="HTTP 401"):
            async with open_client_socket(url, headers={"Authorization": "Bearer x"}, connect_timeout_s=5):
                pass
    assert seen[0].path == "/a/b?c=d"
    assert (b"authorization", b"Bearer x") in [(name.lower(), value) for name, value in seen[0].headers]


@asynccontextmanager
async def half_open() -> AsyncIterator[Link]:
    """A Link whose peer shook hands and does nothing since."""
    near, far = memory_stream_pair()

    async def answer() -> None:
        request = bytes(await far.receive_some())
        lines = b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        await far.send_all(lines + generate_accept_token(_websocket_key(request)) + b"\r\n\r\n")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        async with client_socket_over(near, TARGET, deadline=trio.current_time() + 5) as client:
            yield client


def _websocket_key(request: bytes) -> bytes:
    for line in request.split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name.lower() == b"sec-websocket-key":
            return value
    raise AssertionError("no key")


async def test_what_the_body_raises_passes_unchanged(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    error = ValueError("of the body")

    async def answer(nursery: trio.Nursery) -> None:
        await (await wrap_server_stream(nursery, far)).accept()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, nursery)
        with pytest.raises(ValueError, match="of the body") as raised:
            async with client_socket_over(near, TARGET, deadline=trio.current_time() + 5):
                raise error
        assert raised.value is error


async def test_keepalive_goes_on_while_pongs_come(autojump_clock: MockClock) -> None:
    took_s: list[float] = []
    async with connected() as (client, _, _):
        with trio.move_on_after(105) as scope:
            await client.run_keepalive(interval_s=10, timeout_s=2, answered=took_s.append)
        assert scope.cancelled_caught
    assert len(took_s) == 10
    assert all(0 <= took < 0.1 for took in took_s)


async def test_keepalive_ends_with_leg_lost_when_the_pong_does_not_come(autojump_clock: MockClock) -> None:
    async with half_open() as client:
        started = trio.current_time()
        with pytest.raises(LegLost, match="no pong in 2 s"):
            await client.run_keepalive(interval_s=10, timeout_s=2)
        assert trio.current_time() - started == pytest.approx(12)


async def test_pings_of_the_peer_are_answered_by_an_idle_client(autojump_clock: MockClock) -> None:
    async with connected() as (_, peer, _):
        with trio.fail_after(2):
            await peer.ping()


async def test_a_send_cancelled_inside_a_frame_loses_the_socket_and_is_followed_by_no_frame(
    autojump_clock: MockClock,
) -> None:
    async with connected() as (client, _, _):
        stuck = trio.Event()
        stapled = client._stream._below
        assert isinstance(stapled, trio.StapledStream)
        stapled.send_stream.send_all_hook = stuck.wait
        with trio.move_on_after(1) as scope:
            await client.send("half")
        assert scope.cancelled_caught
        with pytest.raises(LegLost):
            await client.send("whole")
        with pytest.raises(LegLost):
            await client.ping(1)
        before = trio.current_time()
        await client.close()
        assert trio.current_time() == before


def slow_to_write(client: Link) -> trio.Event:
    """From now on every write of the client is in progress until this event is set."""
    stream = client._stream._below
    assert isinstance(stream, trio.StapledStream)
    go_on, delivers = trio.Event(), stream.send_stream.send_all_hook
    assert delivers is not None

    async def hook() -> None:
        await go_on.wait()
        await delivers()

    stream.send_stream.send_all_hook = hook
    return go_on


@pytest.mark.parametrize("control", ["ping", "pong"])
async def test_a_message_during_the_write_of_a_ping_or_pong_follows_it(control: str) -> None:
    """Pings, pongs and messages are written by three tasks: one under way is no torn frame."""
    async with connected() as (client, peer, _), trio.open_nursery() as nursery:
        go_on = slow_to_write(client)
        nursery.start_soon(partial(client.ping, 5) if control == "ping" else peer.ping)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(client.send, "after it")
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
        with trio.fail_after(5):
            assert await peer.get_message() == "after it"


async def test_what_waited_for_a_write_that_was_cancelled_is_not_written(autojump_clock: MockClock) -> None:
    async with connected() as (client, _, _), trio.open_nursery() as nursery:
        slow_to_write(client)

        async def waits() -> None:
            with pytest.raises(LegLost):
                await client.send("whole")

        with trio.move_on_after(1):
            nursery.start_soon(waits)
            await client.send("half")
            raise AssertionError("sent")


async def test_leaving_takes_about_a_second_when_the_peer_is_half_open(autojump_clock: MockClock) -> None:
    async with half_open() as client:
        started = trio.current_time()
        await client.send("into the void")
    assert trio.current_time() - started == pytest.approx(1.0)


async def test_cancelled_it_still_says_goodbye(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        near, far = memory_stream_pair()
        endings: list[int] = []

        async def answer() -> None:
            connection = await (await wrap_server_stream(nursery, far)).accept()
            try:
                await connection.get_message()
            except ConnectionClosed:
                assert connection.closed is not None
                endings.append(connection.closed.code)

        nursery.start_soon(answer)
        with trio.move_on_after(1):
            async with client_socket_over(near, TARGET, deadline=trio.current_time() + 5):
                await trio.sleep_forever()
    assert endings == [1000]


async def test_parting_is_over_when_the_peer_has_answered_however_much_is_unread(autojump_clock: MockClock) -> None:
    async with connected() as (client, peer, _), trio.open_nursery() as nursery:
        for number in range(2 * UNREAD_MAX):
            nursery.start_soon(peer.send_message, str(number))
        await trio.testing.wait_all_tasks_blocked()
        await client.send("last words")
        with trio.fail_after(1):
            await client.part()

        assert await peer.get_message() == "last words"
        assert peer.closed is not None
        assert peer.closed.code == 1000


async def test_parting_from_a_peer_that_has_said_goodbye_is_done(autojump_clock: MockClock) -> None:
    async with connected() as (client, peer, _):
        await peer.aclose(1001)
        with trio.fail_after(1):
            await client.part()


async def test_parting_from_a_frozen_peer_takes_until_it_is_cancelled_and_closes(autojump_clock: MockClock) -> None:
    async with half_open() as client:
        await client.send("into the void")
        with trio.move_on_after(0.4) as patience:
            await client.part()
        started = trio.current_time()

    assert patience.cancelled_caught
    assert trio.current_time() == started


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_peer_that_is_lost_has_not_answered(when: str, autojump_clock: MockClock) -> None:
    async with half_open() as client, trio.open_nursery() as nursery:
        if when == "before":
            await trio.aclose_forcefully(client._stream)
        else:
            nursery.start_soon(lose_later, client)
        with pytest.raises(LegLost):
            await client.part()


async def lose_later(client: Link) -> None:
    await trio.sleep(0.1)
    stapled = client._stream._below
    assert isinstance(stapled, trio.StapledStream)
    stapled.receive_stream.put_eof()


async def test_after_a_torn_frame_there_is_no_goodbye_to_be_answered(autojump_clock: MockClock) -> None:
    async with connected() as (client, _, _):
        slow_to_write(client)
        with trio.move_on_after(1):
            await client.send("half")
        with pytest.raises(LegLost):
            await client.part()


@pytest.mark.parametrize("message", ["x" * MESSAGE_MAX_BYTES, b"x" * BINARY_MAX_BYTES], ids=["text", "audio"])
async def test_a_message_of_the_longest_kind_is_taken(message: str | bytes, autojump_clock: MockClock) -> None:
    async with connected() as (client, peer, _), trio.open_nursery() as nursery:
        nursery.start_soon(peer.send_message, message)

        assert await client.receive() == message


@pytest.mark.parametrize(
    "message", ["x" * (MESSAGE_MAX_BYTES + 1), b"x" * (BINARY_MAX_BYTES + 1)], ids=["text", "audio"]
)
async def test_a_longer_message_loses_the_socket_and_the_peer_is_told_why(
    message: str | bytes, autojump_clock: MockClock
) -> None:
    async with connected() as (client, peer, _), trio.open_nursery() as nursery:
        nursery.start_soon(peer.send_message, message)
        with pytest.raises(LegLost, match="1009") as lost:
            await client.receive()
        with pytest.raises(ConnectionClosed) as closed:
            await peer.get_message()

        assert closed.value.reason is not None
        assert closed.value.reason.code == 1009

    assert lost.value.close_code == 1009


async def test_a_message_that_announces_too_much_is_refused_at_once_and_nothing_more_is_read() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        """Sends on and on, within an announced message, to a peer that hears of it in its close code."""
        async with trio.open_nursery() as nursery:
            connection = await (await wrap_server_stream(nursery, stream)).accept()
            await stream.send_all(b"\x82\x7f" + (1 << 40).to_bytes(8, "big"))
            with pytest.raises(ConnectionClosed) as closed:
                await connection.get_message()
            assert closed.value.reason is not None
            codes.append(closed.value.reason.code)
            try:
                while True:
                    await stream.send_all(bytes(100_000))
                    sent.append(100_000)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            nursery.cancel_scope.cancel()

    codes: list[int] = []
    sent: list[int] = []
    async with tcp_server(serve) as port, dialled(port) as client:
        with trio.fail_after(5), pytest.raises(LegLost, match="1009"):
            await client.receive()
        with pytest.raises(LegLost):
            await client.send("too late")
        await trio.sleep(0.1)
    assert codes == [1009]
    assert sum(sent) < 20_000_000, "what the buffers of the kernel take"


async def test_among_a_flood_of_empty_fragments_others_have_their_turn(autojump_clock: MockClock) -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with connected() as (client, _, far), trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        nursery.start_soon(far.send_all, b"\x01\x00" + b"\x00\x00" * 1000 + b"\x80\x01x")
        assert await client.receive() == "x"
        nursery.cancel_scope.cancel()
    assert turns >= 1000 // FRAMES_PER_TURN


async def test_a_refusal_that_never_ends_is_not_read_for_long() -> None:
    sent = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal sent
        await stream.receive_some()
        with suppress(trio.BrokenResourceError):
            await stream.send_all(b"HTTP/1.1 403 No\r\n\r\n")
            while True:
                await stream.send_all(bytes(100_000))
                sent += 100_000

    assert "HTTP 403" in await refused_by(serve, timeout_s=5)
    assert sent < 20_000_000, "what the buffers of the kernel take"


async def test_what_the_peer_says_together_with_its_answer_is_heard() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        request = bytes(await stream.receive_some())
        lines = b"HTTP/1.1 101\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        token = generate_accept_token(_websocket_key(request))
        await stream.send_all(lines + b"Sec-WebSocket-Accept: " + token + b"\r\n\r\n\x81\x05hello\x81\x03")
        await stream.send_all(b"you")
        await stream.receive_some()

    async with tcp_server(serve) as port, dialled(port) as client:
        with trio.fail_after(5):
            assert [await client.receive(), await client.receive()] == ["hello", "you"]


async def test_broken_framing_is_lost_not_closed(autojump_clock: MockClock) -> None:
    async with connected() as (client, _, far):
        await far.send_all(b"\xff\xff\xff\xff")
        with pytest.raises(LegLost, match="1002"):
            await client.receive()


ENDINGS = {
    "goodbye": b"\x88\x02\x03\xe9",
    "a reserved bit": b"\xc1\x00",
    "a message too long": b"\x82\x7f" + (MESSAGE_MAX_BYTES + 1).to_bytes(8, "big") + bytes(MESSAGE_MAX_BYTES + 1),
    "the end of the stream": b"",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
async def test_who_is_sending_learns_of_any_ending_by_leg_lost(ending: bytes, autojump_clock: MockClock) -> None:
    """The library raises one error of its own then, and none of the libraries below it."""
    async with connected() as (client, _, far), trio.open_nursery() as nursery:
        if ending:
            nursery.start_soon(far.send_all, ending)
        else:
            far.send_stream.close()
        with trio.fail_after(5), pytest.raises(LegLost):
            await send_on_and_on(client)


async def send_on_and_on(client: Link) -> None:
    while True:
        await client.send("on and on")


async def test_a_ping_that_meets_our_goodbye_crashes_nothing(autojump_clock: MockClock) -> None:
    """The library cannot answer it any more, and would raise from its reader."""
    async with connected() as (client, _, far), trio.open_nursery() as nursery:
        nursery.start_soon(client.close)
        await far.send_all(b"\x89\x00")


async def test_the_peers_goodbye_reaches_a_sender_as_leg_lost(autojump_clock: MockClock) -> None:
    async with connected() as (client, peer, _):
        await peer.aclose(1001, "going away")
        with pytest.raises(LegClosed) as closed:
            await client.receive()
        assert (closed.value.close_code, closed.value.reason) == (1001, "going away")
        with pytest.raises(LegLost):
            await client.send("too late")
        with pytest.raises(LegLost):
            await client.ping(1)


async def test_100_connections_in_every_kind_of_ending_leave_nothing() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        with trio.move_on_after(2):
            await answer(stream)

    async def answer(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            connection = await (await wrap_server_stream(nursery, stream)).accept()
            how = await connection.get_message()
            if how == "close":
                await connection.aclose()
            elif how == "drop":
                await stream.aclose()
            else:
                with pytest.raises(ConnectionClosed):
                    await connection.get_message()
            nursery.cancel_scope.cancel()

    async with tcp_server(serve) as port:
        before = await resources()
        for number in range(100):
            async with open_client_socket(f"ws://127.0.0.1:{port}/", connect_timeout_s=5) as client:
                how = ("close", "drop", "leave")[number % 3]
                await client.send(how)
                if how != "leave":
                    with pytest.raises((LegClosed, LegLost)):
                        await client.receive()
        for _ in range(20):
            with pytest.raises(LegLost):
                async with open_client_socket(f"wss://127.0.0.1:{port}/", connect_timeout_s=5):
                    pass
        await resources_return_to(before)
