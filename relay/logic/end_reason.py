"""The reasons for which a call ends: the values of `end_reason` in logs and metrics."""

from enum import StrEnum


class EndReason(StrEnum):
    """One word for each way a call can end; the first reason that applies is the one that is told."""

    CALLER_HANGUP = "caller_hangup"
    ASSISTANT_ENDED = "assistant_ended"
    TRANSFERRED = "transferred"
    IDLE = "idle"
    MAX_DURATION = "max_duration"
    CALLER_LOST = "caller_lost"
    PROTOCOL_ERROR = "protocol_error"
    ASSISTANT_UNAVAILABLE = "assistant_unavailable"
    ADMIN = "admin"
    DRAIN = "drain"
    REFUSED = "refused"
    ERROR = "error"


REFUTABLE = frozenset({EndReason.CALLER_HANGUP, EndReason.TRANSFERRED})
"""Twilio's word that the call is in progress proves these wrong; every other reason is a decision of the relay.

A transfer may be answered by nobody. The `stop` of a stream is taken for the caller's hanging up. It comes as well when
the live call was sent to other instructions, or digits are played into it.
"""
