"""Chooses the assistant to dial: first to last, each with its tries, those that are known to be down left out.

| state     | `next` says                                              | leaves when                                  |
|-----------|----------------------------------------------------------|----------------------------------------------|
| trying    | `Dial` the first rung that has tries left and is         | `succeeded` -> trying, all tries given back  |
|           | admitted by its breaker                                  | no rung has tries left -> exhausted          |
| waiting   | `Wait`: all that have tries left are down for the moment | the time is over -> trying                   |
| exhausted | None                                                     | `succeeded`                                  |

Each `Dial` uses up a try, so there are at most `tries` of each rung. How long to wait in all is the caller's decision.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.logic.assistant.breaker import Breaker


@dataclass(frozen=True, slots=True)
class Dial:
    """Dial the assistant of this place in the list."""

    index: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again then."""

    until: float


class Ladder:
    """One per call; the breakers, one for each assistant, are everybody's. Times are monotonic seconds."""

    def __init__(self, breakers: Sequence[Breaker], tries: int) -> None:
        self._breakers = breakers
        self._tries = tries
        self._left = [tries] * len(breakers)

    def next(self, now: float) -> Dial | Wait | None:
        """What to do next; None: every assistant has failed this call."""
        rungs = [index for index, left in enumerate(self._left) if left]
        for index in rungs:
            if self._breakers[index].admit(now):
                self._left[index] -= 1
                return Dial(index)
        return Wait(min(self._breakers[index].next_at(now) for index in rungs)) if rungs else None

    def failed(self, index: int, now: float, *, retriable: bool) -> None:
        """The dial failed, or the call for a fault; not `retriable`: this assistant is not tried again."""
        self._breakers[index].failed(now)
        if not retriable:
            self.leave_out(index)

    def leave_out(self, index: int) -> None:
        """Do not dial this assistant, until another has the call."""
        self._left[index] = 0

    def locked_out(self, index: int, now: float, for_s: float) -> None:
        """The assistant takes no calls for so long, whoever dials."""
        self._breakers[index].locked_out(now, for_s)

    def abandoned(self, index: int, now: float) -> None:
        """The dial was given up before it said anything about the assistant."""
        self._breakers[index].abandoned(now)

    def succeeded(self, index: int) -> None:
        """The assistant has the call. The next loss begins with the first of the list again."""
        self._breakers[index].succeeded()
        self._left = [self._tries] * len(self._breakers)
