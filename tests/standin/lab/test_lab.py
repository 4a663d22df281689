"""The lab between a real client and a real server on loopback: what each thing that happens does to both sides."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from relay.errors import LegClosed, LegLost
from relay.net.client_socket import open_client_socket
from relay.net.link.link import Link
from relay.standin.lab import CLEAN, Lab, LinkConditions, NetworkEvent, Schedule, open_lab
from relay.standin.lab.lab import Happened
from tests.support.leaks import resources, resources_return_to
from tests.support.peers import serving, websocket_app

LIMIT_S = 30.0
"""Only a failure takes so long."""


@dataclass
class Server:
    """Echoes; keeps what came in and how each connection ended."""

    received: list[bytes] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    talking: trio.Event = field(default_factory=trio.Event)

    async def serve(self, stream: trio.SocketStream) -> None:
        try:
            async for data in stream:
                self.received.append(bytes(data))
                await stream.send_all(data)
        except trio.BrokenResourceError:
            self.ended.append("reset")
        else:
            self.ended.append("closed")


@asynccontextmanager
async def between(schedule: Schedule = CLEAN) -> AsyncIterator[tuple[Lab, trio.SocketStream, Server]]:
    """A client that is connected through a lab to an echoing server."""
    server = Server()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_listeners, server.serve, listeners))
        target = listeners[0].socket.getsockname()
        with trio.fail_after(LIMIT_S):
            async with open_lab(target, schedule) as lab, await trio.open_tcp_stream("127.0.0.1", lab.port) as client:
                yield lab, client, server
        nursery.cancel_scope.cancel()


async def echoed(client: trio.SocketStream, data: bytes) -> bytes:
    await client.send_all(data)
    answer = b""
    while len(answer) < len(data) and (part := await client.receive_some()):
        answer += part
    return answer


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what other tasks do to sockets has no event
        await trio.sleep(0.005)


async def silent(client: trio.SocketStream, for_s: float) -> bool:
    with trio.move_on_after(for_s):
        await client.receive_some()
        return False
    return True


async def test_on_a_clean_network_everything_arrives_both_ways() -> None:
    data = bytes(range(256)) * 2000
    async with between() as (lab, client, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, data)
            answer = b""
            while len(answer) < len(data):
                answer += await client.receive_some()

        assert answer == data
        await until(lambda: lab.statistics().up_bytes == lab.statistics().down_bytes == len(data))


async def test_a_delay_is_had_each_way() -> None:
    async with between(Schedule(LinkConditions(delay_ms=50))) as (_, client, _server):
        began = trio.current_time()
        assert await echoed(client, b"ping") == b"ping"

        assert trio.current_time() - began >= 0.1


async def test_a_drop_is_a_reset_for_both_sides() -> None:
    async with between() as (lab, client, server):
        assert await echoed(client, b"here") == b"here"
        assert lab.drop() == 1
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some()
        await until(lambda: server.ended == ["reset"])


async def test_while_a_drop_lasts_nobody_can_connect() -> None:
    async with between() as (lab, client, _):
        await echoed(client, b"here")
        lab.drop(for_s=LIMIT_S)
        with pytest.raises(trio.BrokenResourceError):
            async with await trio.open_tcp_stream("127.0.0.1", lab.port) as refused:
                await refused.receive_some()

        assert lab.statistics().refused == 1


async def test_who_connects_while_nobody_may_is_reset_and_the_others_go_on() -> None:
    async with between() as (lab, client, _):
        await echoed(client, b"here")
        assert lab.refuse(for_s=LIMIT_S) == 1
        with pytest.raises(trio.BrokenResourceError):
            async with await trio.open_tcp_stream("127.0.0.1", lab.port) as refused:
                await refused.receive_some()

        assert await echoed(client, b"still") == b"still"
        assert lab.statistics().refused == 1


async def test_a_close_is_the_end_of_the_stream_for_both_sides() -> None:
    async with between() as (lab, client, server):
        await echoed(client, b"here")
        assert lab.close() == 1
        assert await client.receive_some() == b""
        await until(lambda: server.ended == ["closed"])


async def test_after_a_drop_one_can_connect_again() -> None:
    async with between() as (lab, client, _):
        await echoed(client, b"here")
        lab.drop(for_s=0.1)
        await trio.sleep(0.11)
        async with await trio.open_tcp_stream("127.0.0.1", lab.port) as again:
            assert await echoed(again, b"back") == b"back"


async def test_a_half_open_connection_takes_everything_and_gives_nothing() -> None:
    async with between() as (lab, client, server):
        await echoed(client, b"here")
        assert lab.half_open() == 1
        await client.send_all(b"lost" * 100_000)

        assert await silent(client, 0.1)
        assert b"".join(server.received) == b"here"
        await client.aclose()
        await trio.sleep(0.05)
        assert server.ended == []


async def test_a_stall_delays_everything_and_loses_nothing() -> None:
    async with between() as (lab, client, _):
        await echoed(client, b"here")
        began = trio.current_time()
        lab.stall(0.2)
        assert await echoed(client, b"late") == b"late"

        assert trio.current_time() - began >= 0.2


async def test_a_stall_is_felt_by_a_sender_in_the_end() -> None:
    async with between() as (lab, client, _):
        await echoed(client, b"here")
        lab.stall(LIMIT_S)
        with trio.move_on_after(0.3) as limit:
            await client.send_all(bytes(50_000_000))

        assert limit.cancelled_caught


async def test_a_slow_network_is_slow_each_way() -> None:
    async with between() as (lab, client, _):
        await echoed(client, b"here")
        lab.slow(for_s=LIMIT_S, kbit_s=80)
        began = trio.current_time()
        await echoed(client, bytes(1000))

        assert trio.current_time() - began >= 0.2


async def test_when_one_side_ends_the_other_hears_of_it() -> None:
    async with between() as (lab, client, server):
        await echoed(client, b"here")
        await client.send_eof()
        assert await client.receive_some() == b""
        await until(lambda: lab.journal[-1].what == "disconnected")

        assert server.ended == ["closed"]


async def test_a_server_that_is_not_there_is_a_reset() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    target = listeners[0].socket.getsockname()
    await listeners[0].aclose()
    async with open_lab(target) as lab, await trio.open_tcp_stream("127.0.0.1", lab.port) as client:
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(LIMIT_S):
            await client.receive_some()


async def test_the_schedule_happens_over_and_over_and_is_in_the_journal(autojump_clock: MockClock) -> None:
    events = (NetworkEvent(0.1, "stall", 0.01), NetworkEvent(0.3, "slow", 0.1, 500), NetworkEvent(0.5, "drop"))
    told: list[Happened] = []
    async with open_lab(("127.0.0.1", 9), Schedule(LinkConditions(), events, length_s=1), tell=told.append) as lab:
        await trio.sleep(1.9)
        journal = list(lab.journal)

    assert journal == told[: len(journal)]
    assert [happened.what for happened in journal] == ["stall for 0.01 s", "slow for 0.1 s, 500 kbit/s", "drop"] * 2
    assert [happened.at_s for happened in journal] == [0.1, 0.3, 0.5, 1.1, 1.3, 1.5]


async def test_a_lab_that_is_left_leaves_nothing() -> None:
    before = await resources()
    for trouble in (Lab.drop, Lab.close, Lab.half_open, lambda lab: lab.stall(LIMIT_S)):
        async with between(Schedule(LinkConditions(delay_ms=5))) as (lab, client, _):
            await echoed(client, b"here")
            await client.send_all(b"under way")
            trouble(lab)
    await resources_return_to(before)


@asynccontextmanager
async def websocket(schedule: Schedule, handler: Callable[..., Awaitable[None]]) -> AsyncIterator[Link]:
    """A client's WebSocket that goes through a lab to the handler."""
    async with serving(websocket_app(handler)) as port, open_lab(("127.0.0.1", port), schedule) as lab:
        with trio.fail_after(LIMIT_S):
            async with open_client_socket(f"ws://127.0.0.1:{lab.port}/media", connect_timeout_s=LIMIT_S) as client:
                yield client


async def test_websocket_messages_overtake_each_other_whole_and_none_is_lost() -> None:
    sent = [f"message {number} " + "x" * number for number in range(300)]

    async def echo(asgi: object) -> None:
        try:
            while True:
                await asgi.send(await asgi.receive())  # type: ignore[attr-defined]
        except LegLost:
            pass

    async with websocket(Schedule(LinkConditions(reorder_share=0.1, reorder_ms=30), seed=4), echo) as client:
        received: list[str | bytes] = []
        async with trio.open_nursery() as nursery:

            async def talk() -> None:
                for message in sent:
                    await client.send(message)

            nursery.start_soon(talk)
            while len(received) < len(sent):
                received.append(await client.receive())

    assert received != sent
    assert sorted(map(str, received)) == sorted(sent)


async def test_a_goodbye_comes_last() -> None:
    async def speak_and_leave(asgi: object) -> None:
        for number in range(20):
            await asgi.send(f"{number}")  # type: ignore[attr-defined]
        await asgi.close(4001)  # type: ignore[attr-defined]

    async with websocket(Schedule(LinkConditions(reorder_share=0.5, reorder_ms=50), seed=4), speak_and_leave) as client:
        received = [await client.receive() for _ in range(20)]
        with pytest.raises(LegClosed) as closed:
            await client.receive()

    assert closed.value.close_code == 4001
    assert sorted(map(str, received)) == sorted(str(number) for number in range(20))
