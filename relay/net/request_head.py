"""Checks the head of an HTTP/1.1 request as it was sent, more strictly than the library that then reads it.

What two readers of one connection take differently is how a request is hidden from a proxy in front (RFC 9112, 11.2).
So what the standard lets a server refuse is refused here: lines that end in LF alone (2.2), folded lines (5.2), a body
with two lengths (6.1, 6.3), a transfer coding before HTTP/1.1 (6.1).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

HEAD_MAX_BYTES = 16_384
HEADERS_MAX = 100
"""A browser sends 20, and each proxy adds a few."""

_END = re.compile(rb"\r\n\r\n")
_AMBIGUOUS = re.compile(rb"(?<!\r)\n|\n[ \t]|\r(?!\n|\Z)|\0")
"""A bare LF, a folded line, a bare CR (unless its LF has still to come) or a NUL."""


@dataclass(frozen=True, slots=True)
class HeadProblem:
    """Why a request is refused, and the status that says so (RFC 9110, 15.5; RFC 6585, 5)."""

    status: int
    text: str


def head_problem(received: bytes) -> HeadProblem | None:
    """What is wrong with the head that begins here, as far as it has come; what lies behind it does not matter."""
    end = _END.search(received, 0, HEAD_MAX_BYTES)
    head = received[: end.end() if end else HEAD_MAX_BYTES]
    if _AMBIGUOUS.search(head):
        return HeadProblem(400, "a line of the head does not end in CRLF, is folded, or has a NUL")
    if end is None and len(received) > HEAD_MAX_BYTES:
        return HeadProblem(431, f"the head is too long: at most {HEAD_MAX_BYTES} bytes")
    if head.count(b"\r\n") > HEADERS_MAX + 2:
        return HeadProblem(431, f"too many headers: at most {HEADERS_MAX}")
    return None


def framing_problem(http_version: bytes, headers: Iterable[tuple[bytes, bytes]]) -> HeadProblem | None:
    """What is wrong with how a request says where its body ends. Names of headers are in small letters."""
    names = [name for name, _ in headers]
    if b"transfer-encoding" not in names:
        return None
    if b"content-length" in names:
        return HeadProblem(400, "a body has a Content-Length or a Transfer-Encoding, and not both")
    if http_version < b"1.1":
        return HeadProblem(400, "HTTP/1.0 has no Transfer-Encoding")
    return None
