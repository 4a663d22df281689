"""A WebSocket behind its handshake, as a PromptSocket: it alone reads its stream, and its `LinkWriter` alone writes it.

Nobody reads for its own sake: who waits for something reads, and another who waits meanwhile is told when something
came. So a message wakes one task, and none in `receive_each` while sockets are read together. While nobody waits, `run`
reads.

| state   | reads                  | writes                       | leaves when                                        |
|---------|------------------------|------------------------------|----------------------------------------------------|
| open    | messages; at most      | messages; answers to pings   | `part` or `close` -> parting; a write that failed, |
|         | `unread_max` are kept  |                              | or a peer that left while it is read slowly        |
|         |                        |                              | -> silent; the peer's goodbye, a violation, or the |
|         |                        |                              | end of the stream -> over                          |
| silent  | as above: what it said | nothing                      | as above; SILENT_LIMIT_S, as a flood that it left  |
|         | before it left         |                              | behind is read slowly -> over                      |
| parting | and drops it           | the goodbye, behind the rest | as above; a peer that sends faster than it may,    |
|         |                        |                              | or CLOSE_LIMIT_S after `close` -> over             |
| over    | nothing                | what is begun, and the       |                                                    |
|         |                        | answer to the goodbye        |                                                    |
"""

import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import trio

from relay.errors import LegClosed, LegLost
from relay.net.link.fragments import Violation
from relay.net.link.pace import FramePace, FrameRates
from relay.net.link.prompt_stream import RECEIVE_BYTES, PromptStream
from relay.net.link.protocol import Goodbye, Pong, WebSocketProtocol
from relay.net.link.writer import LinkWriter
from relay.net.sockets import Found, WantedAt
from relay.wakeup import Signal, coarse
from relay.weak import weakly

CLOSE_LIMIT_S = 1.0
SILENT_LIMIT_S = 1.0
SENDS_PER_TURN = 16
STAND_BY_S = 1.0
"""So long after the last `receive` the peer is read all the same."""
_FAILED = {1002, 1007, 1009}
"""Said by a peer for which the connection failed (RFC 6455, 7.4.1)."""

_PING_BYTES = 8
MESSAGES_AT_ONCE = 4
"""So many messages are given to a function before others have their turn."""
JOINED_MAX = 8
"""So many are given as one."""


class Link:
    """One WebSocket. `run` must run for as long as it is used; `peer` is its name in the texts of errors.

    `unread_max` is how many messages are kept while nobody receives.
    """

    def __init__(self, stream: trio.abc.Stream, protocol: WebSocketProtocol, peer: str, *, unread_max: int) -> None:
        self._stream = stream if isinstance(stream, PromptStream) else PromptStream(stream)
        self._protocol = protocol
        self._peer = peer
        self._unread_max = unread_max
        self._writer = LinkWriter(self._stream, protocol, peer, failed=weakly(self._fall_silent))
        self._lasting = trio.CancelScope()
        """In which `run` reads. It gets a deadline when nothing can be written any more."""
        self._sends = 0
        self._unread: deque[str | bytes] = deque()
        self._reading = False
        self._receiving = False
        self._delivers = False
        self._received = 0
        self._news = Signal()
        """Something was read, or nobody reads any more, or the state has changed."""
        self._stand_in = Signal()
        """`run` is to look whether anybody reads."""
        self._paced = Signal()
        """Other rates hold."""
        self._pings = self._ponged = 0
        self._closing = False
        self._heard_goodbye = False
        self._ending: Callable[[], LegLost | LegClosed] | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more, as far as is known here."""
        return self._closing or self._writer.gone or self._ending is not None

    @property
    def said_all(self) -> bool:
        """Whether both sides have said goodbye, or the peer broke the protocol and was told so."""
        return self._protocol.is_over and self._writer.has_written_all

    def change_rates(self, rates: FrameRates, surplus: FramePace | None = None) -> None:
        """From now on frames are taken at other rates, also for a `receive` that waits."""
        self._protocol.change_rates(rates, surplus)
        self._paced.fire()

    async def receive(self) -> str | bytes:
        """The next message; see MessageSocket."""
        others_had_turn = False
        self._received += 1
        self._receiving = True
        try:
            while not self._closing:
                if self._unread or self._advance():
                    if others_had_turn:
                        return self._take_unread()
                    await trio.lowlevel.checkpoint()
                elif self._ending is not None:
                    break
                else:
                    await self._read()
                others_had_turn = True
        finally:
            self._receiving = False
        if not others_had_turn:
            await trio.lowlevel.checkpoint()
        raise self._lost("socket closed") if self._closing or self._ending is None else self._ending()

    async def receive_each(
        self, take: Callable[[str | bytes], Found | None], wanted_at: WantedAt | None = None
    ) -> Found:
        """Give each message to `take`; see MessageSocket. While sockets are read together, the task that reads them
        calls it."""
        while True:
            found = take(await self.receive())
            if found is None:
                found = self._take_backlog(take, joins=wanted_at is not None)
            if found is None and self._can_deliver:
                found = await self._deliver(take, wanted_at)
            if found is not None:
                return found

    async def send(self, message: str | bytes) -> None:
        """Write one message; see MessageSocket. Cancelled inside a frame, the link is good for nothing but `close`.

        A peer that left is known when somebody reads: here after SENDS_PER_TURN messages.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self.send_now(message):
            await self._writer.write(partial(self._protocol.message, message))
        self._sends += 1
        if self._sends % SENDS_PER_TURN == 0:
            self._stand_in.fire()
            await trio.lowlevel.cancel_shielded_checkpoint()

    def send_now(self, *messages: str | bytes) -> bool:
        """Write these messages in this instant; see PromptSocket. What the kernel leaves is written by `run`."""
        return not self._closing and self._writer.write_now(*messages)

    async def ping(self, timeout_s: float) -> None:
        """Wait for the answer to a ping. Raises LegLost when there is none in time."""
        self._pings = number = self._pings + 1
        try:
            with trio.fail_after(timeout_s):
                await self._writer.write(partial(self._protocol.ping, number.to_bytes(_PING_BYTES, "big")))
                while self._ponged < number and not self.closed:
                    await self._read_on()
        except trio.TooSlowError:
            raise self._lost(f"no pong in {timeout_s:g} s") from None
        if self._ponged < number:
            raise self._lost("socket closed")

    async def run_keepalive(
        self, interval_s: float, timeout_s: float, answered: Callable[[float], None] | None = None
    ) -> None:
        """Ping every `interval_s` until cancelled; `answered` is told how many seconds each answer took. Raises LegLost
        when one takes over `timeout_s`."""
        while True:
            await trio.sleep(interval_s)
            asked_at = trio.current_time()
            await self.ping(timeout_s)
            if answered is not None:
                answered(trio.current_time() - asked_at)

    async def part(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye, and return when the peer has answered: it has read all that was sent (RFC 6455, 7.1.2).

        Raises LegLost when the connection breaks before the answer comes, or broke before. Cancelled, it has said
        goodbye or the link is torn.
        """
        self._closing = True
        self._news.fire()
        await self._writer.write(partial(self._protocol.goodbye, code, reason))
        while self._ending is None:
            if self._advance():
                await trio.lowlevel.checkpoint()
            else:
                await self._read()
            self._unread.clear()
        if not self._heard_goodbye:
            raise self._lost("no answer to the goodbye")

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye if the last frame was written whole, and wait for the answer; see MessageSocket.

        The stream is closed if the peer has not answered. Otherwise that is left to the owner of the stream.
        """
        if self._closing:
            return
        with trio.CancelScope(shield=True):
            with trio.move_on_after(CLOSE_LIMIT_S), suppress(LegLost):
                await self.part(code, reason)
            if not self.said_all:
                await trio.aclose_forcefully(self._stream)
                self._lose()

    async def run(self) -> None:
        """Read while nobody else does, and write what could not leave at once. Returns when the link is over, and what
        was to be said is said."""
        with self._stream.read_together():
            await self._run()

    async def _run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._writer.run)
            with self._lasting:
                await self._stand_by()
            if self._lasting.cancelled_caught:
                await self._give_up()
            with trio.move_on_after(CLOSE_LIMIT_S), suppress(LegLost):
                await self._writer.write(None)
            nursery.cancel_scope.cancel()

    @property
    def _can_deliver(self) -> bool:
        """Whether what comes next may be taken as it comes: nothing is there, and it is not too soon for more."""
        is_free = not (self._reading or self._unread or self._closing or self._ending is not None)
        return is_free and self._wants_more(trio.current_time()) and self._stream.is_read_together

    def _wants_more(self, now: float) -> bool:
        return self._protocol.is_hungry and self._protocol.due_s <= now

    def _take_backlog(self, take: Callable[[str | bytes], Found | None], *, joins: bool) -> Found | None:
        """Give more of what is there to `take`. With one message a turn, a busy loop that turns no more often than
        messages come would never be done with what came while it was busier still."""
        for _ in range(MESSAGES_AT_ONCE - 1):
            nothing_there = self._protocol.is_hungry and not self._unread
            if nothing_there or self._closing or trio.current_effective_deadline() == -math.inf:
                break
            message = self._take_unread() if self._unread else self._next_given(trio.current_time(), joins=joins)
            if message is None:
                break
            if (found := take(message)) is not None:
                return found
        return None

    async def _deliver(self, take: Callable[[str | bytes], Found | None], wanted_at: WantedAt | None) -> Found | None:
        """Give each message to `take` as it comes. None: what comes next is for `receive`."""
        found: Found | None = None
        context = trio.lowlevel.current_task().context
        joins = wanted_at is not None

        def take_bytes(data: bytes) -> bool:
            nonlocal found
            if not data:
                self._lose()
                return False
            now = trio.current_time()
            self._protocol.feed(data)
            for _ in range(MESSAGES_AT_ONCE):
                if self._closing or (message := self._next_given(now, joins=joins)) is None:
                    break
                found = context.run(take, message)
                if self._protocol.is_hungry or found is not None or not self._stream.delivers:
                    break
            return found is None and self._wants_more(now) and not self._closing and self._ending is None

        self._reading = self._receiving = self._delivers = True
        try:
            await self._stream.deliver(take_bytes, wanted_at)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._lose()
        finally:
            self._reading = self._receiving = self._delivers = False
            self._received += 1  # so that nobody else reads for as long as behind a `receive`
            self._news.fire()
            self._stand_in.fire()
        return found

    def _lost(self, why: str) -> LegLost:
        return LegLost(f"{self._peer}: {why}")

    def _take_unread(self) -> str | bytes:
        if len(self._unread) == self._unread_max:
            self._news.fire()
        return self._unread.popleft()

    def _advance(self) -> bool:
        """Take the next event of what was read; whether it was a message."""
        message = self._next_message(trio.current_time())
        if message is None:
            return False
        self._unread.append(message)
        return True

    def _next_message(self, now: float) -> str | bytes | None:
        """Take the next event of what was read, and return it if it is a message."""
        if self._protocol.is_hungry:
            return None
        event = self._protocol.next_event(now)
        if self._protocol.has_answers:
            self._writer.answer()
        if event is None or isinstance(event, str | bytes):
            return event
        if isinstance(event, Pong):
            self._take_pong(event.payload)
        else:
            self._heard_goodbye = isinstance(event, Goodbye)
            self._end(self._reason(event))
        return None

    def _next_given(self, now: float, *, joins: bool) -> str | bytes | None:
        """As `_next_message`; `joins`: a binary message and those that follow it are given as one."""
        message = self._next_message(now)
        if not joins or not isinstance(message, bytes) or self._protocol.is_hungry:
            return message
        return b"".join((message, *self._protocol.more_binaries(now, JOINED_MAX - 1)))

    def _take_pong(self, payload: bytes) -> None:
        """An answer to a ping is one to all before it; others may come that nobody asked for (RFC 6455, 5.5.3)."""
        number = int.from_bytes(payload, "big")
        if len(payload) == _PING_BYTES and self._ponged < number <= self._pings:
            self._ponged = number
            self._news.fire()

    def _reason(self, event: Goodbye | Violation) -> Callable[[], LegLost | LegClosed]:
        if isinstance(event, Goodbye) and event.code not in _FAILED:
            return partial(LegClosed, event.code, event.reason)
        text = f"{self._peer}: connection failed with {event.code} {event.reason}".rstrip()
        return partial(LegLost, text, event.code)

    def _end(self, ending: Callable[[], LegLost | LegClosed]) -> None:
        if self._ending is None:
            self._ending = ending
        self._news.fire()
        self._stand_in.fire()

    def _fall_silent(self) -> None:
        """Nothing can be sent any more. What the peer said before it left, and why, is still there to be read."""
        self._writer.gone = True
        self._lasting.deadline = min(self._lasting.deadline, trio.current_time() + SILENT_LIMIT_S)
        self._news.fire()
        self._stand_in.fire()

    async def _give_up(self) -> None:
        self._lose()
        self._paced.fire()
        await trio.aclose_forcefully(self._stream)

    def _lose(self) -> None:
        self._writer.gone = True
        self._end(partial(LegLost, f"{self._peer}: connection lost"))

    async def _read(self) -> None:
        """Let more come in, or leave that to who does so already. Always a checkpoint; cancelled, nothing was taken."""
        if self._reading:
            await self._news.wait()
            return
        self._reading = True
        try:
            due_s = self._protocol.due_s
            if trio.current_time() < due_s:
                if self._closing:
                    self._lose()  # the answer lies behind a flood
                    return
                if self._stream.peer_has_left and not self._writer.gone:
                    self._fall_silent()
                await self._paced.wait(due_s)
            elif not self._protocol.is_hungry:
                await trio.lowlevel.checkpoint()
            elif data := await self._stream.receive_some(RECEIVE_BYTES):
                self._protocol.feed(data)
            else:
                self._lose()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._lose()
        finally:
            self._reading = False
            self._news.fire()

    async def _read_on(self) -> None:
        """Read for who waits for something else than a message. Always a checkpoint."""
        if len(self._unread) >= self._unread_max:
            await self._news.wait()
        elif self._advance():
            self._news.fire()
            await trio.lowlevel.checkpoint()
        elif self._ending is None:
            await self._read()
        else:
            await trio.lowlevel.checkpoint()

    async def _stand_by(self) -> None:
        while self._ending is None:
            seen = self._received
            look_at = math.inf if self._delivers else coarse(trio.current_time() + STAND_BY_S)
            await self._stand_in.wait(look_at)
            while self._is_idle and seen == self._received:
                await self._read_on()

    @property
    def _is_idle(self) -> bool:
        is_read = self._closing or self._receiving
        return self._ending is None and not is_read and len(self._unread) < self._unread_max
