"""The bounded queue in front of a socket, and the one writer of it.

An entry is written the moment it is put, when nothing waits before it and the socket takes it at once; a `clear` is on
the wire when `flush_and_put` returns. What the socket does not take at once is for the task in `run`.

| state   | an entry that is put                          | leaves when                                         |
|---------|-----------------------------------------------|-----------------------------------------------------|
| waiting | written at once, else queued -> writing       | the socket takes no more at once                    |
| writing | queued, waiting for room                      | nothing is queued -> waiting; a send over its       |
|         |                                               | deadline -> closed                                  |
| closed  | LegLost                                       |                                                     |
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import trio
from msgspec import Struct

from relay.errors import LegLost
from relay.net.sockets import PromptSocket
from relay.wakeup import Signal


class Entry(Struct, frozen=True):
    """One message to write.

    `turn` is the turn it belongs to; None is control, which no flush removes. `on_sent` is called
    with the clock's time once the message was handed over whole: in the writer, or in whoever put the
    entry. It must not block, and not use the outbox.
    """

    message: str | bytes
    turn: int | None = None
    on_sent: Callable[[float], None] | None = None


class TurnFence(Protocol):
    """Knows which turns were cut: nothing of them may be written."""

    def is_stale(self, turn: int) -> bool: ...


class Outbox:
    """One per socket. Entries leave in the order they came, except after a flush. Nothing is written before `run`."""

    def __init__(
        self,
        socket: PromptSocket,
        *,
        capacity: int,
        fence: TurnFence,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._socket = socket
        self._capacity = capacity
        self._fence = fence
        self._clock = clock
        self._entries: list[Entry] = []
        self._room = Signal()
        self._work = Signal()
        self._closed = False
        self._waiting = False
        """Whether `run` has nothing in hand, so that it is safe to write past it."""

    def __len__(self) -> int:
        """How many entries wait to be written."""
        return len(self._entries)

    async def put(self, entry: Entry) -> None:
        """Queue an entry, waiting for room; a point of cancellation. Cancelled, it was not queued.

        Raises LegLost once closed.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self.put_now(entry):
            await self._room.wait()

    @property
    def room(self) -> int:
        """How many entries `put_now` takes now."""
        return max(0, self._capacity - len(self._entries))

    def put_now(self, *entries: Entry) -> bool:
        """Queue entries if there is room for all of them. False: there is not. Raises LegLost once closed."""
        if self._closed:
            raise LegLost("outbox closed")
        if len(self._entries) + len(entries) > self._capacity:
            return False
        self._entries.extend(entries)
        self._write_now()
        return True

    def flush_and_put(self, entries: Iterable[Entry]) -> list[Entry]:
        """Take out every entry that has a turn, and put `entries` first in line, all in one step.

        Control that was queued stays, in order, behind them. The bound may be passed by `entries`.
        The entry the writer has in hand is not affected: it leaves before these. Once closed nothing
        is queued. Returns what was taken out.
        """
        dropped = [entry for entry in self._entries if entry.turn is not None]
        kept = [entry for entry in self._entries if entry.turn is None]
        self._entries = kept if self._closed else [*entries, *kept]
        self._room.fire()
        self._write_now()
        return dropped

    def close(self) -> None:
        """No more entries. The writer sends what is queued, then returns. Waiting puts raise LegLost."""
        self._closed = True
        self._work.fire()
        self._room.fire()

    async def run(self, send_deadline_s: float) -> None:
        """Write what could not leave at once, until closed and empty. The only task that calls `send`; start it once.

        An entry whose turn is stale when its time comes is dropped. However it ends,
        the outbox is closed then.

        Raises:
            LegLost: from the socket, or because a send took longer than `send_deadline_s`. At the
                deadline the send is cancelled, at the price of a torn frame: then the socket is only good
                for closing.
        """
        try:
            while (entry := await self._next()) is not None:
                await self._write(entry, send_deadline_s)
        finally:
            self.close()

    def _write_now(self) -> None:
        """Write all that is not stale, as one, if the socket takes it; else leave it to `run`."""
        if not self._waiting or self._first() is None:
            return
        entries = [entry for entry in self._entries if not self._is_stale(entry)]
        if not self._socket.send_now(*[entry.message for entry in entries]):
            self._waiting = False
            self._work.fire()
            return
        self._entries.clear()
        self._room.fire()
        now_s = self._clock()
        for entry in entries:
            _tell_sent(entry, now_s)

    async def _next(self) -> Entry | None:
        while (entry := self._first()) is None:
            if self._closed:
                return None
            self._waiting = True
            try:
                await self._work.wait()
            finally:
                self._waiting = False
        del self._entries[0]
        self._room.fire()
        return entry

    def _first(self) -> Entry | None:
        """The first entry that is not stale; those before it are dropped."""
        while self._entries:
            entry = self._entries[0]
            if not self._is_stale(entry):
                return entry
            del self._entries[0]
            self._room.fire()
        return None

    def _is_stale(self, entry: Entry) -> bool:
        return entry.turn is not None and self._fence.is_stale(entry.turn)

    async def _write(self, entry: Entry, send_deadline_s: float) -> None:
        with trio.move_on_after(send_deadline_s) as limit:
            await self._socket.send(entry.message)
        now_s = self._clock()
        if limit.cancel_called:
            raise LegLost(f"a send took longer than {send_deadline_s:g} s")
        _tell_sent(entry, now_s)


def _tell_sent(entry: Entry, now_s: float) -> None:
    if entry.on_sent is not None:
        entry.on_sent(now_s)
