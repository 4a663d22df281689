"""The lateness of the event loop decides whether it has time for one more call. Pure.

| state | when                                         | then                                                       |
|-------|----------------------------------------------|------------------------------------------------------------|
| open  | the mean lag passes LATE_MEAN_S (10 ms)      | late: 0.4 s after lags of LAG_MAX_S or more have begun     |
| late  | the mean lag comes under CALM_MEAN_S (5 ms)  | late: the calm begins                                      |
| late  | the mean lag reaches CALM_MEAN_S in the calm | late: the calm has to begin anew                           |
| late  | the calm has lasted for CALM_S (3 s)         | open                                                       |

Measured on a slow core, as the most that the mean was: 1 to 2 ms with 5 to 20 calls, 5 ms with 5 calls beside another
program that took half of the core, 13 and 24 ms in runs with 25 and 30 calls that had holes.
"""

import math

SMOOTHING = 0.03
"""The weight of the newest lag in the exponential mean: of ten in a second, it is a mean of the last three seconds."""
LAG_MAX_S = 0.1
"""A longer lag counts as this: one that comes alone is a standstill of the machine, and no sign of too many calls."""
LATE_MEAN_S = 0.010
CALM_MEAN_S = 0.005
CALM_S = 3.0
"""A call that was taken shows in the lag when its assistant speaks, which is a second or two later."""


class Lateness:
    """Times are in seconds, on any clock that does not go back."""

    def __init__(self) -> None:
        self.late = False
        self.mean_s = 0.0
        self._calm_since = math.inf

    def note(self, lag_s: float, now: float) -> bool:
        """The loop woke a task so late. Returns whether `late` has changed."""
        self.mean_s += SMOOTHING * (min(lag_s, LAG_MAX_S) - self.mean_s)
        was_late = self.late
        if not was_late:
            self.late = self.mean_s > LATE_MEAN_S
            self._calm_since = math.inf
        elif self.mean_s >= CALM_MEAN_S:
            self._calm_since = math.inf
        else:
            self._calm_since = min(self._calm_since, now)
            self.late = now - self._calm_since < CALM_S
        return self.late != was_late
