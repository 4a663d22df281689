"""Limits how often and how long a call waits for a caller whose socket dropped.

| state    | meaning                                 | leaves when                                   | deadline        |
|----------|-----------------------------------------|-----------------------------------------------|-----------------|
| attached | the caller's socket stands, or has not  | `lost` -> waiting                             | none            |
|          | been there yet                          |                                               |                 |
| waiting  | the socket is gone, the call goes on    | `attached` -> attached                        | `grace_s` after |
|          |                                         | deadline: the caller is lost, the call ends   | the loss, or    |
|          |                                         |                                               | the last grant  |

`grant` says whether the stream may be attached again (Twilio's request for what comes after `<Connect>`), in any state,
because the request may come before the loss of the old socket is known.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReattachRules:
    """At most `max_attempts` in any `window_s`, and no more than `grace_s` without the caller."""

    max_attempts: int = 3
    window_s: float = 60.0
    grace_s: float = 15.0


class Reattach:
    """One per call. Times are monotonic seconds; `ages_s` is what another process had granted before."""

    def __init__(self, rules: ReattachRules, *, ages_s: Iterable[float] = (), now: float = 0.0) -> None:
        self._rules = rules
        self._granted = sorted(now - age_s for age_s in ages_s)
        self.deadline: float | None = None
        """When the call has waited long enough; None while the caller is attached."""

    def lost(self, now: float) -> None:
        """The caller's socket is gone."""
        self.deadline = now + self._rules.grace_s

    def attached(self) -> None:
        """A socket of the caller stands."""
        self.deadline = None

    def grant(self, now: float) -> bool:
        """Whether there may be one more attempt: at most `max_attempts` in any `window_s`. Counts it if so."""
        self._forget(now)
        if len(self._granted) >= self._rules.max_attempts:
            return False
        self._granted.append(now)
        if self.deadline is not None:
            self.deadline = now + self._rules.grace_s
        return True

    def ages_s(self, now: float) -> tuple[float, ...]:
        """How long ago each attempt that still counts was granted: what a state store keeps."""
        self._forget(now)
        return tuple(now - at for at in self._granted)

    def _forget(self, now: float) -> None:
        while self._granted and self._granted[0] <= now - self._rules.window_s:
            del self._granted[0]
