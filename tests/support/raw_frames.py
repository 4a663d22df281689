"""WebSocket frames written by hand, right or wrong (RFC 6455, 5.2)."""

import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN = 0x80
KEY = b"\x12\x34\x56\x78"


def raw_frame(first: int, payload: bytes = b"", *, masked: bool, announced: int | None = None) -> bytes:
    """A frame with this first byte. It may announce more than it has."""
    length = len(payload) if announced is None else announced
    mark = 0x80 if masked else 0
    if length < 126:
        head = struct.pack(">BB", first, mark | length)
    elif length < 1 << 16:
        head = struct.pack(">BBH", first, mark | 126, length)
    else:
        head = struct.pack(">BBQ", first, mark | 127, length)
    if not masked:
        return head + payload
    return head + KEY + bytes(byte ^ KEY[at % 4] for at, byte in enumerate(payload))


def close_frame(code: int, reason: bytes = b"", *, masked: bool) -> bytes:
    return raw_frame(FIN | CLOSE, code.to_bytes(2, "big") + reason, masked=masked)
