"""The lockout refuses requests for a while after a burst of them, as Vapi was measured to do at about 200 calls."""

import math
from collections import deque

VAPI_BURST = 200
LOCKED_S = 21.0


class Lockout:
    """Counts requests within `LOCKED_S`. Times are seconds on one monotonic clock."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque()
        self._until_s = -math.inf

    def admits(self, now_s: float, burst: int | None) -> bool:
        """Whether a request of now is served. One more than `burst` (None: no limit) locks everybody out."""
        if now_s < self._until_s:
            return False
        while self._times_s and self._times_s[0] <= now_s - LOCKED_S:
            self._times_s.popleft()
        if burst is None or len(self._times_s) < burst:
            self._times_s.append(now_s)
            return True
        self._until_s = now_s + LOCKED_S
        self._times_s.clear()
        return False
