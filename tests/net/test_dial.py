"""Reaching a peer: the parts of its address, what is said when it cannot be reached, and that nothing stays open."""

import errno
import socket

import pytest
import trio

from relay.errors import LegLost
from relay.net.dial import Target, dial
from relay.net.transport import USER_TIMEOUT_MS
from tests.support.leaks import resources, resources_return_to


@pytest.mark.parametrize(
    ("url", "target", "host_header"),
    [
        ("ws://a.test", Target("a.test", 80, "/", secure=False), "a.test"),
        ("wss://a.test/x/y?t=1&u", Target("a.test", 443, "/x/y?t=1&u", secure=True), "a.test"),
        ("wss://a.test:443/", Target("a.test", 443, "/", secure=True), "a.test"),
        ("wss://a.test:80/", Target("a.test", 80, "/", secure=True), "a.test:80"),
        ("ws://a.test:443/", Target("a.test", 443, "/", secure=False), "a.test:443"),
        ("ws://A.Test:8080/X", Target("a.test", 8080, "/X", secure=False), "a.test:8080"),
        ("wss://[::1]?t=1", Target("::1", 443, "/?t=1", secure=True), "[::1]"),
        ("ws://user:word@a.test/x#part", Target("a.test", 80, "/x", secure=False), "a.test"),
    ],
)
def test_an_address_has_these_parts(url: str, target: Target, host_header: str) -> None:
    assert Target.parse(url) == target
    assert target.host_header == host_header


@pytest.mark.parametrize(
    "url",
    [
        *("", "secret", "http://a/secret", "wss://", "ws:///secret", "ws://a:port/secret", "ws://a:99999/", "ws://[a/"),
        *("ws://a/secret\u00e9", "ws://a/sec ret", "ws://a/secret\x01", "ws://a/?t=secret\x7f"),
    ],
)
def test_what_is_no_address_is_lost_without_being_quoted(url: str) -> None:
    with pytest.raises(LegLost) as lost:
        Target.parse(url)

    assert str(lost.value) == "not a WebSocket address"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "secret"), "name not found"),
        (OSError(errno.ENETUNREACH, "secret"), "ENETUNREACH"),
        (OSError("secret"), "unreachable"),
    ],
)
async def test_the_reason_is_told_in_the_words_of_the_system_with_the_host_only(
    error: OSError, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(host: str, port: int) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        raise error

    monkeypatch.setattr(trio, "open_tcp_stream", fail)
    with pytest.raises(LegLost) as lost:
        await dial(Target.parse("ws://a.test/secret"), None)

    assert str(lost.value) == f"a.test: no connection ({reason})"


@pytest.mark.parametrize("host", ["a..test", "a" * 64 + ".test", "\u200d"])
async def test_a_host_that_can_be_no_name_is_lost(host: str) -> None:
    with pytest.raises(LegLost) as lost:
        await dial(Target.parse(f"wss://{host}/secret"), None)

    assert str(lost.value) == f"{host}: no connection (not a name)"


async def test_the_reason_of_several_attempts_is_that_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may have several addresses; trio then raises an error that was caused by a group."""
    attempts = ExceptionGroup("attempts", [OSError(errno.ECONNREFUSED, ""), OSError(errno.ENETUNREACH, "")])

    async def fail(host: str, port: int) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        raise OSError("all attempts failed") from attempts

    monkeypatch.setattr(trio, "open_tcp_stream", fail)
    with pytest.raises(LegLost, match="ECONNREFUSED"):
        await dial(Target.parse("ws://a.test/secret"), None)


@pytest.fixture
def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


async def test_a_connection_is_guarded_against_a_peer_that_is_gone(listener: socket.socket) -> None:
    with listener:
        stream = await dial(Target.parse(f"ws://127.0.0.1:{listener.getsockname()[1]}/"), None)
        assert isinstance(stream, trio.SocketStream)
        async with stream:
            assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == USER_TIMEOUT_MS


async def test_a_peer_that_breaks_the_tls_handshake_is_lost(listener: socket.socket) -> None:
    with listener:
        target = Target.parse(f"wss://127.0.0.1:{listener.getsockname()[1]}/secret")
        before = await resources()

        async def hang_up() -> None:
            accepted, _ = await trio.to_thread.run_sync(listener.accept)
            accepted.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang_up)
            with pytest.raises(LegLost, match=r"^127\.0\.0\.1: TLS failed \("):
                await dial(target, None)
        await resources_return_to(before)


async def test_cancelled_in_the_tls_handshake_nothing_stays_open(listener: socket.socket) -> None:
    with listener:
        target = Target.parse(f"wss://127.0.0.1:{listener.getsockname()[1]}/")
        before = await resources()
        with trio.move_on_after(0.1) as limit:
            await dial(target, None)

        assert limit.cancelled_caught
        await resources_return_to(before)
