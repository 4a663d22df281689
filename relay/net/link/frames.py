"""Writes the frames of a WebSocket, and masks their payload (RFC 6455, 5)."""

import os
import struct
from collections.abc import Iterator

import numpy as np

FINAL = 0x80
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
CONTROL_PAYLOAD_MAX_BYTES = 125
LENGTH_16, LENGTH_64 = 126, 127
MASKED = 0x80
MASK_BYTES = 4
KEYS_AT_ONCE = 1024


def frame(opcode: int, payload: bytes, *, masked: bool) -> bytes:
    """A whole message, or a control frame, in one frame. `masked` is what a client sends (5.3)."""
    length, mark = len(payload), MASKED if masked else 0
    if length < LENGTH_16:
        head = struct.pack(">BB", FINAL | opcode, mark | length)
    elif length < 1 << 16:
        head = struct.pack(">BBH", FINAL | opcode, mark | LENGTH_16, length)
    else:
        head = struct.pack(">BBQ", FINAL | opcode, mark | LENGTH_64, length)
    if not masked:
        return head + payload
    key = next(_keys)
    return b"".join((head, key, mask(payload, key)))


def _fresh_keys() -> Iterator[bytes]:
    """Keys that nobody can foresee (10.3), many with one system call. For one thread only."""
    while True:
        random = os.urandom(KEYS_AT_ONCE * MASK_BYTES)
        for at in range(0, len(random), MASK_BYTES):
            yield random[at : at + MASK_BYTES]


_keys = _fresh_keys()


def mask(payload: bytes | bytearray, key: bytes) -> bytes:
    """Mask what is plain, and the reverse. 1.1 us for 300 or 2000 bytes; integers are slower from 400 bytes on."""
    length = len(payload)
    keys = key * (length // MASK_BYTES + 1)
    return (np.frombuffer(payload, np.uint8) ^ np.frombuffer(keys, np.uint8, length)).tobytes()


def close_payload(code: int, reason: str) -> bytes:
    """The payload of a close frame (5.5.1): none for 1005, and no more of the reason than there is room for."""
    if code == NO_STATUS_CODE:
        return b""
    room = CONTROL_PAYLOAD_MAX_BYTES - 2
    return code.to_bytes(2, "big") + reason.encode()[:room].decode("utf-8", "ignore").encode()


NO_STATUS_CODE = 1005
"""A close frame without a code (7.4.1). It is never sent."""
