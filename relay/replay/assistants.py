"""The assistants of a recorded call, played back: dials come to what they came to, and sockets say what they said.

When a message to them has left is the driver's to say, as in `relay.replay.peers`.
"""

# ruff: noqa: ARG002 - stand-ins take more than they need

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from relay.call.assistant.dialer import Dialer, NewCall
from relay.call.assistant.placer import CallPlacer, Create
from relay.errors import AssistantUnavailable, LegLost
from relay.media.frames import AudioFormat
from relay.net.sockets import Found, WantedAt
from relay.replay.peers import WriteGate
from relay.wakeup import Signal
from relay.wire.vapi_call import CallCreated


class RecordedSocket:
    """The socket of one connection with an assistant."""

    def __init__(self, connection: int, gate: WriteGate) -> None:
        self._connection = connection
        self._gate = gate
        self._messages: deque[str | bytes | LegLost] = deque()
        self._news = Signal()
        self._left = Signal()
        self._sent = 0
        self._waits = False

    def give(self, message: str | bytes | LegLost) -> None:
        """Have this received, or raised."""
        self._messages.append(message)
        self._news.fire()

    def release(self) -> bool:
        """A message has left; whether the call waited for that one, and not for a later one."""
        if not (self._waits and self._gate.assistant_takes(self._connection, self._sent)):
            return False
        self._waits = False
        self._left.fire()
        return True

    async def receive(self) -> str | bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._messages:
            await self._news.wait()
        message = self._messages.popleft()
        if isinstance(message, LegLost):
            raise message
        return message

    async def receive_each(
        self,
        take: Callable[[str | bytes], Found | None],
        wanted_at: WantedAt | None = None,
    ) -> Found:
        while (found := take(await self.receive())) is None:
            pass
        return found

    def send_now(self, *messages: str | bytes) -> bool:
        takes = self._gate.assistant_takes_at_once(self._connection, self._sent)
        self._sent += takes * len(messages)
        return takes

    async def send(self, message: str | bytes) -> None:
        self._waits = True
        await self._left.wait()
        self._sent += 1

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await trio.lowlevel.checkpoint()

    async def part(self) -> None:
        await trio.lowlevel.checkpoint()

    async def run_keepalive(
        self, interval_s: float, timeout_s: float, answered: Callable[[float], None] | None = None
    ) -> None:
        await trio.sleep_forever()


@dataclass(eq=False)
class RecordedConnection:
    """What is known of a connection: what its dial has come to, and its socket once that stands."""

    socket: RecordedSocket
    dialled: CallCreated | AssistantUnavailable | None = None
    stands: bool = False
    failed: LegLost | None = None
    news: Signal = field(default_factory=Signal)


class RecordedConnections:
    """All connections of a call, by their numbers from 1. A driver and the call may ask for one in any order."""

    def __init__(self, gate: WriteGate) -> None:
        self._gate = gate
        self._known: dict[int, RecordedConnection] = {}

    def get(self, number: int) -> RecordedConnection:
        if number not in self._known:
            self._known[number] = RecordedConnection(RecordedSocket(number, self._gate))
        return self._known[number]

    def dialled(self, number: int, outcome: CallCreated | AssistantUnavailable) -> None:
        it = self.get(number)
        it.dialled = outcome
        it.news.fire()

    def connected(self, number: int) -> None:
        it = self.get(number)
        it.stands = True
        it.news.fire()

    def gone(self, number: int, error: LegLost) -> None:
        it = self.get(number)
        it.failed = error
        it.socket.give(error)
        it.news.fire()


class RecordedPlacer(CallPlacer):
    """Makes the calls that were made, in their order, and has none to end."""

    def __init__(self, connections: RecordedConnections) -> None:
        self._connections = connections
        self._placed = 0

    async def place(self, dialer: Dialer, create: Create) -> CallCreated:
        self._placed += 1
        it = self._connections.get(self._placed)
        await trio.lowlevel.checkpoint()
        while it.dialled is None:
            await it.news.wait()
        if isinstance(it.dialled, AssistantUnavailable):
            raise it.dialled
        return it.dialled

    def end(self, dialer: Dialer, call_id: str, control_url: str | None = None) -> None:
        """Nobody has to be told."""


@dataclass(frozen=True)
class RecordedDialer:
    """One assistant of a recorded call. `RecordedPlacer` makes its calls: their address is the connection's number."""

    name: str
    format: AudioFormat
    max_call_s: float | None
    connections: RecordedConnections
    create_timeout_s: float = 0.0

    async def create(
        self, wanted: NewCall, *, fresh: bool = False, answering: Callable[[], None] | None = None
    ) -> CallCreated:
        raise NotImplementedError

    def note_unavailable(self) -> None:
        """See Dialer."""

    @asynccontextmanager
    async def connect(self, created: CallCreated) -> AsyncIterator[RecordedSocket]:
        it = self.connections.get(int(created.socket_url))
        await trio.lowlevel.checkpoint()
        while not it.stands:
            if it.failed is not None:
                raise it.failed
            await it.news.wait()
        yield it.socket

    async def hang_up(self, call_id: str, control_url: str | None) -> None:
        raise NotImplementedError
