"""Who may connect how often and how many at once, and who makes room; over real connections."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio

from relay.daemon import connections
from relay.net.transport import USER_TIMEOUT_MS
from tests.support.clients import (
    ONE,
    OTHER,
    TRIED,
    answer_of,
    asked,
    first_answer,
    front,
    headers,
    limited,
    named,
    status_of_socket,
)
from tests.support.frontrig import SID, FrontRig, connected, start
from tests.support.peers import dialled

RECEIVE_BUFFER_BYTES = 4096


@pytest.mark.parametrize(
    ("limits", "status", "code", "limit"),
    [
        ({"connections": 3}, 503, "BUSY", "connections"),
        ({"connections_per_address": 3}, 429, "TOO_MANY_AT_ONCE", "connections_per_address"),
    ],
)
async def test_a_connection_too_many_is_told_so_and_closed(
    limits: dict[str, int], status: int, code: str, limit: str
) -> None:
    async with front(proxies=(), **limits) as rig, AsyncExitStack() as stack:
        held = [await stack.enter_async_context(dialled(rig.port, path="/client", headers=headers(ONE)))]
        for _ in range(2):
            await stack.enter_async_context(dialled(rig.port, path="/client", headers=headers(ONE)))
        async with await trio.open_tcp_stream("127.0.0.1", rig.port) as stream:
            assert await answer_of(stream) == (status, code)
            assert await stream.receive_some() == b""
        assert limited(rig) == {limit: 1}

        await held[0].close()
        await trio.testing.wait_all_tasks_blocked(0.05)
        async with await trio.open_tcp_stream("127.0.0.1", rig.port) as stream:
            assert await asked(stream) == (404, "NOT_FOUND")


async def test_a_connection_too_soon_is_told_so_and_closed_and_nothing_of_it_is_read() -> None:
    keys = {"max_calls": 1, "new_connections_burst": 1, "new_connections_per_s": 1.0}
    async with front(proxies=(), **keys) as rig, AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", rig.port)) for _ in range(TRIED)
        ]
        assert await first_answer(streams) == (429, "TOO_MANY_REQUESTS")
        assert set(limited(rig)) == {"new_connections"}


async def test_when_strangers_are_too_many_the_one_that_waits_longest_without_a_whole_head_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "WAITS_MIN_S", 0.0)
    async with front(proxies=(), connections=4) as rig, AsyncExitStack() as stack:

        async def new() -> trio.SocketStream:
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", rig.port))
            await trio.testing.wait_all_tasks_blocked(0.05)
            return stream

        answered_lately, slow, silent = await new(), await new(), await new()
        await slow.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert await asked(answered_lately) == (404, "NOT_FOUND")
        await stack.enter_async_context(dialled(rig.port, path="/client", headers=headers(ONE)))

        for made_room in (slow, silent, answered_lately):
            assert await asked(await new()) == (404, "NOT_FOUND")
            with trio.fail_after(1):
                assert await made_room.receive_some() == b""
        assert limited(rig) == {"connections": 3}


async def test_who_does_not_take_its_answers_makes_room_as_who_does_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut at once, though what is sent to it is shielded from that."""
    monkeypatch.setattr(connections, "WAITS_MIN_S", 0.1)
    async with front(proxies=(), connections=1) as rig, not_reading(rig.port) as peer:
        with trio.fail_after(USER_TIMEOUT_MS / 1000):
            while await tried(rig) == (503, "BUSY"):  # noqa: ASYNC110 - a test has no event for this
                await trio.sleep(0.1)
            left = 0
            with suppress(ConnectionResetError):
                while data := await peer.recv(10_000):
                    left += len(data)
            assert left <= 2 * RECEIVE_BUFFER_BYTES  # which the kernel doubles (socket(7))


@asynccontextmanager
async def not_reading(port: int) -> AsyncIterator[trio.socket.SocketType]:
    """A peer that asks for more than the relay reads at once, and reads nothing by itself."""
    with trio.socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        await peer.connect(("127.0.0.1", port))
        await peer.send(b"GET /web/relay-client.js HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        yield peer


async def tried(rig: FrontRig) -> tuple[int, str]:
    """The answer to a request for nothing on a new connection, or to the connection."""
    async with await trio.open_tcp_stream("127.0.0.1", rig.port) as stream:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return await answer_of(stream)


@pytest.mark.parametrize("proxies", [(), ("127.0.0.1",)])
async def test_the_socket_of_a_session_leaves_its_place_to_the_next_stranger(proxies: tuple[str, ...]) -> None:
    async with (
        front(proxies=proxies, connections=1, connections_per_address=1) as rig,
        dialled(rig.port, path="/client", headers=headers(ONE)) as session,
    ):
        await session.send('{"type": "start"}')
        assert '"ready"' in str(await session.receive())
        async with dialled(rig.port, path="/client", headers=headers(ONE)) as another:
            await another.send('{"type": "start"}')
            assert '"ready"' in str(await another.receive())
        assert limited(rig) == {}


async def test_the_socket_of_a_telephone_call_leaves_its_place_to_the_next_stranger() -> None:
    async with front(proxies=(), connections=1, connections_per_address=1) as rig:
        token = await rig.token()
        await rig.http.aclose()
        await trio.testing.wait_all_tasks_blocked(0.05)
        async with rig.socket() as media:
            await media.send(connected())
            await media.send(start(token))
            with trio.fail_after(5):
                while not (  # noqa: ASYNC110 - a test has no event for this
                    (call := rig.calls.find(SID)) and call.summary()["caller_attached"]
                ):
                    await trio.sleep(0.01)
            async with await trio.open_tcp_stream("127.0.0.1", rig.port) as stream:
                assert await asked(stream) == (404, "NOT_FOUND")
        assert limited(rig) == {}


async def test_behind_a_proxy_requests_and_sockets_are_the_clients_connections() -> None:
    async with front(connections_per_address=3) as rig, AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(dialled(rig.port, path="/client", headers=headers(ONE)))
        answer = await rig.http.get("/health", headers=named(ONE))

        assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_AT_ONCE")
        assert await status_of_socket(rig, ONE) == 429
        assert (await rig.http.get("/health", headers=named(OTHER))).status_code == 200
        assert limited(rig) == {"connections_per_address": 2}


async def test_one_client_cannot_take_all_places_of_sockets_that_have_not_begun() -> None:
    async with front(unstarted_sockets=3, unstarted_sockets_per_address=2) as rig, AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(dialled(rig.port, path="/client", headers=headers(ONE)))
        assert await status_of_socket(rig, ONE) == 429
        await stack.enter_async_context(dialled(rig.port, path="/client", headers=headers(OTHER)))
        assert await status_of_socket(rig, "198.51.100.3") == 503
        assert limited(rig) == {"unstarted_sockets_per_address": 1, "unstarted_sockets": 1}
