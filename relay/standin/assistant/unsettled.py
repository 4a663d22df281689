"""The questions that Vapi's documents leave open, and which answer the built-in assistant gives to each.

`relay probe vapi` asks the same questions of a real account.
"""

import math
from dataclasses import dataclass
from typing import Literal

from relay.standin.assistant.acts import AsksBy

FastUplink = Literal["heard", "unheard", "closed"]
Farewell = Literal["reason", "no reason", "report", "nothing"]
OnDelete = Literal["erase", "end", "erase and end", "nothing"]

AHEAD_LIMIT_S = 0.5
"""Audio that has come so much earlier than in real time counts as fast."""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """One answer to each open question; the defaults are those that recorded calls support.

    pick_up_s: how long a call waits for its socket to be connected.
    redial_s: how long after its socket broke off a call's address takes another handshake (0: never). It matters where
        the call goes on without one (`Behaviour.ends_with_socket`).
    uplink_gap_s: for how long the caller's audio may pause before the call is closed (infinite: for ever).
    unknown_message: what follows a text message of an unknown type.
    fast_uplink: whether audio that comes faster than real time is heard, or lost, or closes the socket.
    farewell: what is told on the socket before it is closed in order: a status "ended" with its reason or without, that
        and an `end-of-call-report`, or nothing.
    close_code: of that goodbye.
    background: whether a background sound is played where the order says nothing of it.
    asks_by: how it is told that the telephone is to transfer the caller, or to hang up; with "transfer-update" a tool
        call tells a hang-up.
    on_delete: what `DELETE /call/{id}` does to a live call: its record is erased, the call is ended, or both, or
        neither.
    """

    pick_up_s: float = 15.0
    redial_s: float = 0.0
    uplink_gap_s: float = 20.0
    unknown_message: Literal["close", "ignore"] = "close"
    fast_uplink: FastUplink = "heard"
    farewell: Farewell = "reason"
    close_code: int = 1000
    background: bool = False
    asks_by: AsksBy = "tool-calls"
    on_delete: OnDelete = "erase"


class PaceCheck:
    """Finds out whether audio comes faster than real time. Times are seconds on one monotonic clock."""

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._until_s = -math.inf

    def is_fast(self, n_bytes: int, now_s: float) -> bool:
        """Whether these bytes, which came now, are over `AHEAD_LIMIT_S` ahead of real time, with those before them."""
        self._until_s = max(self._until_s, now_s) + n_bytes / self._bytes_per_s
        return self._until_s - now_s > AHEAD_LIMIT_S
