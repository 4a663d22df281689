"""The contract of MessageSocket, held by the real sockets and by the fake that stands for them elsewhere."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import pytest
import trio
from trio.testing import memory_stream_pair
from trio_websocket import wrap_server_stream

from relay.errors import LegClosed, LegLost
from relay.net.asgi_socket import AsgiSocket
from relay.net.client_socket import client_socket_over
from relay.net.dial import Target
from relay.net.sockets import MessageSocket
from tests.support.peers import WebSocketPeer, dialled, serving, websocket_app
from tests.support.sockets import MemoryPeer, memory_socket_pair


class Peer(Protocol):
    async def send(self, message: str | bytes) -> None: ...
    async def receive(self) -> str | bytes: ...
    async def close(self, code: int = 1000, reason: str = "") -> None: ...
    async def lose(self) -> None: ...


class AsyncMemoryPeer:
    def __init__(self, peer: MemoryPeer) -> None:
        self.peer = peer

    async def send(self, message: str | bytes) -> None:
        self.peer.send(message)

    async def receive(self) -> str | bytes:
        return await self.peer.receive()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.peer.close(code, reason)

    async def lose(self) -> None:
        self.peer.lose()


Pair = AbstractAsyncContextManager[tuple[MessageSocket, Peer]]


@asynccontextmanager
async def memory_pair() -> AsyncIterator[tuple[MessageSocket, Peer]]:
    socket, peer = memory_socket_pair()
    yield socket, AsyncMemoryPeer(peer)


@asynccontextmanager
async def asgi_pair() -> AsyncIterator[tuple[MessageSocket, Peer]]:
    lent: list[AsgiSocket] = []
    here, done = trio.Event(), trio.Event()

    async def lend(asgi: AsgiSocket) -> None:
        lent.append(asgi)
        here.set()
        await done.wait()

    async with serving(websocket_app(lend)) as port, dialled(port) as peer:
        await here.wait()
        yield lent[0], peer
        done.set()


@asynccontextmanager
async def client_pair() -> AsyncIterator[tuple[MessageSocket, Peer]]:
    near, far = memory_stream_pair()
    target = Target("assistant.test", 443, "/secret", secure=True)
    async with trio.open_nursery() as nursery:
        peers: list[WebSocketPeer] = []

        async def answer() -> None:
            request = await wrap_server_stream(nursery, far, message_queue_size=100)
            peers.append(WebSocketPeer(await request.accept(), far))

        nursery.start_soon(answer)
        async with client_socket_over(near, target, deadline=trio.current_time() + 5) as socket:
            yield socket, peers[0]
        nursery.cancel_scope.cancel()


PAIRS = {"memory": memory_pair, "asgi": asgi_pair, "client": client_pair}


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest) -> Pair:
    return PAIRS[request.param]()


MESSAGES: list[str | bytes] = ["text", "", b"\x00\xff", b"", "ü\U0001f600", b"x" * 60_000]


async def test_messages_pass_whole_and_in_order_both_ways(pair: Pair) -> None:
    async with pair as (socket, peer):
        for message in MESSAGES:
            await peer.send(message)
            await socket.send(message)
        received = [await socket.receive() for _ in MESSAGES]
        arrived = [await peer.receive() for _ in MESSAGES]
    assert received == MESSAGES
    assert arrived == MESSAGES


async def test_each_message_is_taken_until_something_is_found(pair: Pair) -> None:
    taken: list[str | bytes] = []

    def take(message: str | bytes) -> int | None:
        taken.append(message)
        return 7 if message == "last" else None

    def fail(message: str | bytes) -> None:
        raise KeyError(message)

    async with pair as (socket, peer):
        for message in [*MESSAGES, "last", "bad"]:
            await peer.send(message)
        assert await socket.receive_each(take) == 7
        with pytest.raises(KeyError, match="bad"):
            await socket.receive_each(fail)
        await peer.lose()
        with pytest.raises(LegLost):
            await socket.receive_each(take)
    assert taken == [*MESSAGES, "last"]


async def test_what_was_sent_before_a_goodbye_is_received_before_it(pair: Pair) -> None:
    async with pair as (socket, peer), trio.open_nursery() as nursery:
        await peer.send("last words")
        nursery.start_soon(peer.close, 4001, "bye")
        assert await socket.receive() == "last words"
        with pytest.raises((LegClosed, LegLost)) as ending:
            await socket.receive()
        if not isinstance(socket, AsgiSocket):  # hypercorn does not tell
            assert isinstance(ending.value, LegClosed)
            assert (ending.value.close_code, ending.value.reason) == (4001, "bye")
        with pytest.raises((LegClosed, LegLost)):
            await socket.receive()


async def test_a_lost_connection_ends_receive_with_leg_lost(pair: Pair) -> None:
    async with pair as (socket, peer):
        await peer.lose()
        with pytest.raises(LegLost):
            await socket.receive()


async def test_close_is_idempotent_and_everything_after_it_is_leg_lost(pair: Pair) -> None:
    async with pair as (socket, peer):
        await peer.send("never read")
        await socket.close()
        await socket.close(1011, "again")
        with pytest.raises(LegLost):
            await socket.receive()
        with pytest.raises(LegLost):
            await socket.send("too late")


async def test_close_ends_a_receive_under_way(pair: Pair) -> None:
    async def receive(socket: MessageSocket) -> None:
        with pytest.raises(LegLost):
            await socket.receive()

    async with pair as (socket, _), trio.open_nursery() as nursery:
        nursery.start_soon(receive, socket)
        await trio.testing.wait_all_tasks_blocked()
        await socket.close()


async def test_close_of_a_dead_peer_raises_nothing(pair: Pair) -> None:
    async with pair as (socket, peer):
        await peer.lose()
        await socket.close()


async def test_a_cancelled_receive_takes_no_message(pair: Pair) -> None:
    async with pair as (socket, peer):
        with trio.CancelScope() as scope:
            scope.cancel()
            await socket.receive()
        assert scope.cancelled_caught
        await peer.send("kept")
        assert await socket.receive() == "kept"


async def test_send_to_a_socket_known_to_be_lost_raises_and_lets_others_run(pair: Pair) -> None:
    async with pair as (socket, peer):
        await peer.lose()
        with pytest.raises(LegLost):
            await socket.receive()
        with trio.CancelScope() as scope:
            while True:
                with pytest.raises(LegLost), trio.testing.assert_checkpoints():
                    await socket.send("x")
                scope.cancel()
        assert scope.cancelled_caught


async def test_a_pending_cancellation_sends_nothing(pair: Pair) -> None:
    async with pair as (socket, peer):
        with trio.CancelScope() as scope:
            scope.cancel()
            await socket.send("not this")
        assert scope.cancelled_caught
        await socket.send("this")
        assert await peer.receive() == "this"
