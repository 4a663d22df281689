"""Reads the HTTP requests of one connection from its stream, a head or a small part of a body in a turn.

All connections of strangers share the turns. Who waits for one has received nothing yet: it stays in the kernel. A
connection that is over needs no turn: a crowd that hangs up would wait for a minute, and hold what it has.
"""

from typing import Protocol

from relay.net.turns import Turns

READ_BYTES = 16_384
"""Of a body."""
HEAD_READ_BYTES = 2048
"""Of a head, which seldom has more. What is behind it waits in the kernel, and not here. After 700 connections that
sent requests and took no answer the C library kept 11 MB with 16 KB, and keeps 3 MB with this (measured)."""
LINES_PER_TURN = 16
"""In a body. A chunk has two (RFC 9112, 7.1), and costs 0.03 ms until the application has it, however little is in it
(measured)."""
LINES_UNJUDGED = 256
LINE_MEAN_MIN_BYTES = 32
"""A body of more lines than that is given up when they are shorter than this on average. Of 20 ms of mu-law as a chunk
it is 84."""

_LINE_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"
_OVERLAP = len(_HEAD_END) - 1


class ByteSource(Protocol):
    """The stream that is read."""

    async def wait_readable(self) -> bool: ...
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray: ...


class RequestReader:
    """Between a stream and the library that reads its requests: `receive` in place of the stream's `receive_some`.

    It raises what the stream raises. `client` is whose turns the connection has.
    """

    def __init__(self, stream: ByteSource, turns: Turns, client: str = "") -> None:
        self._stream = stream
        self._turns = turns
        self._client = client
        self._data = b""
        self._at = 0
        self._in_body = False
        self._body_lines = self._body_bytes = 0

    @property
    def has_rest(self) -> bool:
        """Whether more was received than `receive` has returned."""
        return self._at < len(self._data)

    async def receive(self, *, in_body: bool) -> bytes:
        """The next bytes: the rest of a head and nothing behind it, or `in_body` LINES_PER_TURN lines at most. Empty at
        the end of the stream, when the peer cannot be answered any more, and in a body of tiny lines.

        Always a checkpoint. Cancelled, it has taken nothing.
        """
        news = not self.has_rest
        if news and not await self._stream.wait_readable():
            return b""
        await self._turns.wait(self._client)
        if news:
            received = bytes(await self._stream.receive_some(READ_BYTES if in_body else HEAD_READ_BYTES))
            if not received:
                return b""
            self._data += received
        self._count_lines(in_body=in_body, news=news)
        if self._lines_are_tiny:
            return b""
        end, lines = _end_of_lines(self._data, self._at) if in_body else (_end_of_head(self._data, self._at), 0)
        if lines:
            await self._turns.wait_for_lines(self._client, lines)
        return self._take(end)

    @property
    def _lines_are_tiny(self) -> bool:
        return self._body_lines > max(LINES_UNJUDGED, self._body_bytes / LINE_MEAN_MIN_BYTES)

    def _count_lines(self, *, in_body: bool, news: bool) -> None:
        """Count what was received of a body, before any of it is handed on."""
        if not in_body:
            self._body_lines = self._body_bytes = 0
        elif news or not self._in_body:
            self._body_lines += self._data.count(_LINE_END, self._at)
            self._body_bytes += len(self._data) - self._at
        self._in_body = in_body

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
