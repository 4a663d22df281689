"""A connection through the lab joins two streams by a line each way.

| state     | meaning                                  | leaves when                                                 |
|-----------|------------------------------------------|-------------------------------------------------------------|
| open      | each way passes on what its line holds   | both ways have ended; `drop` or a side's reset -> gone      |
| half open | read and thrown away, nothing is said    | each side closes by itself, unnoticed by the other; `drop`  |
| gone      | both sides are closed or reset           |                                                             |
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import trio

from relay.standin.lab.line import LabLine
from relay.standin.lab.messages import Piece, Splitter
from relay.standin.lab.schedule import LinkConditions
from relay.standin.tcp import reset

_READ_BYTES = 4096
_HELD_MAX_BYTES = 1 << 18
"""On the line, each way; then nothing more is read, as by a network that is full."""
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class Way:
    """One direction: what the source sends is put on the line, and written to the sink when it is due."""

    def __init__(self, source: trio.SocketStream, sink: trio.SocketStream, link: LinkConditions, rng: Random) -> None:
        self.source = source
        self.sink = sink
        self.line = LabLine(link, rng)
        self.ended = False
        self.n_bytes = 0
        """Delivered."""
        self._splitter = Splitter()
        self._news = trio.Event()
        self._room = trio.Event()

    async def take_in(self, data: bytes, kbit_s: float | None) -> None:
        """Put data on the line, and wait while it is full."""
        for piece in self._splitter.feed(data):
            self._put(piece, kbit_s)
        self.wake()
        while self.line.held_bytes > _HELD_MAX_BYTES:
            self._room = trio.Event()
            await self._room.wait()

    def end(self) -> None:
        """The source will send no more."""
        if rest := self._splitter.rest():
            self._put(Piece(rest, close=True), None)
        self.ended = True
        self.wake()

    def lose(self) -> None:
        """Lose what is on the line."""
        self.line.clear()
        self._room.set()

    def wake(self) -> None:
        """Let `deliver` look at the line and the clock again."""
        self._news.set()

    async def deliver(self, not_before: Callable[[], float]) -> None:
        """Write each piece when it is due, until the source has ended and the line is empty."""
        while (next_at := self.line.next_at) is not None or not self.ended:
            self._news = trio.Event()
            due = math.inf if next_at is None else max(next_at, not_before())
            with trio.move_on_at(due):
                await self._news.wait()
                continue
            while not_before() <= trio.current_time() and (data := self.line.pop(trio.current_time())) is not None:
                await self.sink.send_all(data)
                self.n_bytes += len(data)
                self._room.set()

    def _put(self, piece: Piece, kbit_s: float | None) -> None:
        now = trio.current_time()
        self.line.put(piece.data, now, kbit_s=kbit_s, may_be_held=piece.message, last=piece.close)


class LabConnection:
    """One client and one server. `run` is the connection's whole life; all else acts at once, at any time of it."""

    def __init__(self, client: trio.SocketStream, server: trio.SocketStream, link: LinkConditions, rng: Random) -> None:
        self.up = Way(client, server, link, Random(rng.random()))
        self.down = Way(server, client, link, Random(rng.random()))
        self.half_opened = False
        self._scope = trio.CancelScope()
        self._delivery = trio.CancelScope(), trio.CancelScope()

    async def run(self, not_before: Callable[[], float], kbit_s: Callable[[], float | None]) -> None:
        """Carry data until both ways have ended. `not_before` is when the present stall is over, `kbit_s` what may pass
        now."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for way, scope in zip((self.up, self.down), self._delivery, strict=True):
                        nursery.start_soon(self._read, way, kbit_s)
                        nursery.start_soon(self._write, way, scope, not_before)
        finally:
            self.up.source.socket.close()
            self.down.source.socket.close()

    def drop(self) -> None:
        """Reset both sides."""
        reset(self.up.source)
        reset(self.down.source)
        self._scope.cancel()

    def close(self) -> None:
        """Both sides see the end of the stream after what is under way; what they still send goes nowhere."""
        for way in (self.up, self.down):
            way.end()

    def half_open(self) -> None:
        """From now on nothing arrives, on neither side, and neither is told."""
        self.half_opened = True
        for scope in self._delivery:
            scope.cancel()
        for way in (self.up, self.down):
            way.lose()

    def wake(self) -> None:
        """The lab's stall or speed has changed."""
        for way in (self.up, self.down):
            way.wake()

    async def _read(self, way: Way, kbit_s: Callable[[], float | None]) -> None:
        with self._gone():
            while data := await way.source.receive_some(_READ_BYTES):
                if not (self.half_opened or way.ended):
                    await way.take_in(bytes(data), kbit_s())
        way.end()

    async def _write(self, way: Way, scope: trio.CancelScope, not_before: Callable[[], float]) -> None:
        with self._gone(), scope:
            await way.deliver(not_before)
            await way.sink.send_eof()

    @contextmanager
    def _gone(self) -> Iterator[None]:
        """A side that was reset is reset on the other side too, unless nobody is to know."""
        try:
            yield
        except _GONE:
            if not self.half_opened:
                self.drop()
