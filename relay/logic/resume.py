"""Tokens that attach a client to its session again: each good once, and one valid at a time for each session."""

import secrets
from hashlib import sha256

from relay.errors import ClientRefused

_TOKEN_BYTES = 24
USED_MAX = 4096
"""Used tokens that are known as such; older ones are unknown, which is refused as well."""


class ResumeTokens:
    """Only the SHA-256 of a token is kept: how long a look-up takes says nothing about a valid one."""

    def __init__(self) -> None:
        self._valid: dict[bytes, str] = {}
        self._by_session: dict[str, bytes] = {}
        self._used: dict[bytes, None] = {}

    def issue(self, session_id: str) -> str:
        """A new token of 192 random bits for this session; the one before is void."""
        self.discard(session_id)
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        key = _key(token)
        self._valid[key] = session_id
        self._by_session[session_id] = key
        return token

    def claim(self, token: str) -> str:
        """Use a token up; returns its session. Raises ClientRefused (RESUME_USED, RESUME_UNKNOWN)."""
        key = _key(token)
        session_id = self._valid.pop(key, None)
        if session_id is not None:
            del self._by_session[session_id]
            self._used[key] = None
            while len(self._used) > USED_MAX:
                del self._used[next(iter(self._used))]
            return session_id
        if key in self._used:
            raise ClientRefused(403, "RESUME_USED", "the resume token was used before: it is good once")
        raise ClientRefused(403, "RESUME_UNKNOWN", "the resume token belongs to no session: begin a new one")

    def discard(self, session_id: str) -> None:
        """The session is over, or gets another token."""
        if key := self._by_session.pop(session_id, None):
            del self._valid[key]


def _key(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
