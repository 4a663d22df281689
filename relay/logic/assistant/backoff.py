"""Says how long to wait before the next attempt: exponential back-off with full jitter.

Each wait is drawn evenly between nothing and a limit that doubles, so that many calls which lost the same peer do not
come back in step (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from random import Random


@dataclass(frozen=True, slots=True)
class BackoffRules:
    """At most `max_attempts`. The first wait is up to `first_s`, each further one up to twice as long, but no longer
    than `longest_s`. `budget_s` runs from the first attempt asked for until the last may begin."""

    max_attempts: int = 3
    first_s: float = 0.2
    longest_s: float = 4.0
    budget_s: float = 20.0


class Backoff:
    """Attempts after a loss, until `succeeded`. Times are monotonic seconds.

    `new_rng` is called before the first: what it gives takes 2.5 KB, and most calls lose nothing.
    """

    def __init__(self, rules: BackoffRules, new_rng: Callable[[], Random]) -> None:
        self._rules = rules
        self._new_rng = new_rng
        self._until: float | None = None
        self.attempt = 0
        """The number of the attempt that was granted last: 1 is the first after a loss."""

    def next_at(self, now: float) -> float | None:
        """When to make the next attempt; None when all attempts or the time are used up."""
        if self._until is None:
            self._until = now + self._rules.budget_s
        if self.attempt >= self._rules.max_attempts:
            return None
        limit_s = min(self._rules.longest_s, self._rules.first_s * 2**self.attempt)
        at = now + self._rng.uniform(0, limit_s)
        if at > self._until:
            return None
        self.attempt += 1
        return at

    def succeeded(self) -> None:
        """The next loss has all attempts and the whole time again."""
        self.attempt = 0
        self._until = None

    @cached_property
    def _rng(self) -> Random:
        return self._new_rng()
