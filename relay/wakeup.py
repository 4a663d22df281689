"""The ways to wake a task: a signal, which is fired by who has changed something, and a deadline.

A wait can have a name. In a call that is recorded, the end of each such wait is taken down: a busy machine wakes a task
late, and which task of several has its turn first is chance, but both decide what is done. A replay of the call ends
each wait where the recording says so, whatever was fired and however late it is. So every wait of a call whose end
decides anything has a name, of which there is one wait at a time. Where the time itself decides, between two waits, a
call looks at the clock by `current_time`.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

import trio
from trio.lowlevel import (
    Abort,
    Task,
    checkpoint_if_cancelled,
    current_clock,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

from relay.alarm_clock import AlarmClock

COARSE_S = 0.06
"""A multiple of the ticks on which sockets are read."""


class Timekeeper(Protocol):
    """Is told when waits end, or ends them itself."""

    holds: bool
    """It ends all waits that have a name, and nothing else does."""

    def scope(self, name: str, at: float) -> trio.CancelScope:
        """A scope for a wait of this name, for which it is over at this time of trio's clock at the latest."""

    def knows(self, name: str) -> bool:
        """Whether it will end a `turn` of this name, if it holds the waits."""

    def passed(self, name: str) -> None:
        """The wait of this name has ended just now."""

    def look(self) -> float:
        """The time of trio's clock, at which somebody looks who decides something by it."""


_timekeeper: ContextVar[Timekeeper | None] = ContextVar("timekeeper", default=None)


@contextmanager
def timed_by(keeper: Timekeeper | None) -> Iterator[None]:
    """Let this keeper follow the waits in this context, and in the tasks that are started in it."""
    token = _timekeeper.set(keeper)
    try:
        yield
    finally:
        _timekeeper.reset(token)


def current_time() -> float:
    """The time of trio's clock, for whoever decides something in a call by it: a recording takes down when it has gone
    on within one step, because the machine stalled there, and a replay of that finds it so."""
    keeper = _timekeeper.get()
    return trio.current_time() if keeper is None else keeper.look()


def whose_turn() -> str:
    """The name of the running task, if it is one of the call's; "" while another's works for the call."""
    task = current_task()
    return task.name if _timekeeper in task.context else ""


@contextmanager
def deadline(name: str, at: float) -> Iterator[trio.CancelScope]:
    """Cancel what is inside at this time, as `trio.move_on_at` does. Only that end has the name."""
    keeper = _timekeeper.get()
    with trio.CancelScope(deadline=at) if keeper is None else keeper.scope(name, at) as scope:
        yield scope
    if keeper is not None and scope.cancelled_caught:
        keeper.passed(name)


async def sleep_until(at: float, name: str = "") -> None:
    """Return at this time. Always a checkpoint. Without a name it is what trio has, at a lower price, which is lowest
    with an `AlarmClock`: for tasks that are woken by the clock hundreds of times a second."""
    if not name and isinstance(clock := current_clock(), AlarmClock):
        await clock.sleep_until(at)
    else:
        await Signal().wait(until=at, name=name)


def next_step(step_s: float) -> float:
    """The next multiple of `step_s` on trio's clock. Who waits for steps of one grid is woken in the same round."""
    now = trio.current_time()
    at = (math.floor(now / step_s) + 1) * step_s
    return at if at > now else at + step_s  # 0.29 / 0.01 is a little less than 29


def coarse(at: float) -> float:
    """This time, or some ms later: for waits that need not be exact. A loop that wakes up from rest finds its caches
    cold, which costs it 0.1 ms or more; so these waits end when it reads sockets anyway (see
    `relay.net.link.shared_reader`)."""
    on_grid = math.ceil(at / COARSE_S) * COARSE_S
    return on_grid if on_grid >= at else on_grid + COARSE_S


async def turn(name: str) -> None:
    """Let others have their turn, then go on: a wait with a name for nothing. Always a checkpoint."""
    keeper = _timekeeper.get()
    if keeper is None or not (keeper.holds and keeper.knows(name)):
        await trio.lowlevel.checkpoint()
    else:
        with keeper.scope(name, math.inf):
            await trio.sleep_forever()
    if keeper is not None:
        keeper.passed(name)


class Signal:
    """Wakes every task that waits, and keeps nothing for tasks that come later.

    So a task looks at its condition first, and waits only while that does not hold: `while not ready: await
    signal.wait()`. No wake-up is missed, because nothing else runs between the look and the wait.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[Task, None] = {}

    def fire(self) -> None:
        """Wake all that wait now."""
        if self._waiting:  # mostly nobody waits
            for task in self._waiting:
                reschedule(task)
            self._waiting.clear()

    async def wait(self, until: float = math.inf, name: str = "") -> None:
        """Return at the next `fire`, or at the time `until` of trio's clock. Always a checkpoint."""
        if name:
            await Alarm(name).wait(self, until)
            return
        if until < math.inf:
            await checkpoint_if_cancelled()
            with trio.CancelScope(deadline=until) as alarm:
                await self.wait_in(alarm)
            return
        task = current_task()
        self._waiting[task] = None
        await wait_task_rescheduled(lambda _: self._stop_waiting(task))

    async def wait_in(self, alarm: trio.CancelScope) -> None:
        """Return at the next `fire`, or when this scope, which is entered, is cancelled or its deadline comes."""
        task = current_task()

        def wake(_: object) -> Abort:
            """At the time, return as at a `fire`: to raise and catch an exception costs as much as the rest."""
            aborted = self._stop_waiting(task)
            if not alarm.cancel_called:
                return aborted
            reschedule(task)
            return Abort.FAILED

        self._waiting[task] = None
        await wait_task_rescheduled(wake)

    def _stop_waiting(self, task: Task) -> Abort:
        del self._waiting[task]
        return Abort.SUCCEEDED


class Alarm:
    """A wait with a name for a signal, whose deadline can be moved meanwhile. For one task."""

    __slots__ = ("_held", "_name", "_scope")

    def __init__(self, name: str) -> None:
        self._name = name
        self._scope: trio.CancelScope | None = None
        self._held = False

    @property
    def waits(self) -> bool:
        """Whether the task waits."""
        return self._scope is not None

    def move(self, until: float) -> None:
        """End the wait at this time instead."""
        if self._scope is not None and not self._held:
            self._scope.deadline = until

    async def wait(self, signal: Signal, until: float) -> None:
        """Return when the signal is fired, or at this time. Always a checkpoint."""
        await checkpoint_if_cancelled()
        keeper = _timekeeper.get()
        self._held = keeper is not None and keeper.holds
        try:
            with trio.CancelScope(deadline=until) if keeper is None else keeper.scope(self._name, until) as self._scope:
                if self._held:
                    await trio.sleep_forever()
                await signal.wait_in(self._scope)
        finally:
            self._scope = None
        if keeper is not None:
            keeper.passed(self._name)
