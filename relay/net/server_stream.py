"""The byte stream under an accepted connection, for hypercorn to read and write, and for a plain function to write."""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import trio

from relay.net.frame_bounds import FrameBounds
from relay.net.frame_reader import FrameReader
from relay.net.link.pace import OF_A_CALL
from relay.wakeup import Signal
from relay.weak import weakly

READ_BYTES = 65_536
LINGER_S = 1.0
LINGER_BYTES = 2**18
"""So long, and so much, is read behind our goodbye and thrown away: what the kernel has unread when it closes makes it
reset the connection, and the peer loses what was said last (RFC 9112, 9.6)."""

CLOSE_FRAME = b"\x88"
"""The first byte of one, unmasked. Behind other data that begins so `write_now` takes nothing, which is only slower."""


class Place:
    """What a connection holds while it is open, for who bounds how many there are. This one has no bounds.

    `client` is whose connection it is.
    """

    client = ""

    def waits(self) -> None:
        """The connection waits for the head of a request."""

    def is_served(self) -> None:
        """The head of a request is there, and is being answered."""

    def admit(self) -> None:
        """It is the socket of a call."""


class ServerStream(trio.abc.Stream):
    """A TCP stream that can also be written from a plain function, between the writes of the library above.

    `write_rest` must run for as long as `write_now` is used. `all_handed_on` is set by the server, when it reads no
    more and the application has been given everything that was read. `broken` says that something could not be sent.
    `frames` reads the stream once it is that of a WebSocket. `aclose` is the library's, and ends its use of the stream;
    `part` then closes the connection. `place` is told what the connection does.
    """

    def __init__(self, stream: trio.SocketStream, bounds: FrameBounds, place: Place | None = None) -> None:
        self.socket = stream.socket
        self.place = place or Place()
        self.frames = FrameReader(partial(weakly(self.receive_some), READ_BYTES), bounds)
        self.all_handed_on = trio.Event()
        self.broken = False
        self._closed = False
        self._stream = stream
        self._writing = trio.Lock()
        self._rest = b""
        self._some_rest = Signal()
        self._goodbye_said = False
        self._when_admitted: list[Callable[[], None]] = [self.place.admit]

    def write_now(self, data: bytes | bytearray) -> bool:
        """Hand `data` to the kernel in this instant. False, and nothing is written, when it takes none or has to wait.

        What the kernel leaves over of `data` is written by `write_rest`, before anything else.
        """
        if self._rest or self._goodbye_said or self._writing.locked() or self._closed:
            return False
        try:
            taken = os.write(self.socket.fileno(), data)
        except OSError:  # also BlockingIOError; of a broken connection the next ordinary write tells
            return False
        if taken < len(data):
            self._rest = bytes(data[taken:])
            self._some_rest.fire()
        return True

    async def write_rest(self) -> None:
        """Write what `write_now` began, until cancelled or the connection is gone."""
        while True:
            while not self._rest:
                await self._some_rest.wait()
            try:
                await self.send_all(b"")
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As a stream does. Behind the close frame of a WebSocket, which the library above also sends unasked, nothing
        may follow (RFC 6455, 5.5.1): `write_now` takes no more."""
        self._goodbye_said = self._goodbye_said or data[:1] == CLOSE_FRAME
        async with self._writing:
            self._check_open()
            rest, self._rest = self._rest, b""
            try:
                await self._stream.send_all(rest + data)
            except trio.BrokenResourceError:
                self.broken = True
                raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self._check_open()
        return await self._stream.receive_some(max_bytes)

    async def wait_readable(self) -> None:
        """Return when there is something to receive, or nothing will be any more."""
        self._check_open()
        await trio.lowlevel.wait_readable(self.socket)

    async def send_eof(self) -> None:
        """As a stream does. Raises BusyResourceError while somebody writes; who writes meanwhile waits, and finds the
        stream broken."""
        if self._writing.locked():
            raise trio.BusyResourceError("somebody writes")
        async with self._writing:
            await self._stream.send_eof()

    async def aclose(self) -> None:
        """Wake whoever reads or writes with ClosedResourceError. Always a checkpoint."""
        if not self._closed:
            self._end_use()
            trio.lowlevel.notify_closing(self.socket)
        await trio.lowlevel.checkpoint()

    async def part(self) -> None:
        """Close the connection, in such a way that the peer gets what was said last, if it takes no longer than
        LINGER_S and sends no more than LINGER_BYTES. Nobody else may use the stream any more."""
        try:
            with trio.move_on_after(LINGER_S), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._stream.send_eof()
                unread = LINGER_BYTES
                while unread > 0 and (data := await self._stream.receive_some(READ_BYTES)):
                    unread -= len(data)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once, under whoever reads or writes."""
        self._end_use()
        self.socket.close()

    def admit(self) -> None:
        """It is the socket of a call: frames are read as fast as a call sends them from now on."""
        self.frames.change_rates(OF_A_CALL)
        for tell in self._when_admitted:
            tell()

    def when_admitted(self, tell: Callable[[], None]) -> None:
        """Call `tell` when the peer is no stranger any more."""
        self._when_admitted.append(tell)

    def stop(self) -> None:
        """Hand no more frames on, not even those of a flood that were read already and wait for their time."""
        self.frames.stop()

    def _end_use(self) -> None:
        self._closed = True
        self.stop()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("the connection is being closed")
