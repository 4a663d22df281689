"""The byte stream under an accepted connection, for hypercorn to read and write, and for a plain function to write."""

import os

import trio

from relay.wakeup import Signal

CLOSE_FRAME = b"\x88"
"""The first byte of one, unmasked. Behind other data that begins so `write_now` takes nothing, which is only slower."""


class ServerStream(trio.abc.Stream):
    """A TCP stream that can also be written from a plain function, between the writes of the library above.

    `write_rest` must run for as long as `write_now` is used. `all_handed_on` is set by the server, when it reads no
    more and the application has been given everything that was read.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.socket = stream.socket
        self.all_handed_on = trio.Event()
        self._stream = stream
        self._writing = trio.Lock()
        self._rest = b""
        self._some_rest = Signal()
        self._goodbye_said = False

    def write_now(self, data: bytes | bytearray) -> bool:
        """Hand `data` to the kernel in this instant. False, and nothing is written, when it takes none or has to wait.

        What the kernel leaves over of `data` is written by `write_rest`, before anything else.
        """
        if self._rest or self._goodbye_said or self._writing.locked():
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
            rest, self._rest = self._rest, b""
            await self._stream.send_all(rest + data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        """As a stream does. Raises BusyResourceError while somebody writes; who writes meanwhile waits, and finds the
        stream broken."""
        if self._writing.locked():
            raise trio.BusyResourceError("somebody writes")
        async with self._writing:
            await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def abort(self) -> None:
        """Close at once, under whoever reads or writes."""
        self.socket.close()
