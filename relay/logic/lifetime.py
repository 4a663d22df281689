"""When to move a call to a new assistant call, because the assistant's provider ends its own after a while.

| state  | meaning                                                 | leaves when                   | deadline          |
|--------|---------------------------------------------------------|-------------------------------|-------------------|
| idle   | no assistant call, or it has been told to move          | `connected` -> early          | none              |
| early  | the limit is far away                                   | deadline -> window            | start of window   |
| window | waits for a quiet moment: the assistant spoke last, and | deadline: quiet, or it is the | end of the quiet  |
|        | since then nobody has spoken for `quiet_s`              | last moment -> idle; move now | moment, or window |

A silence after the caller's words is not quiet: the assistant is about to answer them.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf


class Change(StrEnum):
    """Why the call moves now."""

    QUIET = "quiet"
    FORCED = "forced"


@dataclass(frozen=True, slots=True)
class LifetimeRules:
    """The provider ends a call `limit_s` after it began. The window lasts `window_s` and ends `margin_s` before that;
    of a limit too short for both, the first half at least is used, and the window begins at once."""

    limit_s: float
    window_s: float = 60.0
    margin_s: float = 10.0
    quiet_s: float = 0.8


class Lifetime:
    """One per call. Times are monotonic seconds."""

    def __init__(self, rules: LifetimeRules) -> None:
        self._rules = rules
        self._window_at = self._forced_at = inf
        self._caller_speaks = self._assistant_speaks = False
        self._quiet_since = 0.0
        """When it became quiet; infinite while it is not."""

    def connected(self, now: float) -> None:
        """A new assistant call has begun."""
        rules = self._rules
        self._forced_at = now + max(rules.limit_s - rules.margin_s, rules.limit_s / 2)
        self._window_at = max(now, self._forced_at - rules.window_s)

    def caller(self, *, speaks: bool) -> None:
        """The caller begins or stops to speak."""
        self._caller_speaks = speaks
        self._quiet_since = inf

    def assistant(self, *, speaks: bool, now: float) -> None:
        """The caller begins to hear the assistant, or has heard all that it said."""
        self._assistant_speaks = speaks
        self._quiet_since = inf if speaks or self._caller_speaks else now

    @property
    def deadline(self) -> float | None:
        """When to ask `expire`; None: the call need not move."""
        at = min(self._forced_at, max(self._window_at, self._quiet_since + self._rules.quiet_s))
        return None if at == inf else at

    def expire(self, now: float) -> Change | None:
        """Whether the call has to move now. Says so once, until `connected`."""
        if self.deadline is None or now < self.deadline:
            return None
        change = Change.FORCED if now >= self._forced_at else Change.QUIET
        self._window_at = self._forced_at = inf
        return change
