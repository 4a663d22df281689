"""The timers end a call that lasts too long, or in which nobody speaks, or to which no audio comes."""

from dataclasses import dataclass, field
from typing import Literal

from relay.standin.assistant.order import Order


@dataclass(frozen=True, slots=True)
class EndOfCall:
    """Why and how: "normal" (close 1000), "bare" (a close frame without a code), "drop" (TCP reset), "gone" (the client
    has closed already), or "lost" (the client has closed, and the call goes on without it)."""

    reason: str
    how: Literal["normal", "bare", "drop", "gone", "lost"]
    detail: str = ""


@dataclass(slots=True)
class Timers:
    """Says when a call is over. `active` moves the silence timer; nothing moves the others.

    `uplink_gap_s`: the caller's audio must go on, as silence if need be, and may pause for so long.
    """

    order: Order
    opened_s: float
    uplink_gap_s: float = 20.0
    _active_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._active_s = self.opened_s

    def active(self, now_s: float) -> None:
        """Somebody speaks."""
        self._active_s = now_s

    def check(self, now_s: float, last_uplink_s: float) -> EndOfCall | None:
        """How the call ends by now, if it does. `last_uplink_s`: the last audio, or the opening before any came."""
        if now_s - self.opened_s >= self.order.max_duration_s:
            return EndOfCall("exceeded-max-duration", "normal")
        if now_s - last_uplink_s >= self.uplink_gap_s:
            return EndOfCall("call.in-progress.error-assistant-did-not-receive-customer-audio", "bare")
        if now_s - self._active_s >= self.order.silence_timeout_s:
            return EndOfCall("silence-timed-out", "normal")
        return None
