"""Says how fast the frames of one WebSocket are taken.

Frames that come too fast are no fault of the peer, because a network that stood still delivers them so: they are taken
later, and meanwhile TCP makes the sender wait.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrameRates:
    """How fast frames are taken. Data frames, control frames and bytes share one budget: what one of them uses up is
    missing for the others. After a pause, as much is taken at once as in `burst_s`."""

    frames_per_s: float
    controls_per_s: float
    bytes_per_s: float
    burst_s: float


OF_A_STRANGER = FrameRates(frames_per_s=75, controls_per_s=2, bytes_per_s=2**18, burst_s=0.2)
"""Before it has shown what it is here for: a caller sends a `start`, and goes on with 50 frames of
audio a second without waiting for an answer."""
OF_A_CALL = FrameRates(frames_per_s=500, controls_per_s=20, bytes_per_s=2**22, burst_s=4.0)
"""Ten times a call's own rate; at once, 2000 frames, which are 40 s of audio, or 16 MiB."""


class FramePace:
    """The budget of one direction of one WebSocket. Times are monotonic seconds."""

    def __init__(self, rates: FrameRates) -> None:
        self._rates = rates
        self.due_s = float("-inf")
        """From when on the next frame may be taken."""

    def change(self, rates: FrameRates) -> None:
        """From now on other rates hold, as after a pause."""
        self._rates = rates
        self.due_s = float("-inf")

    def charge(self, now_s: float, n_bytes: int, *, control: bool) -> None:
        """Count a frame of so many bytes that is taken now."""
        rates = self._rates
        per_s = rates.controls_per_s if control else rates.frames_per_s
        earliest_s = now_s - rates.burst_s
        begin_s = max(earliest_s, self.due_s)
        self.due_s = begin_s + 1 / per_s + n_bytes / rates.bytes_per_s
