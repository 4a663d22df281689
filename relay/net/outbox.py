"""The bounded queue in front of a socket, and the one task that writes it."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio
from trio.lowlevel import ParkingLot

from relay.errors import LegLost
from relay.net.sockets import MessageSocket


@dataclass(frozen=True, slots=True)
class Entry:
    """One message to write.

    `turn` is the turn it belongs to; None is control, which no flush removes. `on_sent` is called
    in the writer with the clock's time once the message was handed over whole, and must not block.
    """

    message: str | bytes
    turn: int | None = None
    on_sent: Callable[[float], None] | None = None


@dataclass(frozen=True, slots=True)
class OutboxStatistics:
    """Counts of messages since the start. `last_sent_s` is of the outbox's clock, None before the first."""

    queued: int
    capacity: int
    waiting_to_put: int
    sent: int
    flushed: int
    stale: int
    last_sent_s: float | None


class Outbox:
    """One per socket. Entries leave in the order they came, except after a flush."""

    def __init__(
        self,
        socket: MessageSocket,
        *,
        capacity: int,
        is_stale: Callable[[int], bool],
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._socket = socket
        self._capacity = capacity
        self._is_stale = is_stale
        self._clock = clock
        self._entries: deque[Entry] = deque()
        self._room = ParkingLot()
        self._work = ParkingLot()
        self._closed = False
        self._sent = self._flushed = self._stale = 0
        self._last_sent_s: float | None = None

    async def put(self, entry: Entry) -> None:
        """Queue an entry, waiting for room; a point of cancellation. Cancelled, it was not queued.

        Raises LegLost once closed.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while len(self._entries) >= self._capacity and not self._closed:
            await self._room.park()
        self._append(entry)

    def put_nowait(self, entry: Entry) -> None:
        """Queue an entry. Raises trio.WouldBlock when there is no room, LegLost once closed."""
        if len(self._entries) >= self._capacity and not self._closed:
            raise trio.WouldBlock
        self._append(entry)

    def flush_and_put(self, entries: Iterable[Entry]) -> list[Entry]:
        """Take out every entry that has a turn, and put `entries` first in line, all in one step.

        Control that was queued stays, in order, behind them. The bound may be passed by `entries`.
        The entry the writer has in hand is not affected: it leaves before these. Once closed nothing
        is queued. Returns what was taken out.
        """
        dropped = [entry for entry in self._entries if entry.turn is not None]
        kept = [entry for entry in self._entries if entry.turn is None]
        self._entries = deque(kept if self._closed else [*entries, *kept])
        self._flushed += len(dropped)
        self._make_room(len(dropped))
        self._work.unpark()
        return dropped

    def close(self) -> None:
        """No more entries. The writer sends what is queued, then returns. Waiting puts raise LegLost."""
        self._closed = True
        self._work.unpark_all()
        self._room.unpark_all()

    async def run(self, send_deadline_s: float) -> None:
        """Write entries until closed and empty. The only task that calls `send`; start it once.

        An entry whose turn is stale when its time comes is dropped and counted. However it ends,
        the outbox is closed then.

        Raises:
            LegLost: from the socket, or because a send took longer than `send_deadline_s`. At the
                deadline the send is cancelled, which a ClientSocket obeys at the price of a torn
                frame; an AsgiSocket does not, and waits for the kernel (TCP_USER_TIMEOUT) or for
                `close` from another task. In both cases the socket is only good for closing.
        """
        try:
            while (entry := await self._next()) is not None:
                await self._write(entry, send_deadline_s)
        finally:
            self.close()

    def statistics(self) -> OutboxStatistics:
        """What went through, and what waits."""
        return OutboxStatistics(
            queued=len(self._entries),
            capacity=self._capacity,
            waiting_to_put=self._room.statistics().tasks_waiting,
            sent=self._sent,
            flushed=self._flushed,
            stale=self._stale,
            last_sent_s=self._last_sent_s,
        )

    def _append(self, entry: Entry) -> None:
        if self._closed:
            raise LegLost("outbox closed")
        self._entries.append(entry)
        self._work.unpark()

    async def _next(self) -> Entry | None:
        while True:
            while not self._entries:
                if self._closed:
                    return None
                await self._work.park()
            entry = self._entries.popleft()
            self._make_room(1)
            if entry.turn is None or not self._is_stale(entry.turn):
                return entry
            self._stale += 1

    async def _write(self, entry: Entry, send_deadline_s: float) -> None:
        with trio.move_on_after(send_deadline_s) as limit:
            await self._socket.send(entry.message)
        now_s = self._clock()
        if limit.cancel_called:
            raise LegLost(f"a send took longer than {send_deadline_s:g} s")
        self._sent += 1
        self._last_sent_s = now_s
        if entry.on_sent is not None:
            entry.on_sent(now_s)

    def _make_room(self, places: int) -> None:
        free = self._capacity - len(self._entries)
        self._room.unpark(count=max(0, min(places, free)))
