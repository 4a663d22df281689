"""Puts the fragments of a message together (RFC 6455, 5.4), within bounds; text is decoded as it comes (8.1)."""

from codecs import getincrementaldecoder
from dataclasses import dataclass

from relay.net.link.frames import CONTINUATION, TEXT

FRAGMENTS_MAX = 4096
"""Of one message: one of 8 MiB in the pieces of 4 KiB that some libraries make has half of them."""

_Utf8 = getincrementaldecoder("utf-8")


@dataclass(frozen=True, slots=True)
class MessageBounds:
    """How long a message may be, in bytes, and in how many fragments it may come."""

    text_max_bytes: int
    binary_max_bytes: int
    fragments_max: int = FRAGMENTS_MAX


@dataclass(frozen=True, slots=True)
class Violation:
    """The peer broke the protocol, or went beyond a bound; `code` is what it is told (7.4.1)."""

    code: int
    reason: str


OUT_OF_ORDER = Violation(1002, "fragments out of order")
NOT_UTF8 = Violation(1007, "text that is not UTF-8")
TOO_MANY_FRAGMENTS = Violation(1008, "message in too many fragments")
TOO_LONG = Violation(1009, "message too long")


class ProtocolViolated(Exception):
    """Leaves the reading of a frame that cannot be taken."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.reason)
        self.violation = violation


class Fragments:
    """The message that is being received. Its frames are announced when their head is there, and then taken whole."""

    def __init__(self, bounds: MessageBounds) -> None:
        self._bounds = bounds
        self._opcode = CONTINUATION
        """Of the first frame; none has come while it is CONTINUATION."""
        self._n_bytes = self._count = 0
        self._parts: list[bytes] = []
        self._texts: list[str] = []
        self._decoder = _Utf8()

    @property
    def has_begun(self) -> bool:
        """Whether a message was begun that is not whole yet."""
        return self._opcode != CONTINUATION

    def announce(self, opcode: int, length: int, *, final: bool) -> None:
        """A data frame begins. Raises ProtocolViolated where it must not, or makes the message too long."""
        begins = self._opcode == CONTINUATION
        if begins is (opcode == CONTINUATION):
            raise ProtocolViolated(OUT_OF_ORDER)
        kind = opcode if begins else self._opcode
        n_bytes = self._n_bytes + length
        if n_bytes > (self._bounds.text_max_bytes if kind == TEXT else self._bounds.binary_max_bytes):
            raise ProtocolViolated(TOO_LONG)
        if begins and final:
            return
        if self._count == self._bounds.fragments_max:
            raise ProtocolViolated(TOO_MANY_FRAGMENTS)
        self._opcode, self._n_bytes, self._count = kind, n_bytes, self._count + 1

    def take(self, payload: bytes | bytearray, *, final: bool) -> str | bytes | None:
        """Add a fragment; the whole message when it is the last. Raises ProtocolViolated when it cannot be text."""
        if self._opcode == TEXT:
            self._add_text(payload, final=final)
        elif payload:
            self._parts.append(bytes(payload))
        if not final:
            return None
        message = "".join(self._texts) if self._opcode == TEXT else b"".join(self._parts)
        self._opcode = CONTINUATION
        self._n_bytes = self._count = 0
        self._parts, self._texts = [], []
        return message

    def _add_text(self, payload: bytes | bytearray, *, final: bool) -> None:
        try:
            text = self._decoder.decode(payload, final)
        except UnicodeDecodeError:
            raise ProtocolViolated(NOT_UTF8) from None
        if text:
            self._texts.append(text)


def whole_text(payload: bytes | bytearray) -> str:
    """The text of a payload. Raises ProtocolViolated when it is none."""
    try:
        return str(payload, "utf-8")
    except UnicodeDecodeError:
        raise ProtocolViolated(NOT_UTF8) from None
