"""The lab is a TCP proxy: the network between its clients and one server, as bad as its schedule says.

It shows what a proxy can show. A packet lost is a delay, as it is above TCP; and a peer that vanished is one whose
data are accepted and lead to nothing, where a real network would not even acknowledge them.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import assert_never

import trio

from relay.standin.lab.connection import LabConnection
from relay.standin.lab.schedule import CLEAN, EventKind, NetworkEvent, Schedule
from relay.standin.tcp import reset

CONNECT_TIMEOUT_S = 10.0
_JOURNAL_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Happened:
    """One line of the journal: when, since the beginning, what, and how many connections it met."""

    at_s: float
    what: str
    connections: int


@dataclass(frozen=True, slots=True)
class LabStatistics:
    """Connections since the beginning, those refused among them, and the bytes that were delivered."""

    opened: int
    refused: int
    up_bytes: int
    down_bytes: int


class Lab:
    """A network that runs. The methods make something happen at once, in addition to the schedule; those that meet the
    connections of the moment return how many."""

    def __init__(
        self, target: tuple[str, int], schedule: Schedule, port: int, tell: Callable[[Happened], None]
    ) -> None:
        self.port = port
        self.journal: deque[Happened] = deque(maxlen=_JOURNAL_MAX)
        self._target = target
        self._schedule = schedule
        self._tell = tell
        self._began = trio.current_time()
        self._live: dict[int, LabConnection] = {}
        self._opened = self._refused = self._up_bytes = self._down_bytes = 0
        self._stalled_until = self._refused_until = self._slow_until = -1.0
        self._slow_kbit_s: float | None = None

    def drop(self, for_s: float = 0.0) -> int:
        """A reset to both sides; with `for_s` nobody can connect for so long."""
        return self._happen("drop", for_s)

    def close(self) -> int:
        """The end of the stream for both sides, after what is under way."""
        return self._happen("close")

    def half_open(self) -> int:
        """Both sides stay connected, and nothing ever arrives any more."""
        return self._happen("half_open")

    def stall(self, for_s: float) -> int:
        """Nothing moves for so long, then all of it comes."""
        return self._happen("stall", for_s)

    def slow(self, for_s: float, kbit_s: float) -> int:
        """So little each way for so long."""
        return self._happen("slow", for_s, kbit_s)

    def refuse(self, for_s: float) -> int:
        """Who connects is reset, for so long."""
        return self._happen("refuse", for_s)

    def statistics(self) -> LabStatistics:
        """The figures up to now."""
        return LabStatistics(
            opened=self._opened,
            refused=self._refused,
            up_bytes=self._up_bytes + sum(connection.up.n_bytes for connection in self._live.values()),
            down_bytes=self._down_bytes + sum(connection.down.n_bytes for connection in self._live.values()),
        )

    async def follow(self) -> None:
        """Make happen what the schedule says, over and over, until cancelled."""
        round_began = self._began
        while True:
            for event in self._schedule.events:
                await trio.sleep_until(round_began + event.at_s)
                self._happen(event.kind, event.for_s, event.kbit_s)
            round_began += self._schedule.length_s
            await trio.sleep_until(round_began)

    async def serve(self, client: trio.SocketStream) -> None:
        """The life of one connection."""
        self._opened += 1
        number = self._opened
        server = None if trio.current_time() < self._refused_until else await self._dial()
        if server is None:
            self._refused += 1
            reset(client)
            self._note("refused a connection", 1)
            return
        connection = LabConnection(client, server, self._schedule.link, self._rng(number))
        self._live[number] = connection
        self._note("connected", 1)
        try:
            await connection.run(lambda: self._stalled_until, self._kbit_s)
        finally:
            del self._live[number]
            self._up_bytes += connection.up.n_bytes
            self._down_bytes += connection.down.n_bytes
            self._note("disconnected", 1)

    async def _dial(self) -> trio.SocketStream | None:
        with trio.move_on_after(CONNECT_TIMEOUT_S):
            try:
                return await trio.open_tcp_stream(*self._target)
            except OSError:
                return None
        return None

    def _rng(self, number: int) -> Random:
        """For one connection: when it connects must not change what happens to the others."""
        return Random(f"{self._schedule.seed} {number}")

    def _kbit_s(self) -> float | None:
        return self._slow_kbit_s if trio.current_time() < self._slow_until else None

    def _happen(self, kind: EventKind, for_s: float = 0.0, kbit_s: float | None = None) -> int:
        now = trio.current_time()
        met = list(self._live.values())
        self._note(_in_words(NetworkEvent(0, kind, for_s, kbit_s)), len(met))
        match kind:
            case "drop":
                self._refused_until = max(self._refused_until, now + for_s)
                for connection in met:
                    connection.drop()
            case "close":
                for connection in met:
                    connection.close()
            case "half_open":
                for connection in met:
                    connection.half_open()
            case "stall":
                self._stalled_until = max(self._stalled_until, now + for_s)
                for connection in met:
                    connection.wake()
            case "slow":
                self._slow_until, self._slow_kbit_s = now + for_s, kbit_s
            case "refuse":
                self._refused_until = max(self._refused_until, now + for_s)
            case _:
                assert_never(kind)
        return len(met)

    def _note(self, what: str, connections: int) -> None:
        happened = Happened(round(trio.current_time() - self._began, 3), what, connections)
        self.journal.append(happened)
        self._tell(happened)


@asynccontextmanager
async def open_lab(
    target: tuple[str, int],
    schedule: Schedule = CLEAN,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tell: Callable[[Happened], None] = lambda _: None,
) -> AsyncIterator[Lab]:
    """Listen on `port` (0: any), and pass what comes on to `target` as badly as `schedule` says, which begins now.

    `tell` is called for everything that happens. On leaving, connections are reset. Raises OSError if it cannot listen.
    """
    listeners = await trio.open_tcp_listeners(port, host=host)
    lab = Lab(target, schedule, listeners[0].socket.getsockname()[1], tell)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_listeners, lab.serve, listeners))
        nursery.start_soon(lab.follow)
        yield lab
        lab.drop()
        nursery.cancel_scope.cancel()


def _in_words(event: NetworkEvent) -> str:
    """The event in a few words, for people."""
    rate = "" if event.kbit_s is None else f", {event.kbit_s:g} kbit/s"
    return f"{event.kind}{f' for {event.for_s:g} s' if event.for_s else ''}{rate}"
