"""The reasons for which a call ends: the values of `end_reason` in logs and metrics."""

from enum import StrEnum


class EndReason(StrEnum):
    """One word for each way a call can end; the first reason that applies is the one that is told."""

    CALLER_HANGUP = "caller_hangup"
    ASSISTANT_ENDED = "assistant_ended"
    IDLE = "idle"
    MAX_DURATION = "max_duration"
    CALLER_LOST = "caller_lost"
    ASSISTANT_UNAVAILABLE = "assistant_unavailable"
    ADMIN = "admin"
    DRAIN = "drain"
    REFUSED = "refused"
    ERROR = "error"
