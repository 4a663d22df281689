"""Says of a browser's session what another process needs to go on with it, and decides who may have it there.

| the session                       | shown              | then                                                      |
|-----------------------------------|--------------------|-----------------------------------------------------------|
| is nowhere, or is over            | anything           | UNKNOWN                                                   |
| is another process's              | neither of its     | UNKNOWN                                                   |
|                                   | two tokens         |                                                           |
| is of a process that is dead, or  | one of them        | OURS: it goes on here                                     |
| has left it                       |                    |                                                           |
| is of a process that lives        | one of them        | ELSEWHERE: the client is told that session's present id,  |
|                                   |                    | which begins with the name of its process                 |
"""

import hmac
from dataclasses import dataclass, field
from enum import Enum

from relay.media.frames import AudioFormat

TURNS_OF_A_PROCESS = 65_536
"""No call has so many turns in one process, so what follows is numbered behind whatever the client may have heard."""


@dataclass(frozen=True, slots=True)
class KeptSession:
    """A session as it is at one moment. Of its two tokens only the SHA-256 is kept, in hexadecimal."""

    id: str
    """As clients know it: it begins with the name of the process that has the session."""
    declared: AudioFormat
    """What the client sends."""
    heard: AudioFormat
    """What the client is sent."""
    token_sha256: str = field(default="", repr=False)
    resume_sha256: str = field(default="", repr=False)
    """"" while no connection has been told one."""
    next_sequence: int = 1
    """Everything that the client has sent before this number was taken."""
    moves: int = 0
    """How often another process has taken the session over."""

    def is_opened_by(self, sha256: str) -> bool:
        """Whether this is the hash of one of the session's tokens."""
        return any(hmac.compare_digest(sha256, kept) for kept in (self.token_sha256, self.resume_sha256) if kept)

    @property
    def turns_before(self) -> int:
        """The turns of processes before are numbered up to here."""
        return self.moves * TURNS_OF_A_PROCESS


class SessionPlace(Enum):
    """Where a session is, for who shows a token."""

    OURS = "ours"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"


def place_of(kept: KeptSession | None, sha256: str, *, taken: bool) -> SessionPlace:
    """Decide by what is kept, None where that is nothing, and by whether this process could take it."""
    if kept is None or not kept.is_opened_by(sha256):
        return SessionPlace.UNKNOWN
    return SessionPlace.OURS if taken else SessionPlace.ELSEWHERE
