"""One-time tokens: what a webhook hands out so that the socket which follows can prove where it comes from.

Only the SHA-256 of a token is kept, and looked up: how long a look-up takes says nothing about a valid token, and a
dump of the memory shows none.
"""

import secrets
from dataclasses import dataclass
from hashlib import sha256

from relay.errors import AuthRejected

_TOKEN_BYTES = 24
MAX_TOKENS = 4096
"""Far more than calls can ring within a token's life."""


@dataclass(slots=True)
class _Entry:
    subject: str
    expires_at: float
    used: bool = False


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """`kept` counts the used ones too, until their time is over; `evicted` those that had to go before it."""

    kept: int
    evicted: int


class Tokens:
    """Tokens bound to a subject (a CallSid), each good once and for `ttl_s`. Times are monotonic seconds."""

    def __init__(self, ttl_s: float, max_tokens: int = MAX_TOKENS) -> None:
        self._ttl_s = ttl_s
        self._max_tokens = max_tokens
        self._entries: dict[bytes, _Entry] = {}
        self._evicted = 0

    def issue(self, subject: str, now: float) -> str:
        """A new token of 192 random bits. When too many are kept, the one that expires first is forgotten."""
        self._forget_expired(now)
        if len(self._entries) >= self._max_tokens:
            del self._entries[next(iter(self._entries))]
            self._evicted += 1
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._entries[_key(token)] = _Entry(subject, now + self._ttl_s)
        return token

    def claim(self, token: str, subject: str | None, now: float) -> str:
        """Use the token up; returns its subject, which must be `subject` unless that is None.

        Raises `AuthRejected` when the token is unknown, expired, used, or bound to another subject; in the last case
        it stays good for its own.
        """
        entry = self._entries.get(_key(token))
        if entry is None:
            raise AuthRejected("token unknown")
        if now >= entry.expires_at:
            raise AuthRejected("token expired")
        if entry.used:
            raise AuthRejected("token used before")
        if subject is not None and subject != entry.subject:
            raise AuthRejected("token of another subject")
        entry.used = True
        return entry.subject

    def knows(self, token: str) -> bool:
        """Whether it was issued here, and its time is not long over."""
        return _key(token) in self._entries

    def kept(self, subject: str, now: float) -> list[tuple[str, float]]:
        """The fingerprints of the subject's tokens that are still good, and until when."""
        return [
            (key.hex(), entry.expires_at)
            for key, entry in self._entries.items()
            if entry.subject == subject and not entry.used and entry.expires_at > now
        ]

    def discard(self, subject: str) -> None:
        """Forget every token of this subject."""
        self._entries = {key: entry for key, entry in self._entries.items() if entry.subject != subject}

    def statistics(self) -> TokenStatistics:
        return TokenStatistics(len(self._entries), self._evicted)

    def _forget_expired(self, now: float) -> None:
        while self._entries and next(iter(self._entries.values())).expires_at <= now:
            del self._entries[next(iter(self._entries))]


def fingerprint(token: str) -> str:
    """Its SHA-256 in hexadecimal, by which another process knows it."""
    return _key(token).hex()


def _key(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
