"""A PromptSocket in memory, with the faults a real one can have. It passes the contract test of the real ones."""

import math
from collections.abc import Callable
from typing import NoReturn

import trio

from relay.errors import LegClosed, LegLost
from relay.net.sockets import Found, WantedAt

Message = str | bytes

SENDS_PER_TURN = 16
"""As the real ones: a message that is taken at once costs no round of the scheduler."""


class MemorySocket:
    """The side under test: a PromptSocket."""

    def __init__(self, peer: "MemoryPeer", incoming: trio.MemoryReceiveChannel[Message]) -> None:
        self._peer = peer
        self._incoming = incoming
        self._sends = 0
        self.closed_with: tuple[int, str] | None = None

    async def receive(self) -> Message:
        try:
            return await self._incoming.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise self._ending() from None

    async def receive_each(
        self,
        take: Callable[[Message], Found | None],
        wanted_at: WantedAt | None = None,
    ) -> Found:
        while (found := take(await self.receive())) is None:
            pass
        return found

    async def send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._raise_if_gone()
        if not self.send_now(message):
            await self._peer.take(message)
        self._sends += 1
        if self._sends % SENDS_PER_TURN == 0:
            await trio.lowlevel.cancel_shielded_checkpoint()
        self._raise_if_gone()

    def send_now(self, *messages: Message) -> bool:
        gone = self.closed_with is not None or self._peer.gone
        return not gone and self._peer.take_now(*messages)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self.closed_with is None:
            self.closed_with = (code, reason)
            self._incoming.close()
            self._peer.hang_up()

    def _raise_if_gone(self) -> None:
        if self.closed_with is not None or self._peer.gone:
            raise LegLost("memory socket gone")

    def _ending(self) -> LegLost | LegClosed:
        goodbye = self._peer.goodbye
        return LegClosed(*goodbye) if goodbye and self.closed_with is None else LegLost("memory socket gone")


class MemoryPeer:
    """The far side, driven by the test. `seen` holds every message that arrived, in order."""

    def __init__(self) -> None:
        self._to_socket, incoming = trio.open_memory_channel[Message](math.inf)
        self._arrivals, self._arrived = trio.open_memory_channel[Message](math.inf)
        self._reading = trio.Event()
        self._reading.set()
        self.socket = MemorySocket(self, incoming)
        self.seen: list[Message] = []
        self.delay_s = 0.0
        self.gone = False
        self.goodbye: tuple[int, str] | None = None

    def send(self, message: Message) -> None:
        """Give the socket something to receive."""
        self._to_socket.send_nowait(message)

    async def receive(self) -> Message:
        """The next message the socket wrote. Raises trio.EndOfChannel after the end."""
        return await self._arrived.receive()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye in order; what was sent before can still be received."""
        self.goodbye = (code, reason)
        self.hang_up()

    def lose(self) -> None:
        """Vanish: what was sent before can still be received, then the socket is lost."""
        self.hang_up()

    def stop_reading(self) -> None:
        """From now on every send of the socket hangs."""
        self._reading = trio.Event()

    def read_again(self) -> None:
        """Let hanging sends through."""
        self._reading.set()

    def slow_down(self, delay_s: float) -> None:
        """From now on every send of the socket takes `delay_s`."""
        self.delay_s = delay_s

    async def take(self, message: Message) -> None:
        await trio.sleep(self.delay_s)
        await self._reading.wait()
        if not self.gone:
            self._arrive(message)

    def take_now(self, *messages: Message) -> bool:
        """Take messages if that takes no time."""
        prompt = self.delay_s == 0 and self._reading.is_set()
        if prompt:
            for message in messages:
                self._arrive(message)
        return prompt

    def _arrive(self, message: Message) -> None:
        self.seen.append(message)
        self._arrivals.send_nowait(message)

    def hang_up(self) -> None:
        self.gone = True
        self._to_socket.close()
        self._arrivals.close()
        self._reading.set()


def memory_socket_pair() -> tuple[MemorySocket, MemoryPeer]:
    """A socket and the peer at its other end."""
    peer = MemoryPeer()
    return peer.socket, peer


class StuckStream(trio.abc.Stream):
    """A connection whose peer has sent these bytes, sends no more and reads nothing."""

    def __init__(self, sent: bytes = b"") -> None:
        self._sent = sent
        self._closed = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._sent and not self._closed.is_set():
            await trio.lowlevel.checkpoint()
            sent, self._sent = self._sent, b""
            return sent
        return await self._until_closed()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._until_closed()

    async def wait_send_all_might_not_block(self) -> None:
        await self._until_closed()

    async def aclose(self) -> None:
        self._closed.set()
        await trio.lowlevel.checkpoint()

    async def _until_closed(self) -> NoReturn:
        await self._closed.wait()
        raise trio.ClosedResourceError("closed here")
