"""The record of a call: one JSON object with all that another process needs to go on with the call.

Times are seconds of a clock. In a process that is trio's, which nobody can set; in the store it is the store's own,
because another process reads them there, perhaps on another machine. `StateStore` turns the one into the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from relay.logic.assistant.conversation import Turn
from relay.logic.browser.kept_session import KeptSession
from relay.logic.caller.reattach import ReattachRules

HIDDEN_NOTE = '{"type":"add-message"}'
"""In the place of one that may say which key was pressed."""


@dataclass(frozen=True, slots=True)
class KeptToken:
    """A one-time token that was handed out and not used yet: its SHA-256 in hexadecimal, never the token itself."""

    sha256: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call as it is at one moment. The process that writes it is named beside it in the store, not in it."""

    version: Literal[1] = 1
    call_sid: str
    call_id: str
    """The relay's own id of the call; it stays the same in every process."""
    assistant: str
    """The name of the assistant that has the call, or had it last."""
    started_at: float
    expires_at: float
    """The record ends then: the call's longest duration and its grace are over."""
    assistant_call_id: str | None = None
    """The call at the assistant's provider, which is lost with the process."""
    handed_to: str | None = None
    """The provider's id of the assistant to which that one has handed the conversation, if it has."""
    variables: dict[str, str] = field(default_factory=dict, repr=False)
    """What each call with the assistant is told of the caller; personal data."""
    conversation: tuple[Turn, ...] = ()
    """The conversation as far as the caller has heard it; empty when the call is over."""
    notes: tuple[str, ...] = field(default=(), repr=False)
    """Messages that no assistant has answered to, as keys that the caller pressed: the next one is told them."""
    policy: ReattachRules = field(default_factory=ReattachRules)
    """How often the caller's stream may be attached again, and how long it is waited for: what the call began with."""
    reattached_at: tuple[float, ...] = ()
    """The times of the attempts to attach the stream again that still count."""
    tokens: tuple[KeptToken, ...] = ()
    end_reason: str | None = None
    """The reason why the call is over, None while it is not. A call that is over is not to be taken up again."""
    ended_before: bool = False
    """It was over once, by a reason that Twilio refuted: that end is in the metrics, and its real one is not to be."""
    transfer_to: str | None = field(default=None, repr=False)
    """The number or SIP address to which the caller is connected then; a number is personal data."""
    session: KeptSession | None = None
    """What is kept of a browser's session; None: the caller is a telephone, or the call is over."""

    def holds(self, sha256: str, now: float) -> bool:
        """True if the token with this hash is still good."""
        return any(token.sha256 == sha256 and token.expires_at > now for token in self.tokens)

    def moved(self, by_s: float) -> "CallRecord":
        """Return the record by a clock that is `by_s` ahead of that of this one, to the millisecond."""

        def later(at: float) -> float:
            return round(at + by_s, 3)

        return replace(
            self,
            started_at=later(self.started_at),
            expires_at=later(self.expires_at),
            reattached_at=tuple(later(at) for at in self.reattached_at),
            tokens=tuple(KeptToken(token.sha256, later(token.expires_at)) for token in self.tokens),
        )

    def without_secrets(self) -> dict[str, Any]:
        """Return the record as plain values, as `from_plain` takes them: without tokens, `variables` and `session`, and
        of the notes only how many there are."""
        secret = {"tokens", "variables", "session"}
        plain = {name: value for name, value in msgspec.to_builtins(self).items() if name not in secret}
        return {**plain, "notes": [HIDDEN_NOTE] * len(self.notes)}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "CallRecord":
        """Make a record of plain values. Raises `ValueError` for what is none, and for another version."""
        try:
            return msgspec.convert(values, type=cls)
        except msgspec.ValidationError:
            raise ValueError("not a call record of version 1") from None

    def to_json(self) -> bytes:
        """Return the record as UTF-8 JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def from_json(cls, data: bytes) -> "CallRecord":
        """Read what `to_json` wrote. Raises `ValueError` for anything else, and for another version."""
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.MsgspecError:
            raise ValueError("not a call record of version 1") from None
