"""Limits how often something is done for a key: so many times at once, and so many a second after that.

Each key has a token bucket, and a bucket is one number: the time at which it will be full again (the generic cell rate
algorithm, ITU-T I.371, annex A).

No library does this: time is an argument here, as everywhere in `relay.logic`, an amount may be a part of a second, the
bounds change under buckets that are in use, and the number of keys is bounded. pyrate-limiter 4.5 comes nearest: its
clock can be replaced, but it counts whole milliseconds and whole weights, has a bucket with a lock for each key, and
forgets none. limits 5.8 and throttled-py 3.5 look at the clock of the machine.
"""

ROUNDING_S = 1e-6
"""Nobody is refused for less: the times of a long-lived clock are no finer than that once they are added up."""


class RateLimit:
    """`burst` at once, then `per_s`. Times are monotonic seconds.

    A key that is idle for `burst / per_s` seconds is forgotten. When more than `max_keys` are known, one that was quiet
    for longest is: it can then have a full bucket too early, never too late.
    """

    def __init__(self, *, per_s: float, burst: float, max_keys: int = 4096) -> None:
        self._interval_s = 1 / per_s
        self._depth_s = burst / per_s
        self._max_keys = max_keys
        self._full_at: dict[str, float] = {}

    def change(self, now: float, *, per_s: float, burst: float) -> None:
        """Other bounds from now on. What is missing in a bucket is missing still."""
        slower = 1 / per_s / self._interval_s
        self._interval_s = 1 / per_s
        self._depth_s = burst / per_s
        self._full_at = {key: now + (at - now) * slower for key, at in self._full_at.items() if at > now}

    def __len__(self) -> int:
        return len(self._full_at)

    def allow(self, key: str, now: float, amount: float = 1.0) -> bool:
        """Take `amount` from the bucket of `key` if it is there."""
        full_at = max(self._full_at.get(key, now), now) + amount * self._interval_s
        if full_at - now > self._depth_s + ROUNDING_S:
            return False
        self._full_at.pop(key, None)
        self._full_at[key] = full_at
        self._forget(now)
        return True

    def wait_s(self, key: str, now: float, amount: float = 1.0) -> float:
        """How long until `allow` says yes; endless for more than a burst."""
        full_at = max(self._full_at.get(key, now), now) + amount * self._interval_s
        if amount * self._interval_s > self._depth_s + ROUNDING_S:
            return float("inf")
        wait_s = full_at - now - self._depth_s
        return wait_s if wait_s > ROUNDING_S else 0.0

    def _forget(self, now: float) -> None:
        while len(self._full_at) > 1:
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now and len(self._full_at) <= self._max_keys:
                return
            del self._full_at[oldest]
