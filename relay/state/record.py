"""What a call needs to go on in another process, as one JSON object.

Times are wall-clock seconds since 1970, because they are read by another process, perhaps on another machine.
"""

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from relay.logic.assistant.conversation import Turn
from relay.logic.caller.reattach import ReattachRules


@dataclass(frozen=True, slots=True)
class KeptToken:
    """A one-time token that was handed out and not used yet: its SHA-256 in hexadecimal, never the token."""

    sha256: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call at one moment. The process that writes it is named beside it in the store, not in it."""

    version: Literal[1] = 1
    call_sid: str
    call_id: str
    """Ours; it stays the same in every process."""
    assistant: str
    """The name of the assistant that has the call, or had it last."""
    started_at: float
    expires_at: float
    """From then on the record is no more: the call's longest duration and its grace are over."""
    assistant_call_id: str | None = None
    """The call at the assistant's provider, which is lost with the process."""
    conversation: tuple[Turn, ...] = ()
    """As far as the caller has heard it."""
    policy: ReattachRules = field(default_factory=ReattachRules)
    """How often the caller's stream may be attached again, and how long it is waited for: what the call began with."""
    reattached_at: tuple[float, ...] = ()
    """When the caller's stream was given another attempt, of those that still count."""
    tokens: tuple[KeptToken, ...] = ()
    end_reason: str | None = None
    """Why the call is over; None while it is not. A call that is over is not to be taken up again."""

    def holds(self, sha256: str, now: float) -> bool:
        """Whether the token with this hash is still good."""
        return any(token.sha256 == sha256 and token.expires_at > now for token in self.tokens)

    def to_json(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> "CallRecord":
        """What `to_json` wrote. Raises `ValueError` for anything else, and for another version."""
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.MsgspecError:
            raise ValueError("not a call record of version 1") from None
