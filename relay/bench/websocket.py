"""The load writes and reads its WebSocket frames here (RFC 6455): whole messages, a zero masking key, no extension.

A zero key leaves the payload as it is, which the protocol allows and which spares the load the masking.
"""

import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HEAD_END = b"\r\n\r\n"

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MASKED, _FINAL = 0x80, 0x80


def frame(payload: bytes, opcode: int, *, masked: bool) -> bytes:
    """One message in one frame; a client's is masked."""
    length, mask = len(payload), _MASKED if masked else 0
    if length < 126:
        head = bytes((_FINAL | opcode, mask | length))
    elif length < 1 << 16:
        head = bytes((_FINAL | opcode, mask | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((_FINAL | opcode, mask | 127)) + length.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if masked else b"") + payload


def upgrade_request(path: str, host: str, headers: Mapping[str, str] | None = None) -> bytes:
    """A client's handshake, with more headers of its own."""
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    )
    return "\r\n".join(lines).encode() + HEAD_END


def upgrade_answer(key: str) -> bytes:
    """The server's 101 to a handshake with that Sec-WebSocket-Key."""
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    lines = (
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}",
    )
    return "\r\n".join(lines).encode() + HEAD_END


@dataclass(slots=True)
class Deframer:
    """Bytes in, whole messages out. The relay does not fragment; a fragment raises ValueError."""

    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(opcode, payload) of each message that is complete, in order."""
        rest = self._rest
        rest += data
        messages = []
        at = 0
        while (message := _next(rest, at)) is not None:
            opcode, payload, at = message
            messages.append((opcode, payload))
        del rest[:at]
        return messages


def _next(data: bytearray, at: int) -> tuple[int, bytes, int] | None:
    if len(data) - at < 2:
        return None
    first, length = data[at], data[at + 1] & 0x7F
    masked = data[at + 1] & _MASKED
    body = at + 2
    if length >= 126:
        extra = 2 if length == 126 else 8
        length = int.from_bytes(data[body : body + extra], "big")
        body += extra
    key = bytes(data[body : body + 4]) if masked else b""
    body += 4 if masked else 0
    end = body + length
    if len(data) < end:
        return None
    if not first & _FINAL:
        raise ValueError("a fragmented WebSocket message")
    payload = bytes(data[body:end])
    return first & 0x0F, _unmask(payload, key) if any(key) else payload, end


def _unmask(payload: bytes, key: bytes) -> bytes:
    length = len(payload)
    mask = (key * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(length, "big")
