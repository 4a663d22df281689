"""A circuit breaker: it says whether it is worth dialling an assistant that has failed before.

closed: it works, as far as anybody knows.
    `failed`, for the `failures`th time in a row       -> open
open: nobody dials it.
    deadline, `open_s` after it opened: the next `admit` -> half-open, and that dial is the probe
    `succeeded`: a dial from before went through        -> closed
half-open: one probe is under way, all others wait.
    `succeeded`                                         -> closed
    `failed`                                            -> open, for twice as long, up to `longest_s`
    `abandoned`: nobody learned anything                -> open, its deadline over: the next `admit` is a probe
    deadline, `probe_s`, without a word of the probe    -> half-open: the next `admit` is another probe

A success in any state closes it and forgets the failures; a failure of an older dial while it is open changes nothing.

locked out: nobody dials it, whatever the state above.
    `locked_out`: it answered that it takes no calls    -> locked out
    deadline, as long after that as was said            -> the state above
"""

from dataclasses import dataclass
from enum import StrEnum

ASK_AGAIN_S = 0.1
"""While somebody else's probe runs, which may end at any moment."""


class BreakerState(StrEnum):
    """The states above."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """The number and the times that the states above name."""

    failures: int = 5
    open_s: float = 2.0
    longest_s: float = 30.0
    probe_s: float = 15.0


class Breaker:
    """One per assistant, shared by all calls. Times are monotonic seconds."""

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self.state = BreakerState.CLOSED
        self._failures = 0
        self._open_s = rules.open_s
        self._until = 0.0
        self._locked_until = 0.0

    def admit(self, now: float) -> bool:
        """Whether to dial now. Who is admitted must say in the end what came of it: one of the methods below."""
        if now < self._locked_until:
            return False
        if self.state is BreakerState.CLOSED:
            return True
        if now < self._until:
            return False
        self.state = BreakerState.HALF_OPEN
        self._until = now + self._rules.probe_s
        return True

    def next_at(self, now: float) -> float:
        """When it is worth asking `admit`: now, or later."""
        if now < self._locked_until:
            return self._locked_until
        if self.state is BreakerState.CLOSED or self._until <= now:
            return now
        return self._until if self.state is BreakerState.OPEN else min(self._until, now + ASK_AGAIN_S)

    def succeeded(self) -> None:
        """A dial went through."""
        self.state = BreakerState.CLOSED
        self._failures = 0
        self._open_s = self._rules.open_s

    def failed(self, now: float) -> None:
        """A dial failed for a reason that would meet any other call too."""
        match self.state:
            case BreakerState.CLOSED:
                self._failures += 1
                if self._failures >= self._rules.failures:
                    self._open(now)
            case BreakerState.HALF_OPEN:
                self._open_s = min(2 * self._open_s, self._rules.longest_s)
                self._open(now)
            case BreakerState.OPEN:
                pass

    def locked_out(self, now: float, for_s: float) -> None:
        """A dial was answered with a lock-out, which meets every other call too."""
        self._locked_until = max(self._locked_until, now + for_s)
        self.abandoned(now)

    def abandoned(self, now: float) -> None:
        """A dial was given up before it said anything about the assistant: the caller hung up."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.OPEN
            self._until = now

    def _open(self, now: float) -> None:
        self.state = BreakerState.OPEN
        self._until = now + self._open_s
