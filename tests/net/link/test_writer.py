"""LinkWriter: frames leave whole and in order, and nothing leaves behind one that was cut off."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Message
from wsproto.events import Pong as WsprotoPong

from relay.errors import LegLost
from relay.net.link.fragments import MessageBounds
from relay.net.link.pace import OF_A_CALL
from relay.net.link.prompt_stream import PromptStream
from relay.net.link.protocol import Side, WebSocketProtocol
from relay.net.link.writer import LinkWriter
from tests.support.raw_frames import FIN, PING, raw_frame
from tests.support.streams import narrow_pair

LONG = "x" * 200_000
"""More than the kernel takes at once."""


@dataclass
class Rig:
    """`failures` counts how often the writer said that it failed."""

    protocol: WebSocketProtocol
    writer: LinkWriter
    far: trio.SocketStream
    failures: list[None] = field(default_factory=list)

    def ask(self) -> None:
        """The peer sends a ping, which is read."""
        self.protocol.feed(raw_frame(FIN | PING, b"there?", masked=True))
        self.protocol.next_event(trio.current_time())

    async def heard(self, count: int) -> list[object]:
        """So many messages and answers, as another library reads them."""
        peer, heard = Connection(ConnectionType.CLIENT), list[object]()
        text = ""
        while len(heard) < count:
            peer.receive_data(bytes(await self.far.receive_some()))
            for event in peer.events():
                match event:
                    case Message():
                        text += event.data
                        if event.message_finished:
                            heard.append(text)
                            text = ""
                    case WsprotoPong():
                        heard.append(bytes(event.payload))
                    case CloseConnection():
                        heard.append(event.code)
        return heard


@asynccontextmanager
async def open_rig() -> AsyncIterator[Rig]:
    protocol = WebSocketProtocol(Side.SERVER, MessageBounds(1000, 1000), OF_A_CALL)
    failures: list[None] = []
    with narrow_pair() as (near, far):
        writer = LinkWriter(PromptStream(near), protocol, "peer", failed=lambda: failures.append(None))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            with trio.fail_after(5):
                yield Rig(protocol, writer, far, failures)
            nursery.cancel_scope.cancel()


async def test_a_message_that_the_kernel_takes_in_part_is_written_on() -> None:
    async with open_rig() as rig:
        assert rig.writer.write_now(LONG)
        assert not rig.writer.has_written_all
        assert not rig.writer.write_now("second"), "the first has to be whole"
        assert await rig.heard(1) == [LONG]
        await wait_all_tasks_blocked()
        assert rig.writer.has_written_all


async def test_what_the_peer_asks_for_is_answered_behind_a_frame_that_is_under_way() -> None:
    async with open_rig() as rig, trio.open_nursery() as nursery:
        nursery.start_soon(rig.writer.write, partial(rig.protocol.message, LONG))
        await wait_all_tasks_blocked()
        rig.ask()
        rig.writer.answer()
        assert await rig.heard(2) == [LONG, b"there?"]


async def test_while_nothing_is_under_way_the_peer_is_answered_at_once() -> None:
    async with open_rig() as rig:
        rig.ask()
        rig.writer.answer()
        assert rig.writer.has_written_all
        assert await rig.heard(1) == [b"there?"]


async def test_behind_a_goodbye_nothing_is_written() -> None:
    async with open_rig() as rig:
        await rig.writer.write(partial(rig.protocol.goodbye, 1000))
        assert not rig.writer.write_now("more")
        with pytest.raises(LegLost, match="peer: socket closed"):
            await rig.writer.write(partial(rig.protocol.message, "more"))
        assert await rig.heard(1) == [1000]


async def test_behind_a_frame_that_was_cut_off_nothing_is_written() -> None:
    async with open_rig() as rig:
        with trio.move_on_after(0.01):
            await rig.writer.write(partial(rig.protocol.message, LONG))
        assert not rig.writer.write_now("more")
        with pytest.raises(LegLost, match="peer: socket lost"):
            await rig.writer.write(partial(rig.protocol.message, "more"))
        rig.ask()
        rig.writer.answer()
        assert not rig.writer.has_written_all
        assert not rig.failures


async def test_a_write_that_fails_is_told_and_is_the_last_once_that_is_known() -> None:
    async with open_rig() as rig:
        await rig.far.aclose()
        with pytest.raises(LegLost, match="peer: connection lost"):
            await rig.writer.write(partial(rig.protocol.message, LONG))
        assert rig.failures == [None]
        rig.writer.gone = True
        assert not rig.writer.write_now("more")
        assert not rig.writer.has_written_all
