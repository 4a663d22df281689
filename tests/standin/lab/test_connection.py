"""One connection through the lab, on a virtual clock: what each trouble does to what is under way and to both sides."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.standin.lab.connection import LabConnection
from relay.standin.lab.schedule import LinkConditions
from relay.standin.tcp import reset
from tests.support.streams import read_all, socket_pair, tcp_pair

SLOW_LINK = LinkConditions(delay_ms=100)


@dataclass
class Rig:
    """The two sides, and the lab's stall and speed."""

    client: trio.SocketStream
    server: trio.SocketStream
    connection: LabConnection
    stalled_until_s: float = 0.0
    kbit_s: float | None = None
    ended: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        await self.connection.run(lambda: self.stalled_until_s, lambda: self.kbit_s)
        self.ended.set()


@asynccontextmanager
async def connected(link: LinkConditions = SLOW_LINK) -> AsyncIterator[Rig]:
    """A client and a server with the lab between them; on leaving both go, and the connection must end."""
    client, client_side = socket_pair()
    server, server_side = socket_pair()
    rig = Rig(client, server, LabConnection(client_side, server_side, link, Random(1)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        async with client, server:
            yield rig


async def read(stream: trio.SocketStream, n_bytes: int) -> bytes:
    data = b""
    while len(data) < n_bytes:
        data += await stream.receive_some()
    return data


async def hears_nothing(stream: trio.SocketStream, for_s: float = 10.0) -> bool:
    """Whether neither data nor an end come for so long."""
    with trio.move_on_after(for_s):
        await stream.receive_some()
        return False
    return True


async def test_everything_arrives_both_ways_each_after_the_delay(autojump_clock: MockClock) -> None:
    async with connected() as rig:
        began_s = trio.current_time()
        await rig.client.send_all(b"up")
        assert await read(rig.server, 2) == b"up"
        up_s = trio.current_time() - began_s
        await rig.server.send_all(b"down")
        assert await read(rig.client, 4) == b"down"

        await wait_all_tasks_blocked()
        assert up_s == pytest.approx(0.1)
        assert trio.current_time() - began_s == pytest.approx(0.2)
        assert (rig.connection.up.n_bytes, rig.connection.down.n_bytes) == (2, 4)


async def test_when_one_side_ends_the_other_hears_it_after_the_data_and_can_still_answer(
    autojump_clock: MockClock,
) -> None:
    async with connected() as rig:
        await rig.client.send_all(b"question")
        await rig.client.send_eof()
        assert await read_all(rig.server) == b"question"
        await rig.server.send_all(b"answer")
        await rig.server.send_eof()
        assert await read_all(rig.client) == b"answer"
        await rig.ended.wait()


async def test_a_drop_loses_what_is_under_way_and_ends_both_sides(autojump_clock: MockClock) -> None:
    async with connected() as rig:
        await rig.client.send_all(b"lost")
        await wait_all_tasks_blocked()
        rig.connection.drop()
        await rig.ended.wait()

        assert await read_all(rig.server) == b""
        assert await read_all(rig.client) == b""


async def test_a_side_that_resets_the_connection_is_reset_on_the_other_side() -> None:
    async with tcp_pair() as (client, client_side), tcp_pair() as (server, server_side):
        connection = LabConnection(client_side, server_side, LinkConditions(), Random(1))
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.run, lambda: 0.0, lambda: None)
                await client.send_all(b"here")
                assert await read(server, 4) == b"here"
                reset(server)
                with pytest.raises(trio.BrokenResourceError):
                    await client.receive_some()


async def test_a_close_ends_both_sides_after_what_is_under_way(autojump_clock: MockClock) -> None:
    async with connected() as rig:
        await rig.client.send_all(b"last")
        await wait_all_tasks_blocked()
        rig.connection.close()
        await rig.client.send_all(b" too late")

        assert await read_all(rig.server) == b"last"
        assert await read_all(rig.client) == b""


async def test_of_a_half_open_connection_nothing_arrives_and_neither_side_is_told(autojump_clock: MockClock) -> None:
    async with connected() as rig:
        await rig.client.send_all(b"under way")
        await wait_all_tasks_blocked()
        rig.connection.half_open()
        await rig.client.send_all(bytes(1_000_000))

        assert await hears_nothing(rig.server)
        assert await hears_nothing(rig.client)


async def test_a_side_that_leaves_a_half_open_connection_is_not_missed(autojump_clock: MockClock) -> None:
    async with connected() as rig:
        rig.connection.half_open()
        await rig.client.aclose()

        assert await hears_nothing(rig.server)
        assert not rig.ended.is_set()
        await rig.server.aclose()
        await rig.ended.wait()


async def test_a_reset_of_a_half_open_connection_is_not_passed_on() -> None:
    async with tcp_pair() as (client, client_side), tcp_pair() as (server, server_side):
        connection = LabConnection(client_side, server_side, LinkConditions(), Random(1))
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(connection.run, lambda: 0.0, lambda: None)
                connection.half_open()
                reset(client)
                while not connection.up.ended:  # noqa: ASYNC110 - the lab has no event for it
                    await trio.sleep(0.001)

                assert await hears_nothing(server, 0.05)
                connection.drop()


async def test_a_half_open_connection_can_be_dropped(autojump_clock: MockClock) -> None:
    async with connected() as rig:
        rig.connection.half_open()
        rig.connection.drop()
        await rig.ended.wait()

        assert await read_all(rig.server) == b""


async def test_during_a_stall_everything_waits_and_then_comes_at_once(autojump_clock: MockClock) -> None:
    async with connected() as rig:
        rig.stalled_until_s = trio.current_time() + 5
        for part in (b"a", b"b", b"c"):
            await rig.client.send_all(part)
            await trio.sleep(0.5)
        assert await hears_nothing(rig.server, 3)

        assert await read(rig.server, 3) == b"abc"
        assert trio.current_time() == pytest.approx(rig.stalled_until_s)


async def test_a_stall_that_begins_is_felt_by_what_is_under_way(autojump_clock: MockClock) -> None:
    async with connected() as rig:
        await rig.client.send_all(b"a")
        await wait_all_tasks_blocked()
        rig.stalled_until_s = trio.current_time() + 5
        rig.connection.wake()

        assert await read(rig.server, 1) == b"a"
        assert trio.current_time() == pytest.approx(rig.stalled_until_s)


async def test_a_slow_network_takes_its_time_each_way(autojump_clock: MockClock) -> None:
    async with connected(LinkConditions()) as rig:
        rig.kbit_s = 80
        began_s = trio.current_time()
        await rig.client.send_all(bytes(1000))
        await read(rig.server, 1000)
        await rig.server.send_all(bytes(500))
        await read(rig.client, 500)

        assert trio.current_time() - began_s == pytest.approx(0.15)


async def test_a_full_network_takes_no_more_and_loses_nothing(autojump_clock: MockClock) -> None:
    """The sender has to wait, as behind a full buffer, until something has arrived."""
    sent = bytes(range(256)) * 8192
    async with connected(LinkConditions(delay_ms=1000)) as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.client.send_all, sent)
        await trio.sleep(0.9)
        assert (1 << 18) <= rig.connection.up.line.held_bytes <= (1 << 18) + 4096

        assert await read(rig.server, len(sent)) == sent
