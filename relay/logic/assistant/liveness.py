"""Notices when a peer that sent audio all the time no longer does.

Not every peer sends silence, so that missing audio says nothing about most of them. One that has sent `STEADY_S` of
silence without a gap sends always; from then on audio that stays away is a sign. Speech without a gap proves nothing.
"""

GAP_S = 0.5
"""More without audio is a gap: less may be jitter."""
STEADY_S = 2.0
"""A sender that leaves out silence does not send so much of it."""


class Liveness:
    """One per connection. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.answered = False
        """Any message has come."""
        self._steady = False
        self._silent_since: float | None = None
        self._audio_at = 0.0

    def message(self) -> None:
        """Something has come, whatever it is."""
        self.answered = True

    def audio(self, now: float, *, audible: bool) -> None:
        """Audio has come."""
        if audible:
            self._silent_since = None
        elif self._silent_since is None or now > self._audio_at + GAP_S:
            self._silent_since = now
        elif now >= self._silent_since + STEADY_S:
            self._steady = True
        self._audio_at = now

    def deadline(self, timeout_s: float) -> float | None:
        """When audio will have been missing for so long; None for a peer that does not send it always."""
        return self._audio_at + timeout_s if self._steady else None
