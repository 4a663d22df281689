"""Issues tokens that are good once: for the socket that follows a webhook, and for a client that attaches again.

Only the SHA-256 of a token is kept, and looked up: how long a look-up takes says nothing about a valid token, and a
dump of the memory shows none.
"""

import secrets
from dataclasses import dataclass
from hashlib import sha256

from relay.errors import AuthRejected, RequestRefused

_TOKEN_BYTES = 24
_BEHIND_SESSION = "."
MAX_TOKENS = 4096
"""Far more than calls can ring within a token's life."""
USED_MAX = 4096
"""Used tokens that are known as such; older ones are unknown, which is refused as well."""


@dataclass(slots=True)
class _IssuedToken:
    """A token that is kept even once it is used, to tell a second use from a guess."""

    subject: str
    expires_at: float
    used: bool = False


class Tokens:
    """Tokens bound to a subject (a CallSid), each good once and for `ttl_s`. Times are monotonic seconds.

    Another `ttl_s` is for tokens that are issued from then on.
    """

    def __init__(self, ttl_s: float, max_tokens: int = MAX_TOKENS) -> None:
        self.ttl_s = ttl_s
        self._max_tokens = max_tokens
        self._entries: dict[bytes, _IssuedToken] = {}

    def issue(self, subject: str, now: float) -> str:
        """A new token of 192 random bits. When too many are kept, the one that expires first is forgotten."""
        self._forget_expired(now)
        if len(self._entries) >= self._max_tokens:
            del self._entries[next(iter(self._entries))]
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._entries[_key(token)] = _IssuedToken(subject, now + self.ttl_s)
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

    def _forget_expired(self, now: float) -> None:
        while self._entries and next(iter(self._entries.values())).expires_at <= now:
            del self._entries[next(iter(self._entries))]


class ResumeTokens:
    """The token with which each browser session may be taken up again: one at a time, and good once. It begins with the
    session's id, by which a process that does not know it finds the session."""

    def __init__(self) -> None:
        self._valid: dict[bytes, str] = {}
        self._by_session: dict[str, bytes] = {}
        self._used: dict[bytes, None] = {}

    def issue(self, session_id: str) -> str:
        """A new token of 192 random bits for this session; the one before is void."""
        self.discard(session_id)
        token = f"{session_id}{_BEHIND_SESSION}{secrets.token_urlsafe(_TOKEN_BYTES)}"
        key = _key(token)
        self._valid[key] = session_id
        self._by_session[session_id] = key
        return token

    def claim(self, token: str) -> str:
        """Use a token up; returns its session. Raises RequestRefused (RESUME_USED, RESUME_UNKNOWN)."""
        key = _key(token)
        session_id = self._valid.pop(key, None)
        if session_id is not None:
            del self._by_session[session_id]
            self._used[key] = None
            while len(self._used) > USED_MAX:
                del self._used[next(iter(self._used))]
            return session_id
        if key in self._used:
            raise RequestRefused(403, "RESUME_USED", "the resume token was used before: it is good once")
        raise RequestRefused(403, "RESUME_UNKNOWN", "the resume token belongs to no session: begin a new one")

    def adopt(self, session_id: str, sha256: str) -> None:
        """Another process has issued the token with this hash, in hexadecimal, for this session: it is good here."""
        self.discard(session_id)
        key = bytes.fromhex(sha256)
        self._valid[key] = session_id
        self._by_session[session_id] = key

    def discard(self, session_id: str) -> None:
        """The session is over, or gets another token: the one it has is void."""
        if key := self._by_session.pop(session_id, None):
            del self._valid[key]


def session_of(resume_token: str) -> str:
    """The id of the session for which this token was issued; "" for what is no such token."""
    return resume_token.rpartition(_BEHIND_SESSION)[0]


def fingerprint(token: str) -> str:
    """Its SHA-256 in hexadecimal, by which another process knows it."""
    return _key(token).hex()


def _key(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
