"""The WebSocket protocol behind the handshake (RFC 6455), for either side, without I/O.

Bytes go in by `feed`, and what they mean comes out of `next_event`. What is to be sent is returned as bytes, and what
is to be sent in answer is given by `take_answers`. No extension and no subprotocol is known.

| state   | takes                    | leaves when                                                      |
|---------|--------------------------|------------------------------------------------------------------|
| open    | messages, pings          | `goodbye` -> parting; the peer's goodbye, or a violation -> over |
| parting | messages, answers nothing| the peer's goodbye, or a violation -> over                       |
| over    | nothing                  |                                                                  |
"""

from dataclasses import dataclass
from enum import Enum

from relay.errors import LocalProtocolError
from relay.net.link.fragments import Fragments, MessageBounds, ProtocolViolated, Violation, whole_text
from relay.net.link.frames import (
    BINARY,
    CLOSE,
    CONTROL_PAYLOAD_MAX_BYTES,
    FINAL,
    LENGTH_16,
    LENGTH_64,
    MASK_BYTES,
    MASKED,
    NO_STATUS_CODE,
    PING,
    PONG,
    TEXT,
    close_payload,
    frame,
    mask,
)
from relay.net.link.pace import FramePace, FrameRates

FRAMES_PER_TURN = 4
"""So many frames that give no event are taken in one `next_event`: each costs time within which nobody else has a
turn."""

_CONTROL = 8
_FIRST_BYTES = frozenset((0, 1, 2, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A))
"""The first byte of a head: no other opcodes are known, no reserved bit has a meaning without an extension, and no
control frame is a fragment (5.2, 5.4)."""
_WHOLE_TEXT, _WHOLE_BINARY, _WHOLE_CLOSE = FINAL | TEXT, FINAL | BINARY, FINAL | CLOSE
_WHOLE_MESSAGES = (_WHOLE_TEXT, _WHOLE_BINARY)
_USUAL_HEAD_BYTES = 4
"""Of a message of 126 bytes to 64 KiB that is not masked."""
_CLOSE_CODES = frozenset((1000, 1001, 1002, 1003, *range(1007, 1015)))
_FREE_CLOSE_CODES = range(3000, 5000)
"""Those that a close frame may hold: registered ones, and those of libraries and applications (7.4)."""


class Side(Enum):
    """The ends of a WebSocket, by what they did in the handshake."""

    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The peer's close frame. The code is 1005 if it held none."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Pong:
    """An answer to a ping, or one that nobody asked for."""

    payload: bytes


Event = str | bytes | Pong | Goodbye | Violation
"""A message is what it holds: text as str, binary as bytes."""

NO_FRAME = Violation(1002, "not a WebSocket frame")
WRONG_MASK = Violation(1002, "masked by the wrong side")
BAD_LENGTH = Violation(1002, "a length that is not allowed")
BAD_CLOSE = Violation(1002, "a close code that is not allowed")
TOO_MANY_CONTROLS = Violation(1008, "too many pings")


class WebSocketProtocol:
    """One WebSocket, from the first byte behind the handshake on. Times are monotonic seconds.

    It keeps what was fed and is not taken yet, and one message: it is to be fed only while `is_hungry`, and not before
    `due_s`.
    """

    def __init__(self, side: Side, bounds: MessageBounds, rates: FrameRates) -> None:
        self.is_hungry = True
        """Whether there is no whole frame left of what was fed. That is known when a message was the last of it, and
        otherwise when `next_event` has found nothing more."""
        self.is_over = False
        """Whether nothing more will be taken."""
        self.said_goodbye = False
        """Whether nothing more may be sent but what `take_answers` has."""
        self._masks = side is Side.CLIENT
        self._bounds = bounds
        self._pace = FramePace(rates)
        self._data: bytes | bytearray = b""
        self._at = 0
        self._head: tuple[int, int, bytes] | None = None
        self._fragments = Fragments(bounds)
        self._pong: bytes | None = None
        self._farewell = b""

    @property
    def due_s(self) -> float:
        """From when on `next_event` gives anything."""
        return self._pace.due_s

    def change_rates(self, rates: FrameRates, surplus: FramePace | None = None) -> None:
        """From now on other rates hold, as after a pause."""
        self._pace.change(rates, surplus)

    def feed(self, data: bytes | bytearray) -> None:
        """Add what was received."""
        if self._at == len(self._data):
            self._data = data
        else:
            kept = self._data if isinstance(self._data, bytearray) else bytearray(self._data)
            del kept[: self._at]
            kept += data
            self._data = kept
        self._at = 0
        self.is_hungry = False

    def next_event(self, now_s: float) -> Event | None:
        """The next event. None when there is none among the next FRAMES_PER_TURN frames, when more must be fed
        (`is_hungry`), before `due_s`, and when it is over."""
        for _ in range(FRAMES_PER_TURN):
            if self.is_over or now_s < self._pace.due_s:
                return None
            try:
                event = self._take_frame(now_s)
            except ProtocolViolated as error:
                return self._end(error.violation, error.violation.code, error.violation.reason)
            if event is not None or self.is_hungry:
                return event
        return None

    def more_binaries(self, now_s: float, most: int) -> list[bytes]:
        """As many calls of `next_event`, at a fraction of the price, as long as what comes next is there and a binary
        message in one frame of no more than 64 KiB; at most so many."""
        messages: list[bytes] = []
        if self._head or self._fragments.has_begun:
            return messages
        data, at = self._data, self._at
        while len(messages) < most and now_s >= self._pace.due_s:
            if len(data) - at < _USUAL_HEAD_BYTES or data[at] != _WHOLE_BINARY:
                break
            second = data[at + 1]
            length = second & ~MASKED
            if length == LENGTH_16 and (length := int.from_bytes(data[at + 2 : at + 4], "big")) < LENGTH_16:
                break
            payload_at = at + _HEAD_BYTES[second]
            end = payload_at + length
            is_masked = second >= MASKED
            if is_masked is self._masks or second & ~MASKED == LENGTH_64 or end > len(data):
                break
            if length > self._bounds.binary_max_bytes:
                break
            payload: bytes | bytearray = data[payload_at:end]
            if is_masked:
                payload = mask(payload, bytes(data[payload_at - MASK_BYTES : payload_at]))
            self._pace.charge(now_s, end - at)
            messages.append(bytes(payload))
            at = end
        if messages:
            self._at = at
            if at == len(data):
                self._data, self._at = b"", 0
                self.is_hungry = True
        return messages

    def message(self, message: str | bytes) -> bytes:
        """The frame of a message to send. Raises LocalProtocolError behind a goodbye."""
        if self.said_goodbye:
            raise LocalProtocolError("a message behind a goodbye")
        if isinstance(message, str):
            return frame(TEXT, message.encode(), masked=self._masks)
        return frame(BINARY, message, masked=self._masks)

    def ping(self, payload: bytes) -> bytes:
        """The frame of a ping to send, of 125 bytes at most. Raises LocalProtocolError behind a goodbye."""
        if self.said_goodbye:
            raise LocalProtocolError("a ping behind a goodbye")
        return frame(PING, payload, masked=self._masks)

    def goodbye(self, code: int, reason: str = "") -> bytes:
        """The close frame to send; nothing if one was given before."""
        if self.said_goodbye:
            return b""
        self.said_goodbye = True
        self._pong = None
        return frame(CLOSE, close_payload(code, reason), masked=self._masks)

    @property
    def has_answers(self) -> bool:
        """Whether `take_answers` gives anything."""
        return self._pong is not None or bool(self._farewell)

    def take_answers(self) -> bytes:
        """The frames to send that the peer's frames ask for: the answer to its last ping, and its goodbye's."""
        pong = b"" if self._pong is None else frame(PONG, self._pong, masked=self._masks)
        farewell, self._farewell, self._pong = self._farewell, b"", None
        return pong + farewell

    def _take_frame(self, now_s: float) -> Event | None:
        head = self._head or self._read_head(now_s)
        if head is None:
            self.is_hungry = True
            return None
        first, length, key = head
        data, payload_at = self._data, self._at
        end = payload_at + length
        if end > len(data):
            self._head = head
            self.is_hungry = True
            return None
        payload: bytes | bytearray = data[payload_at:end]
        if not self._masks:
            payload = mask(payload, key)
        self._head = None
        self._at = end
        if end == len(data):  # of a long message nothing stays
            self._data, self._at = b"", 0
            self.is_hungry = first in _WHOLE_MESSAGES
        if first == _WHOLE_TEXT:
            return whole_text(payload)
        if first == _WHOLE_BINARY:
            return bytes(payload)
        if first & _CONTROL:
            return self._take_control(first & ~FINAL, bytes(payload))
        return self._fragments.take(payload, final=first >= FINAL)

    def _read_head(self, now_s: float) -> tuple[int, int, bytes] | None:
        """The first byte of the next frame, the length of its payload, which begins at `_at` then, and the key of its
        mask; None while the head is not there whole."""
        data, at = self._data, self._at
        there = len(data) - at
        if there < 2:
            return None
        first, second = data[at], data[at + 1]
        length = second & ~MASKED
        if first not in _FIRST_BYTES:
            raise ProtocolViolated(NO_FRAME)
        if (second < MASKED) is not self._masks:
            raise ProtocolViolated(WRONG_MASK)
        if first & _CONTROL and length > CONTROL_PAYLOAD_MAX_BYTES:
            raise ProtocolViolated(BAD_LENGTH)
        n_bytes = _HEAD_BYTES[second]
        if there < n_bytes:
            return None
        if length == LENGTH_16:
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            _check_length(length, LENGTH_16, 1 << 16)
        elif length == LENGTH_64:
            length = int.from_bytes(data[at + 2 : at + 10], "big")
            _check_length(length, 1 << 16, 1 << 63)
        if not first & _CONTROL:
            self._fragments.announce(first & ~FINAL, length, final=first >= FINAL)
        elif first != _WHOLE_CLOSE and not self._pace.allows_control(now_s):
            raise ProtocolViolated(TOO_MANY_CONTROLS)
        self._pace.charge(now_s, n_bytes + length)
        self._at = at + n_bytes
        return first, length, b"" if self._masks else bytes(data[self._at - MASK_BYTES : self._at])

    def _take_control(self, opcode: int, payload: bytes) -> Event | None:
        if opcode == PING:
            if not self.said_goodbye:
                self._pong = payload
            return None
        if opcode == PONG:
            return Pong(payload)
        goodbye = _goodbye(payload)
        return self._end(goodbye, goodbye.code, "")

    def _end(self, event: Goodbye | Violation, code: int, reason: str) -> Event:
        pong = self._pong
        if not self.said_goodbye:
            self._farewell = self.goodbye(code, reason)
            self._pong = pong
        self.is_over = True
        self.is_hungry = False
        self._data, self._at = b"", 0
        self._fragments = Fragments(self._bounds)
        return event


def _goodbye(payload: bytes) -> Goodbye:
    if not payload:
        return Goodbye(NO_STATUS_CODE)
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _CLOSE_CODES or code in _FREE_CLOSE_CODES):
        raise ProtocolViolated(BAD_CLOSE)
    return Goodbye(code, whole_text(payload[2:]))


def _check_length(length: int, least: int, most: int) -> None:
    """A length is written in the fewest bytes that hold it (5.2)."""
    if not least <= length < most:
        raise ProtocolViolated(BAD_LENGTH)


def _head_bytes(second: int) -> int:
    """How long a head is, by its second byte: a bit for the mask, and a length that may continue (5.2)."""
    more_length = {LENGTH_16: 2, LENGTH_64: 8}.get(second & ~MASKED, 0)
    return 2 + more_length + (MASK_BYTES if second & MASKED else 0)


_HEAD_BYTES = tuple(_head_bytes(second) for second in range(256))
