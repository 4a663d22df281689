"""A caller's leg whose messages can be read off: the real outbox, on a socket in memory."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
from trio.testing import wait_all_tasks_blocked

from relay.call.caller.leg import CallerEvent
from relay.logic.caller.reorder import ReorderStatistics
from relay.media.frames import TELEPHONE, AudioFormat
from relay.net.outbox import Outbox, TurnFence
from relay.net.sockets import Found
from tests.support.sockets import MemoryPeer, memory_socket_pair


class NoFence:
    """Lets everything through."""

    def is_stale(self, turn: int) -> bool:
        return False


class CallerSide:
    """A CallerLeg. `peer` is the far side; `arrived` is what it has got, each with its time in ms since the start.

    Audio is sent as it is, a mark as "mark <turn>:<position>", a clear as "clear".
    """

    format: AudioFormat = TELEPHONE
    joins_frames = True

    def __init__(self, outbox: Outbox, peer: MemoryPeer) -> None:
        self.outbox = outbox
        self.peer = peer
        self.arrived: list[tuple[int, str | bytes]] = []
        self._began_at = trio.current_time()

    def order(self) -> ReorderStatistics:
        return ReorderStatistics()

    async def receive_each(self, take: Callable[[CallerEvent], Found | None]) -> Found:
        return await trio.sleep_forever()

    def audio(self, data: bytes) -> bytes:
        return data

    def mark(self, turn: int, position_ms: int) -> str:
        return f"mark {turn}:{position_ms}"

    def clear(self) -> str:
        return "clear"

    @property
    def audio_ms(self) -> list[int]:
        """When each frame of audio came."""
        return [at_ms for at_ms, message in self.arrived if isinstance(message, bytes)]

    @property
    def audio_got(self) -> list[bytes]:
        return [message for _, message in self.arrived if isinstance(message, bytes)]

    @property
    def control_got(self) -> list[str]:
        """The marks and clears."""
        return [message for _, message in self.arrived if isinstance(message, str)]

    async def listen(self) -> None:
        while True:
            message = await self.peer.receive()
            self.arrived.append((round((trio.current_time() - self._began_at) * 1000), message))


@asynccontextmanager
async def open_caller_side(fence: TurnFence, *, capacity: int = 3) -> AsyncIterator[CallerSide]:
    """A leg with its writer at work, from the first line of the context to the last."""
    socket, peer = memory_socket_pair()
    side = CallerSide(Outbox(socket, capacity=capacity, fence=fence), peer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(side.outbox.run, 60.0)
        nursery.start_soon(side.listen)
        await wait_all_tasks_blocked()
        yield side
        nursery.cancel_scope.cancel()
