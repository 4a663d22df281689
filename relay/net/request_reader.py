"""Reads the HTTP requests of one connection from its stream, a head or a small part of a body in a turn.

All connections of strangers share the turns, because trio runs whatever is ready in one step: hundreds of requests that
come together would otherwise be one step, in which no call hears or sends anything.
"""

from collections.abc import Awaitable, Callable

import trio

ReceiveSome = Callable[[], Awaitable[bytes | bytearray]]

LINES_PER_TURN = 16
"""In a body. A chunk has two (RFC 9112, 7.1), and costs 0.1 ms however little is in it."""
LINES_PER_S = 2000.0
LINES_BURST_S = 0.1
"""How many lines are read in the bodies of all connections together; after a pause, as many at once as in
LINES_BURST_S. A body with a length has none, unless its bytes look like one."""

_LINE_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"
_OVERLAP = len(_HEAD_END) - 1


class Turns:
    """The order in which connections are read: each in its turn, and between two turns whoever else is ready.

    One for all connections of a server.
    """

    def __init__(self) -> None:
        self._turn = trio.Lock()
        self._turn_for_lines = trio.Lock()
        self._lines_due_s = float("-inf")

    async def wait(self, lines: int = 0) -> None:
        """Return when it is the caller's turn, and so many lines may be read. Always a checkpoint."""
        if lines:
            async with self._turn_for_lines:
                await trio.sleep_until(self._lines_due_s)
                began_s = max(self._lines_due_s, trio.current_time() - LINES_BURST_S)
                self._lines_due_s = began_s + lines / LINES_PER_S
        async with self._turn:
            await trio.lowlevel.checkpoint()


class RequestReader:
    """Between a stream and the library that reads its requests: `receive` in place of the stream's `receive_some`.

    `receive_some` is the stream's, and raises what it raises.
    """

    def __init__(self, receive_some: ReceiveSome, turns: Turns) -> None:
        self._receive_some = receive_some
        self._turns = turns
        self._data = b""
        self._at = 0

    @property
    def has_rest(self) -> bool:
        """Whether more was received than `receive` has returned."""
        return self._at < len(self._data)

    async def receive(self, *, in_body: bool) -> bytes:
        """The next bytes: the rest of a head and nothing behind it, or `in_body` LINES_PER_TURN lines at most. Empty at
        the end of the stream.

        Always a checkpoint. Cancelled, it has taken nothing.
        """
        if not self.has_rest:
            received = bytes(await self._receive_some())
            if not received:
                return b""
            self._data += received
        end, lines = _end_of_lines(self._data, self._at) if in_body else (_end_of_head(self._data, self._at), 0)
        await self._turns.wait(lines)
        return self._take(end)

    def take_rest(self) -> bytes:
        """What was received behind the bytes that `receive` returned last."""
        return self._take(len(self._data))

    def _take(self, end: int) -> bytes:
        taken, self._at = self._data[self._at : end], end
        if end == len(self._data):
            self._data = self._data[-_OVERLAP:]
            self._at = len(self._data)
        return taken


def _end_of_head(data: bytes, at: int) -> int:
    """Where the head ends that begins before or at `at`, as far as it is there; its end may begin before `at`."""
    end = data.find(_HEAD_END, max(0, at - _OVERLAP))
    return len(data) if end < 0 else end + len(_HEAD_END)


def _end_of_lines(data: bytes, at: int) -> tuple[int, int]:
    """Where LINES_PER_TURN lines end, or what is there of them; and how many these are."""
    lines, begin = 0, max(0, at - 1)
    while (end := data.find(_LINE_END, begin)) >= 0:
        lines, begin = lines + 1, end + len(_LINE_END)
        if lines == LINES_PER_TURN:
            return begin, lines
    return len(data), lines
