"""The keys that recordings are sealed with: how they are written, and by which name a file tells of its key."""

import hashlib
import hmac
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass

KEY_BYTES = 32
ID_BYTES = 8


@dataclass(frozen=True, slots=True, repr=False)
class RecordKey:
    """`secret` is 32 random bytes. Its repr does not show it."""

    secret: bytes

    @property
    def id(self) -> bytes:
        """Names the key to who has it, and says nothing about it to others (HMAC-SHA-256, RFC 2104)."""
        return hmac.digest(self.secret, b"relay recording key", hashlib.sha256)[:ID_BYTES]


def parse_keys(text: str) -> tuple[RecordKey, ...]:
    """The keys of RELAY_RECORD_KEY, each 32 bytes in Base64 (RFC 4648, section 4), with commas between: old to new.

    Raises:
        ValueError: one is none. The text says what is wrong, and holds no part of a key.
    """
    return tuple(parse_key(part) for part in text.split(","))


def parse_key(text: str) -> RecordKey:
    """One of them. Raises as `parse_keys` does."""
    try:
        secret = b64decode(text, validate=True)
    except ValueError:
        raise ValueError("is no Base64") from None
    if len(secret) != KEY_BYTES:
        raise ValueError(f"has {len(secret)} bytes")
    return RecordKey(secret)


def key_of(key_id: bytes, keys: Sequence[RecordKey]) -> RecordKey | None:
    """The one with this id, if it is there."""
    return next((key for key in keys if key.id == key_id), None)
