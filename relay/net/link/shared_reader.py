"""The shared reader of all media sockets: under load one task reads those that are ready, on a tick.

A wake-up of the event loop for each message costs more than the message. So with many sockets the loop is woken once
for all, as network cards do it: nothing is waited for by the tick, and when a tick finds nothing the epoll is waited
for. With fewer there is no tick, as it would find hardly more than one message; and with few nobody is served here, and
each message is read by who waits for it. Linux (epoll(7)).

A socket is read only while somebody waits for it, so bytes that nobody wants stay in the kernel and TCP makes the
sender wait. The reader wakes the task that waits in `receive`, with the bytes. For one that waits in `deliver` it calls
a plain function with them, again and again, and wakes nobody; an error there is raised in the task that waits, and
harms no other. Who waits there may say that what comes is of no use before some time: until then the socket rests, and
then all that has come is read at once.

| a seat is | in the epoll | leaves when                                                       | deadline       |
|-----------|--------------|-------------------------------------------------------------------|----------------|
| apart     | no           | `receive` or `deliver` -> waiting                                 |                |
| waiting   | yes          | bytes, the end, or cancelled, for `deliver` only when its         |                |
|           |              | function wants no more -> idle; more is wanted later -> resting;  |                |
|           |              | an error, or the reader has ended -> apart; `leave` -> gone       |                |
| resting   | no           | read, and more is wanted later still -> resting; nothing has      | `REST_MAX_S`   |
|           |              | come, or sockets are read by themselves -> waiting; cancelled     | at most: it is |
|           |              | -> apart; all else as waiting; asked again, it wants it now: read | read           |
| idle      | yes          | as apart -> waiting; its socket is ready, or `step_aside`         |                |
|           |              | -> apart; `leave` -> gone                                         |                |
| gone      | no           |                                                                   |                |
"""

import math
import os
import select
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from heapq import heappop, heappush
from itertools import count
from typing import Any

import trio

from relay.net.sockets import WantedAt
from relay.wakeup import next_step, sleep_until

ReceiveSome = Callable[[int | None], Coroutine[Any, Any, bytes | bytearray]]
Take = Callable[[bytes], bool]
"""Takes what came, empty at the end of the stream. Returns whether it wants more."""

READ_BYTES = 65_536
SOCKETS_PER_CALL = 2
TICKS_S = ((40 * SOCKETS_PER_CALL, 0.010), (21 * SOCKETS_PER_CALL, 0.0025), (10 * SOCKETS_PER_CALL, 0.0))
"""From so many sockets on, the tick. At 0 they are read together, but as something comes; below the last each by
itself."""
REST_MAX_S = 0.12
"""So long the end of a stream, or an answer to a ping, may lie there unread."""
ASK_EVERY_S = 0.06
"""Who waits may want what comes sooner than it said: it is asked again so often."""
REST_LATE_S = 0.010
"""Without a tick a rest may end so much later: so mostly what comes for another ends it, and no timer has to wake the
loop for it."""

_of_this_run = trio.lowlevel.RunVar["SharedReader | None"]("relay.net.link.shared_reader", None)


def tick_s(sockets: int) -> float | None:
    """The tick with so many sockets; None when each is to be read by itself."""
    return next((tick for least, tick in TICKS_S if sockets >= least), None)


@contextmanager
def shared_reader(tick_s: Callable[[int], float | None] = tick_s) -> "Iterator[SharedReader]":
    """A reader for the sockets of this run of trio, until left. `tick_s` is told how many sockets there are; at 0 they
    are read together, but at once."""
    reader = SharedReader(tick_s)
    _of_this_run.set(reader)
    try:
        yield reader
    finally:
        _of_this_run.set(None)
        reader.close()


def take_seat(descriptor: int, receive_alone: ReceiveSome) -> "Seat | None":
    """A seat for a non-blocking socket, until `leave`; None where no reader runs. `receive_alone` reads the socket by
    itself."""
    reader = _of_this_run.get()
    return None if reader is None else reader.seat(descriptor, receive_alone)


def notify_closing(socket: trio.socket.SocketType) -> None:
    """Wake who waits for the socket, here or in trio, with ClosedResourceError. Call it before the socket is closed."""
    reader = _of_this_run.get()
    if reader is not None:
        reader.forget(socket.fileno())
    trio.lowlevel.notify_closing(socket)


class SharedReader:
    """The reader. Once `run` has ended, every socket is read by itself."""

    def __init__(self, tick_s: Callable[[int], float | None]) -> None:
        self._tick_s = tick_s
        self._epoll = select.epoll()
        self._seats: dict[int, Seat] = {}
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)
        self._now: float | None = None
        self._runs = False
        self._resting: list[tuple[float, int, Seat]] = []
        """A heap of the seats that rest, by the end of that. One that rests no more stays in it until then."""
        self._rests = count()

    @property
    def shares(self) -> bool:
        """Whether sockets are to be read together now."""
        return self._runs and self._now is not None

    def seat(self, descriptor: int, receive_alone: ReceiveSome) -> "Seat":
        """A seat for the socket. One that an earlier socket of that number left behind is gone."""
        self.forget(descriptor)
        seat = self._seats[descriptor] = Seat(self, descriptor, receive_alone)
        self._now = self._tick_s(len(self._seats))
        return seat

    def forget(self, descriptor: int) -> None:
        """Nothing is read from the socket any more, and who waits for it is told that it is closed."""
        seat = self._seats.pop(descriptor, None)
        if seat is not None:
            self._now = self._tick_s(len(self._seats))
            seat.end()

    def leave(self, seat: "Seat") -> None:
        """As `forget`, unless a later socket of that number has the seat."""
        if self._seats.get(seat.descriptor) is seat:
            self.forget(seat.descriptor)

    def watch(self, descriptor: int) -> None:
        """Raises OSError when it cannot be watched."""
        self._epoll.register(descriptor, select.EPOLLIN)

    def ignore(self, descriptor: int) -> None:
        with suppress(OSError, ValueError):  # closed already
            self._epoll.unregister(descriptor)

    def rest(self, seat: "Seat", until_s: float) -> None:
        """Read this seat's socket at this time."""
        heappush(self._resting, (until_s, next(self._rests), seat))

    def read(self, descriptor: int) -> bytes:
        """What the kernel has of the socket, empty at its end. Raises OSError."""
        return self._view[: os.readv(descriptor, (self._buffer,))].tobytes()

    async def run(self) -> None:
        """Read until cancelled."""
        self._runs = True
        try:
            while True:
                due_s = next_step(self._now) if self._now else None
                some_ready = self.read_ready(math.inf if self._now is None else trio.current_time())
                if due_s is not None and (some_ready or self._resting):
                    await sleep_until(due_s)  # at once, if reading took so long
                else:
                    await self._wait_for_some()
        finally:
            self._runs = False
            for seat in self._seats.values():
                seat.send_away()

    async def _wait_for_some(self) -> None:
        """Return when a socket is ready, or the rest of one has to end."""
        if not self._resting:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            return
        with trio.CancelScope(deadline=self._resting[0][0] + REST_LATE_S):
            await trio.lowlevel.wait_readable(self._epoll.fileno())

    def read_ready(self, resting_until_s: float = math.inf) -> bool:
        """Read the sockets that are ready now, and those that were to rest until this time; whether any was ready."""
        while self._resting and self._resting[0][0] <= resting_until_s:
            until_s, _, resting = heappop(self._resting)
            resting.end_rest(until_s)
        ready = self._epoll.poll(0)
        for descriptor, _ in ready:
            seat = self._seats.get(descriptor)
            if seat is None:
                self.ignore(descriptor)
            else:
                seat.read()
        return bool(ready)

    def close(self) -> None:
        for descriptor in list(self._seats):
            self.forget(descriptor)
        self._resting.clear()
        self._epoll.close()


class Seat:
    """One socket at the reader. One task at a time receives."""

    def __init__(self, reader: SharedReader, descriptor: int, receive_alone: ReceiveSome) -> None:
        self.descriptor = descriptor
        self._reader = reader
        self._receive_alone = receive_alone
        self._watched = False
        self._waiting: trio.lowlevel.Task | None = None
        self._received: bytes | Exception | None = None
        self._take: Take | None = None
        self._wanted_at: WantedAt | None = None
        self._rests_until_s: float | None = None
        self._read_by_s = 0.0
        self._gone = False

    @property
    def is_shared(self) -> bool:
        """Whether the socket is read together with others now."""
        return self._reader.shares and not self._gone

    async def receive(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What comes next, or empty at the end of the stream, as trio's ReceiveStream does. Cancelled, it has taken
        nothing. While sockets are read by themselves, or for less than READ_BYTES, `receive_alone` does it.

        Raises BrokenResourceError for a broken connection, ClosedResourceError when it is closed here, and
        BusyResourceError when another task receives.
        """
        if self.is_shared and (max_bytes is None or max_bytes >= READ_BYTES):
            received = await self._wait()
            if received is not None:
                return received
        self.step_aside()
        return await self._receive_alone(max_bytes)

    @property
    def delivers(self) -> bool:
        """Whether a task waits in `deliver`: by what is taken it may be cancelled."""
        return self._waiting is not None and self._take is not None

    async def deliver(self, take: Take, wanted_at: WantedAt | None = None) -> None:
        """Have the reader call `take` with what comes, in its own task, until that wants no more, or sockets are read
        by themselves. `wanted_at` says behind each time when more is of use; REST_MAX_S later it is read all the same.
        For a socket that is shared. Raises as `receive`, and what `take` raises."""
        self._take, self._wanted_at = take, wanted_at
        try:
            await self._wait()
        finally:
            self._take = self._wanted_at = None

    def step_aside(self) -> None:
        """Let the socket be read by others. Nobody receives here."""
        self._rests_until_s = None
        if self._watched:
            self._watched = False
            self._reader.ignore(self.descriptor)

    def leave(self) -> None:
        """Never come back. Who receives is told that the socket is closed."""
        self._reader.leave(self)

    def read(self) -> None:
        """Hand on what came to who waits for it. Raises nothing: this is the task that reads for all."""
        if self._waiting is None:
            self.step_aside()
            return
        try:
            received = self._reader.read(self.descriptor)
        except BlockingIOError:
            self._keep_watch()
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this socket only
            self.step_aside()
            self._wake(_broken(error))
        else:
            self._hand_on(received)

    def end_rest(self, until_s: float) -> None:
        """This rest is over, unless it was ended before: read what has come, or go on resting."""
        if self._rests_until_s != until_s:
            return
        self._rests_until_s = None
        try:
            wanted_s = -math.inf if self._wanted_at is None else self._wanted_at()
        except Exception as error:  # noqa: BLE001 - it belongs to the task that waits
            self._wake(error)
            return
        now_s = trio.current_time()
        if min(wanted_s, self._read_by_s) > now_s and self.is_shared:
            self._rest(wanted_s, now_s)
        else:
            self.read()

    def send_away(self) -> None:
        """Have who waits read the socket by itself."""
        self.step_aside()
        self._wake(None)

    def end(self) -> None:
        """Called by the reader when the seat is no more."""
        self._gone = True
        self.step_aside()
        self._wake(trio.ClosedResourceError("the socket is closed"))

    async def _wait(self) -> bytes | None:
        """What came; None if it was delivered, or the reader has ended."""
        if self._waiting is not None:
            raise trio.BusyResourceError("another task receives")
        if not self._watched:
            self._watch()
        self._waiting = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)
        received, self._received = self._received, None
        if isinstance(received, Exception):
            try:
                raise received
            finally:
                del received  # the error holds this frame, which would hold the error until garbage is collected
        return received

    def _hand_on(self, received: bytes) -> None:
        if self._take is None:
            self._wake(received)
            return
        try:
            wants_more = self._take(received)
            wanted_s = None if self._wanted_at is None else self._wanted_at()
        except Exception as error:  # noqa: BLE001 - it belongs to the task that waits
            self._wake(error)
        else:
            if not wants_more:
                self._wake(None)
            elif wanted_s is None:
                self._keep_watch()
            else:
                self._wait_until(wanted_s)

    def _wait_until(self, wanted_s: float) -> None:
        """Rest until this time; once that is over, wait for what comes."""
        now_s = trio.current_time()
        if wanted_s <= now_s or self._waiting is None or not self.is_shared:
            self._keep_watch()
            return
        self.step_aside()
        self._read_by_s = now_s + REST_MAX_S
        self._rest(wanted_s, now_s)

    def _rest(self, wanted_s: float, now_s: float) -> None:
        self._rests_until_s = min(wanted_s, self._read_by_s, now_s + ASK_EVERY_S)
        self._reader.rest(self, self._rests_until_s)

    def _keep_watch(self) -> None:
        if not self._watched and self._waiting is not None:
            try:
                self._watch()
            except trio.ClosedResourceError as error:
                self._wake(error)

    def _watch(self) -> None:
        try:
            self._reader.watch(self.descriptor)
        except (OSError, ValueError) as error:
            raise trio.ClosedResourceError("the socket is closed") from error
        self._watched = True

    def _wake(self, received: bytes | Exception | None) -> None:
        task, self._waiting = self._waiting, None
        if task is not None:
            self._received = received
            trio.lowlevel.reschedule(task)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = self._rests_until_s = None
        return trio.lowlevel.Abort.SUCCEEDED


def _broken(error: Exception) -> trio.BrokenResourceError:
    broken = trio.BrokenResourceError(f"connection broken: {error}")
    broken.__cause__ = error
    return broken
