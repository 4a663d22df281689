"""The clocks that end a call, and the watch over the caller's audio."""

from dataclasses import dataclass, field
from typing import Literal

from relay.media.frames import AudioFormat
from relay.standin.assistant.behaviour import Behaviour
from relay.standin.assistant.order import Order

UPLINK_GAP_LIMIT_S = 20.0
WORKER_DIED = "call.in-progress.error-vapifault-worker-died"


@dataclass(frozen=True, slots=True)
class EndOfCall:
    """Why and how: "normal" (close 1000), "bare" (a close frame without a code), "drop" (TCP reset), or "gone" (the
    client has closed already)."""

    reason: str
    how: Literal["normal", "bare", "drop", "gone"]
    detail: str = ""


@dataclass(slots=True)
class UplinkWatch:
    """The caller's audio as it came: how much, how far ahead of real time, with how long a pause between messages."""

    format: AudioFormat
    last_s: float
    first_s: float | None = None
    n_bytes: int = 0
    messages: int = 0
    odd_messages: int = 0
    lead_ms: float = 0.0
    longest_gap_ms: float = 0.0

    def received(self, n_bytes: int, now_s: float) -> None:
        if self.first_s is None:
            self.first_s = now_s
        else:
            self.longest_gap_ms = max(self.longest_gap_ms, (now_s - self.last_s) * 1000)
        self.last_s = now_s
        # The first message holds audio that was spoken before it came: only what follows can be ahead of time.
        self.lead_ms = max(self.lead_ms, self.format.duration_ms(self.n_bytes) - (now_s - self.first_s) * 1000)
        self.n_bytes += n_bytes
        self.messages += 1
        self.odd_messages += n_bytes % self.format.block_bytes != 0

    def statistics(self) -> dict[str, float]:
        return {
            "uplink_ms": self.format.duration_ms(self.n_bytes),
            "uplink_messages": self.messages,
            "uplink_odd_messages": self.odd_messages,
            "uplink_lead_ms": round(self.lead_ms, 1),
            "uplink_longest_gap_ms": round(self.longest_gap_ms, 1),
        }


@dataclass(slots=True)
class Timers:
    """Says when a call is over. `active` moves the silence timer; nothing moves the others."""

    order: Order
    behaviour: Behaviour
    opened_s: float
    _active_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._active_s = self.opened_s

    def active(self, now_s: float) -> None:
        """Somebody speaks."""
        self._active_s = now_s

    def is_mute(self, now_s: float) -> bool:
        after_s = self.behaviour.mute_after_s
        return after_s is not None and now_s >= self.opened_s + after_s

    def check(self, now_s: float, last_uplink_s: float) -> EndOfCall | None:
        """How the call ends by now, if it does. `last_uplink_s`: the last audio, or the opening before any came."""
        elapsed_s, behaviour = now_s - self.opened_s, self.behaviour
        if behaviour.drop_after_s is not None and elapsed_s >= behaviour.drop_after_s:
            return EndOfCall(WORKER_DIED, "drop")
        if behaviour.close_after_s is not None and elapsed_s >= behaviour.close_after_s:
            return EndOfCall(WORKER_DIED, "bare")
        if behaviour.end_after_s is not None and elapsed_s >= behaviour.end_after_s:
            return EndOfCall("assistant-ended-call", "normal")
        if elapsed_s >= self.order.max_duration_s:
            return EndOfCall("exceeded-max-duration", "normal")
        if now_s - last_uplink_s >= UPLINK_GAP_LIMIT_S:
            return EndOfCall("call.in-progress.error-assistant-did-not-receive-customer-audio", "bare")
        if now_s - self._active_s >= self.order.silence_timeout_s:
            return EndOfCall("silence-timed-out", "normal")
        return None
