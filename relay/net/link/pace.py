"""Says how fast the frames of one WebSocket are taken, and how many of them may be pings.

Frames that come too fast are no fault of the peer, because a network that stood still delivers them so: they are taken
later, and meanwhile TCP makes the sender wait. Each call has its own pace; what goes beyond that comes out of one
surplus for all calls, which a network's burst finds unused, and which many floods have to share.

Pings that go on beyond a rate are a fault: a peer needs one in some seconds, so no network that stood still makes a
flood of them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrameRates:
    """How fast frames are taken. Frames and bytes share one budget: what one of them uses up is missing for the others.
    After a pause, as much is taken at once as in `burst_s`.

    Of the frames `controls_per_s` may be pings and pongs, after a pause `controls_burst` of them at once.
    """

    frames_per_s: float
    bytes_per_s: float
    burst_s: float
    controls_per_s: float = 2.0
    controls_burst: int = 60


OF_A_STRANGER = FrameRates(frames_per_s=75, bytes_per_s=2**18, burst_s=0.2, controls_burst=10)
"""Before it has shown what it is here for: a caller sends a `start`, and goes on with 50 frames of
audio a second without waiting for an answer."""
OF_A_CALL = FrameRates(frames_per_s=75, bytes_per_s=3 * 2**16, burst_s=2.0)
"""Its own: somewhat more than a caller sends, so that it catches up; at once, 2.5 s of audio."""
SURPLUS_OF_CALLS = FrameRates(frames_per_s=500, bytes_per_s=2**20, burst_s=3.0)
"""Of all calls together; at once, 25 s of audio."""
OF_AN_ASSISTANT = FrameRates(frames_per_s=500, bytes_per_s=2**22, burst_s=4.0, controls_per_s=20.0, controls_burst=80)
"""Ten times what it sends, and a message of several MiB at once."""


class FramePace:
    """The budget of one direction of one WebSocket. Times are monotonic seconds.

    `surplus` is what it may take from when its own is used up.
    """

    def __init__(self, rates: FrameRates, surplus: "FramePace | None" = None) -> None:
        self._rates = rates
        self._surplus = surplus
        self.due_s = float("-inf")
        """From when on the next frame may be taken."""
        self._controls_due_s = float("-inf")

    def change(self, rates: FrameRates, surplus: "FramePace | None" = None) -> None:
        """From now on other rates hold, as after a pause."""
        self._rates = rates
        self._surplus = surplus
        self.due_s = self._controls_due_s = float("-inf")

    def charge(self, now_s: float, n_bytes: int) -> None:
        """Count a frame of so many bytes that is taken now."""
        rates = self._rates
        begin_s = max(now_s - rates.burst_s, self.due_s)
        due_s = begin_s + 1 / rates.frames_per_s + n_bytes / rates.bytes_per_s
        if due_s > now_s and self._surplus is not None and self._surplus.due_s <= now_s:
            self._surplus.charge(now_s, n_bytes)
        else:
            self.due_s = due_s

    def allows_control(self, now_s: float) -> bool:
        """Count a ping or a pong that is taken now; False for one too many, which is not counted."""
        per_s = self._rates.controls_per_s
        due_s = max(now_s - self._rates.controls_burst / per_s, self._controls_due_s) + 1 / per_s
        if due_s > now_s:
            return False
        self._controls_due_s = due_s
        return True
