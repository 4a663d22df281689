"""A stream that also takes bytes from a plain function, where what is below it can: TCP, and TLS over it."""

import os
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import trio

from relay.net.link.shared_reader import Seat, Take, notify_closing, take_seat
from relay.net.sockets import WantedAt
from relay.net.transport import TCP_CLOSE, TCP_CLOSE_WAIT, tcp_state

RECEIVE_BYTES = 65_536


class PromptStream(trio.abc.Stream):
    """Any stream; only over TCP it takes bytes in an instant.

    What it has in hand is written before anything else by `send_all`. One task sends at a time, and meanwhile nobody
    uses `write_now`.
    """

    def __init__(self, below: trio.abc.Stream) -> None:
        self._below = below
        self._socket = below.socket if isinstance(below, trio.SocketStream) else None
        self._rest = b""
        self._seat: Seat | None = None

    @contextmanager
    def read_together(self) -> Iterator[None]:
        """Have TCP read by the reader of this run of trio, if there is one, whenever it reads sockets together.

        On leaving, who still receives gets ClosedResourceError.
        """
        self._seat = None if self._socket is None else take_seat(self._socket.fileno(), self._below.receive_some)
        try:
            yield
        finally:
            if self._seat is not None:
                self._seat.leave()
                self._seat = None

    @property
    def peer_has_left(self) -> bool:
        """Whether the peer has closed TCP, which is known before all that it sent is read."""
        if self._socket is None:
            return False
        with suppress(OSError):
            return tcp_state(self._socket) in (TCP_CLOSE, TCP_CLOSE_WAIT)
        return True

    @property
    def has_rest(self) -> bool:
        """Whether it has bytes in hand, for `send_all`."""
        return bool(self._rest)

    @property
    def can_write_now(self) -> bool:
        """Whether it is worth a try."""
        return self._socket is not None and not self._rest

    def write_now(self, data: bytes) -> bool:
        """Take `data` in this instant. False, and nothing is written, when that is not possible."""
        if not self.can_write_now:
            return False
        taken = self._hand_over(data)
        self._rest = data[taken:] if taken else b""
        return taken > 0

    def write_later(self, data: bytes) -> None:
        """Take `data` in hand."""
        self._rest += data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest, self._rest = self._rest, b""
        await self._below.send_all(rest + data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._below.wait_send_all_might_not_block()

    def receive_some(self, max_bytes: int | None = None) -> Coroutine[Any, Any, bytes | bytearray]:
        return self._receive_below(max_bytes)

    @property
    def is_read_together(self) -> bool:
        """Whether `deliver` can be used now."""
        return self._seat is not None and self._seat.is_shared

    @property
    def delivers(self) -> bool:
        """Whether who waits in `deliver` was neither cancelled nor told of an end."""
        return self._seat is not None and self._seat.delivers

    async def deliver(self, take: Take, wanted_at: WantedAt | None = None) -> None:
        """Have what comes given to `take` by the task that reads for all, until that wants no more, or sockets are read
        by themselves; see `Seat.deliver`."""
        if self._seat is not None:
            await self._seat.deliver(take, wanted_at)

    async def aclose(self) -> None:
        if self._socket is not None:
            notify_closing(self._socket)
        await self._below.aclose()

    def _receive_below(self, max_bytes: int | None) -> Coroutine[Any, Any, bytes | bytearray]:
        """A plain function, because every coroutine around a message costs time."""
        return (self._below.receive_some if self._seat is None else self._seat.receive)(max_bytes)

    def _hand_over(self, data: bytes) -> int:
        """How many bytes the kernel took in this instant."""
        if self._socket is None:
            return 0
        try:
            return os.write(self._socket.fileno(), data)
        except OSError:  # also BlockingIOError; of a broken connection the next ordinary write tells
            return 0


class TlsStream(PromptStream):
    """One side of TLS over a stream: the client's of the server that is named, or the server's. trio's own cannot be
    written from a plain function.

    It ends without a goodbye of TLS, and takes the end of the stream below for its own: a WebSocket has a goodbye of
    its own (RFC 6455, 7.1.1), and what is cut off without one counts as lost.
    """

    def __init__(self, below: trio.abc.Stream, context: ssl.SSLContext, server_hostname: str | None = None) -> None:
        super().__init__(below)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )

    @property
    def has_received(self) -> bool:
        """Whether more came than was given out: `receive_some` may return at once."""
        return self._incoming.pending > 0 or self._tls.pending() > 0

    async def do_handshake(self, turn: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint) -> None:
        """Agree on keys, and verify the peer. `turn` is awaited before anything that came is looked at: one such step
        takes 1 ms or more, and the peer decides which. Raises BrokenResourceError, caused by an ssl.SSLError if TLS
        failed."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._below.send_all(self._outgoing.read())
                if await self._receive():
                    await turn()
            except ssl.SSLError as error:
                raise trio.BrokenResourceError from error
            else:
                await self._below.send_all(self._outgoing.read())
                return

    def write_now(self, data: bytes) -> bool:
        """Take `data` in this instant; what the kernel does not take of the records is kept in hand."""
        if not self.can_write_now:
            return False
        try:
            self._seal(data)
        except trio.BrokenResourceError:
            return False
        records = self._outgoing.read()
        self._rest = records[self._hand_over(records) :]
        return True

    def write_later(self, data: bytes) -> None:
        self._seal(data)
        self._rest += self._outgoing.read()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._seal(data)
        await super().send_all(self._outgoing.read())

    async def send_goodbye(self) -> None:
        """Say that nothing follows (close_notify; RFC 8446, 6.1)."""
        with suppress(ssl.SSLError):  # it would wait for the answer
            self._tls.unwrap()
        await super().send_all(self._outgoing.read())

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As a stream does. Cancelled, it has taken nothing."""
        await trio.lowlevel.checkpoint_if_cancelled()
        others_had_turn = False
        while (data := self._open(max_bytes or RECEIVE_BYTES)) is None:
            others_had_turn = True
            if not await self._receive():
                return b""
        if not others_had_turn:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return data

    async def deliver(self, take: Take, wanted_at: WantedAt | None = None) -> None:
        def open_for(records: bytes) -> bool:
            self._put_in(records)
            return self._give_out(take)

        if self._give_out(take):
            await super().deliver(open_for, wanted_at)

    async def _receive(self) -> bool:
        """Receive records, or parts of them; False at the end of the stream."""
        received = await self._receive_below(RECEIVE_BYTES)
        self._put_in(received)
        return bool(received)

    def _put_in(self, records: bytes | bytearray) -> None:
        if records:
            self._incoming.write(records)
        else:
            self._incoming.write_eof()

    def _give_out(self, take: Take) -> bool:
        """Give to `take` all that the records hold. Returns whether it wants more."""
        while (data := self._open(RECEIVE_BYTES)) is not None:
            if not take(data):
                return False
            if len(data) < RECEIVE_BYTES:
                break
        return True

    def _open(self, max_bytes: int) -> bytes | None:
        """What the records that are there hold; None if that is nothing, and empty behind the last."""
        parts, n_bytes = [], 0
        try:
            while n_bytes < max_bytes and (part := self._tls.read(max_bytes - n_bytes)):
                parts.append(part)
                n_bytes += len(part)
        except ssl.SSLWantReadError:
            if not parts:
                return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            pass
        except ssl.SSLError as error:
            if not parts:
                raise trio.BrokenResourceError from error
        finally:
            self._rest += self._outgoing.read()  # what TLS says by itself, as new keys, goes with what is sent next
        return b"".join(parts)

    def _seal(self, data: bytes | bytearray | memoryview) -> None:
        """Make records of `data`, behind those that are there."""
        left = memoryview(data)
        try:
            while left:
                left = left[self._tls.write(left) :]
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
