"""trio's clock with alarms, for tasks that are woken by the time hundreds of times a second.

A deadline of trio is a scope, which is opened, cancelled and closed: some sixty functions for one wake-up. An alarm is
an entry in a heap. The clock looks at it when trio asks how long it may rest, and once it has rested.

| an alarm | leaves when                                                                | deadline       |
|----------|----------------------------------------------------------------------------|----------------|
| set      | its time has come -> its task runs; the task is cancelled -> void          | its own time   |
| void     | its time has come: nothing happens                                         | its own time   |
"""

import math
from heapq import heappop, heappush
from itertools import count
from time import perf_counter

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled

AHEAD_S = 10_000.0
"""Of the system's clock, so that no time of that is taken for one of this, nor 0 for a time that has just passed.
trio's own is ahead as well."""


class AlarmClock(trio.abc.Clock, trio.abc.Instrument):
    """For one `trio.run`, which takes it for its clock and as an instrument."""

    def __init__(self) -> None:
        self._alarms: list[tuple[float, int]] = []
        """A heap: the time of each, and its number."""
        self._asleep: dict[int, Task] = {}
        """By the number of their alarm."""
        self._numbers = count()

    def start_clock(self) -> None:
        """It always runs."""

    def current_time(self) -> float:
        return AHEAD_S + perf_counter()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """How long trio may rest, s: until this deadline, or the next alarm."""
        return min(deadline, self._alarms[0][0] if self._alarms else math.inf) - self.current_time()

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """trio has rested, or had no time to: wake who is to be woken by now."""
        while self._alarms and self._alarms[0][0] <= self.current_time():
            _, number = heappop(self._alarms)
            if (task := self._asleep.pop(number, None)) is not None:
                reschedule(task)

    async def sleep_until(self, at: float) -> None:
        """Return at this time. Always a checkpoint. Cancelled, it is forgotten."""
        number = next(self._numbers)
        heappush(self._alarms, (at, number))
        self._asleep[number] = current_task()

        def void(_: object) -> Abort:
            del self._asleep[number]
            return Abort.SUCCEEDED

        await wait_task_rescheduled(void)
