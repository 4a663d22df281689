"""A splitter finds whole WebSocket messages in the bytes of a connection (RFC 6455, 5.2 to 5.5).

Frames stay as they are, masks included; a message without compression means the same wherever it comes in the order.
"""

from collections.abc import Iterator
from dataclasses import dataclass

_BEGINNINGS = (b"GET ", b"HTTP/1.1 101 ")
"""Of an upgrade and of its answer; what begins in another way is no WebSocket."""
_HEAD_END = b"\r\n\r\n"
_HEAD_MAX_BYTES = 65536
_UPGRADE = b"upgrade: websocket"
_FIN = 0x80
_MASKED = 0x80
_CONTROL = 0x08
_CLOSE = 0x08
_MASK_BYTES = 4
_MESSAGE_MAX_BYTES = 1 << 20
"""A connection with a longer message is passed on as it comes from there on."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`message`: a whole data message. `close`: the goodbye. Neither: something that must stay in its place."""

    data: bytes
    message: bool = False
    close: bool = False


class Splitter:
    """One direction of one connection: what follows an upgrade in whole messages, everything else as it comes."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._message = bytearray()
        self._upgraded: bool | None = None

    def feed(self, data: bytes) -> Iterator[Piece]:
        """The pieces that are complete now. Bytes of an unfinished frame are kept back."""
        self._buffer += data
        if self._upgraded is None and (head := self._head()) is not None:
            yield Piece(head)
        while self._upgraded and (frame := self._frame()) is not None:
            yield from self._pieces(frame)
        if self._upgraded is False and (rest := self.rest()):
            yield Piece(rest)

    def rest(self) -> bytes:
        """Take what was kept back: for the end of the stream."""
        rest = bytes(self._message + self._buffer)
        self._message.clear()
        self._buffer.clear()
        return rest

    def _head(self) -> bytes | None:
        """The head of the request or the answer, which decides how to go on."""
        end = self._buffer.find(_HEAD_END)
        may_be = any(self._buffer.startswith(words[: len(self._buffer)]) for words in _BEGINNINGS)
        if not may_be or len(self._buffer) > _HEAD_MAX_BYTES:
            self._upgraded = False
        if end < 0 or not may_be:
            return None
        head = bytes(self._buffer[: end + len(_HEAD_END)])
        del self._buffer[: len(head)]
        self._upgraded = _UPGRADE in head.lower()
        return head

    def _frame(self) -> bytes | None:
        if len(self._buffer) < 2:
            return None
        short = self._buffer[1] & 0x7F
        extended = {126: 2, 127: 8}.get(short, 0)
        if len(self._buffer) < 2 + extended:
            return None
        payload = int.from_bytes(self._buffer[2 : 2 + extended]) if extended else short
        total = 2 + extended + (_MASK_BYTES if self._buffer[1] & _MASKED else 0) + payload
        if total + len(self._message) > _MESSAGE_MAX_BYTES:
            self._upgraded = False
        if not self._upgraded or len(self._buffer) < total:
            return None
        frame = bytes(self._buffer[:total])
        del self._buffer[:total]
        return frame

    def _pieces(self, frame: bytes) -> Iterator[Piece]:
        opcode = frame[0] & 0x0F
        if opcode & _CONTROL:
            yield Piece(frame, close=opcode == _CLOSE)
            return
        self._message += frame
        if frame[0] & _FIN:
            yield Piece(bytes(self._message), message=True)
            self._message.clear()
