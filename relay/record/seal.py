"""Seals the blocks of a file with a key, one after the other, and opens them.

It is libsodium's secretstream (XChaCha20-Poly1305): each block can be read as soon as it is written, and only behind
those that came before it. So blocks can neither be changed nor swapped, left out or taken from another file; that the
last ones are missing is seen by the `RecordingEnd`, which is then missing too. Source: libsodium's documentation,
"Encrypted streams and file encryption".
"""

from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from relay.record.keys import RecordKey

HEADER_BYTES: int = sodium.crypto_secretstream_xchacha20poly1305_HEADERBYTES
ADDED_BYTES: int = sodium.crypto_secretstream_xchacha20poly1305_ABYTES
"""What a sealed block has more than what was sealed."""


class Broken(Exception):
    """A block is not what was sealed in its place with this key."""


class Sealer:
    """One for each file. `header` is random, no secret, and needed to open what is sealed."""

    def __init__(self, key: RecordKey) -> None:
        self.key_id = key.id
        self._state = sodium.crypto_secretstream_xchacha20poly1305_state()
        self.header: bytes = sodium.crypto_secretstream_xchacha20poly1305_init_push(self._state, key.secret)

    def seal(self, payload: bytes, beside: bytes) -> bytes:
        """The next block. `beside` is not in it, and must be the same when it is opened."""
        sealed: bytes = sodium.crypto_secretstream_xchacha20poly1305_push(self._state, payload, beside)
        return sealed


class Opener:
    """One for each reading of a file."""

    def __init__(self, key: RecordKey, header: bytes) -> None:
        self._state = sodium.crypto_secretstream_xchacha20poly1305_state()
        sodium.crypto_secretstream_xchacha20poly1305_init_pull(self._state, header, key.secret)

    def open(self, sealed: bytes, beside: bytes) -> bytes:
        """What was sealed in the next block. Raises Broken."""
        try:
            payload, _ = sodium.crypto_secretstream_xchacha20poly1305_pull(self._state, sealed, beside)
        except CryptoError:
            raise Broken from None
        return payload
