"""The byte stream under an accepted connection: hypercorn reads and writes it until it is that of a WebSocket."""

import fcntl
import termios
from collections.abc import Callable
from contextlib import suppress

import trio

from relay.net.hang_ups import HangUps
from relay.net.link.fragments import MessageBounds
from relay.net.link.link import Link
from relay.net.link.pace import OF_A_CALL, OF_A_STRANGER, FramePace
from relay.net.link.prompt_stream import TlsStream
from relay.net.link.protocol import Side, WebSocketProtocol
from relay.net.link.shared_reader import notify_closing
from relay.net.readiness import Readiness
from relay.net.transport import TCP_CLOSE, tcp_state

READ_BYTES = 65_536
UNREAD_MAX = 50
"""Messages: a second of audio."""
LINGER_S = 1.0
LINGER_BYTES = 2**18
"""So long, and so much, is read behind our goodbye and thrown away: what the kernel has unread when it closes makes it
reset the connection, and the peer loses what was said last (RFC 9112, 9.6)."""
_NO_BYTES = bytes(4)
"""What FIONREAD (tcp(7)) says when nothing is there to be read."""


class Place:
    """What a connection holds while it is open, for who bounds how many there are. This one has no bounds.

    `client` is whose connection it is.
    """

    client = ""

    def waits(self) -> None:
        """The connection waits for its peer: for the head of a request, or until it takes a part of an answer."""

    def is_served(self) -> None:
        """The head of a request is there, and is being answered."""

    def admit(self) -> None:
        """It is the socket of a call."""


class ServerStream(trio.abc.Stream):
    """A TCP stream, or `tls` over it, which `open_link` takes from the library above.

    `link` is the WebSocket, once it is one. From then on the library writes into the void: what it would say at the end
    of a WebSocket the link has said. `broken` says that something could not be sent, or that the peer hung up in a
    `pause`. `aclose` is the library's, and ends its use of the stream; `part` then closes the connection. `peer` is
    the address whose connection it is: the one that a proxy names, where it must. `place` is told what the connection
    does, `surplus` is that of all calls, and `hang_ups` and `readiness` are those of the server.
    """

    def __init__(
        self,
        stream: trio.SocketStream,
        bounds: MessageBounds,
        hang_ups: HangUps,
        readiness: Readiness,
        *,
        place: Place | None = None,
        surplus: FramePace | None = None,
        tls: TlsStream | None = None,
        peer: str = "",
    ) -> None:
        self.socket = stream.socket
        self.place = place or Place()
        self.peer = peer
        self.link: Link | None = None
        self.broken = False
        self._bounds = bounds
        self._surplus = surplus
        self._hang_ups = hang_ups
        self._readiness = readiness
        self._closed = False
        self._tcp, self._tls = stream, tls
        self._stream = tls or stream
        self._writing = trio.Lock()
        self._when_admitted: list[Callable[[], None]] = [self.place.admit]

    def open_link(self, behind: bytes) -> None:
        """The handshake is answered: from now on the bytes are frames, and `behind` those that came with it."""
        protocol = WebSocketProtocol(Side.SERVER, self._bounds, OF_A_STRANGER)
        protocol.feed(behind)
        self.link = Link(self._stream, protocol, "socket", unread_max=UNREAD_MAX)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As a stream does, until it is that of a WebSocket; then it drops what it is given."""
        if self.link is not None:
            await trio.lowlevel.checkpoint()
            return
        async with self._writing:
            self._check_open()
            self.place.waits()
            try:
                await self._stream.send_all(data)
            except trio.BrokenResourceError:
                self.broken = True
                raise
            finally:
                self.place.is_served()

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self._check_open()
        return await self._stream.receive_some(max_bytes)

    async def wait_readable(self) -> bool:
        """Wait until there is something to receive. False: nothing will be, or the peer has reset the connection."""
        self._check_open()
        if self._tls is not None and self._tls.has_received:
            await trio.lowlevel.checkpoint()
            return True
        await self._readiness.wait(self.socket)
        self._check_open()
        unread_bytes = fcntl.ioctl(self.socket.fileno(), termios.FIONREAD, _NO_BYTES)
        return unread_bytes != _NO_BYTES and tcp_state(self.socket) != TCP_CLOSE

    async def pause(self, seconds: float) -> None:
        """Sleep, but no longer than until the peer hangs up: then the connection is `broken`."""
        with self._hang_ups.watch(self.socket) as scope:
            await trio.sleep(seconds)
        self.broken |= scope.cancelled_caught

    async def send_eof(self) -> None:
        """As a stream does, until it is that of a WebSocket, whose end `part` says. Raises BusyResourceError while
        somebody writes; who writes meanwhile waits, and finds the stream broken."""
        if self.link is not None:
            await trio.lowlevel.checkpoint()
            return
        if self._writing.locked():
            raise trio.BusyResourceError("somebody writes")
        async with self._writing:
            await self._say_end()

    async def _say_end(self) -> None:
        if self._tls is not None:
            await self._tls.send_goodbye()
        await self._tcp.send_eof()

    async def aclose(self) -> None:
        """Wake whoever reads or writes with ClosedResourceError. Always a checkpoint."""
        if not self._closed:
            self._closed = True
            self._notify_closing()
        await trio.lowlevel.checkpoint()

    async def part(self) -> None:
        """Close the connection, in such a way that the peer gets what was said last, if it takes no longer than
        LINGER_S and sends no more than LINGER_BYTES. Nobody else may use the stream any more."""
        try:
            with trio.move_on_after(LINGER_S), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._say_end()
                unread = LINGER_BYTES
                while unread > 0 and (data := await self._tcp.receive_some(READ_BYTES)):
                    unread -= len(data)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once, under whoever reads or writes."""
        self._closed = True
        self._notify_closing()
        self.socket.close()

    def admit(self) -> None:
        """It is the socket of a call: frames are read as fast as a call sends them from now on."""
        if self.link is not None:
            self.link.change_rates(OF_A_CALL, self._surplus)
        for tell in self._when_admitted:
            tell()

    def when_admitted(self, tell: Callable[[], None]) -> None:
        """Call `tell` when the peer is no stranger any more."""
        self._when_admitted.append(tell)

    def _notify_closing(self) -> None:
        self._readiness.forget(self.socket)
        notify_closing(self.socket)

    def _check_open(self) -> None:
        if self._closed or self.socket.fileno() < 0:
            raise trio.ClosedResourceError("the connection is being closed")
