"""A result says what a simulated call came to: `relay call --json` prints it."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PhoneResult:
    """One call. Times are seconds since it was placed.

    end: caller_hangup, twiml_hangup, twiml_completed (no verb was left), rejected, webhook_failed, twiml_error
        (a document that Twilio would not take, or more than 50 of them).
    dialled: the numbers and SIP addresses to which the caller was connected.
    heard_ms: audible audio only. underruns: holes of up to 200 ms in what was played.
    marks_returned: because they were played; marks_cleared: because of a `clear`.
    """

    call_sid: str
    end: str
    duration_s: float
    steps: list[str]
    dialled: list[str]
    streams: int
    said_ms: float
    heard_ms: float
    clears: list[dict[str, float]]
    marks_returned: int
    marks_cleared: int
    underruns: list[dict[str, float]]
    warnings: list[str]

    @property
    def ok(self) -> bool:
        """The call ended in order, at least one stream was open, and the relay broke no rule."""
        in_order = self.end in ("caller_hangup", "twiml_hangup", "twiml_completed")
        return in_order and self.streams > 0 and not self.warnings

    def as_json(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}
