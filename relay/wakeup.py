"""The one way to wake a task: it waits on a signal, and who has changed something that matters to it fires that."""

import math

import trio
from trio.lowlevel import Abort, Task, checkpoint_if_cancelled, current_task, reschedule, wait_task_rescheduled


class Signal:
    """Wakes every task that waits, and keeps nothing for tasks that come later.

    So a task looks at its condition first, and waits only while that does not hold: `while not ready: await
    signal.wait()`. No wake-up is missed, because nothing else runs between the look and the wait.
    """

    def __init__(self) -> None:
        self._waiting: dict[Task, None] = {}

    def fire(self) -> None:
        """Wake all that wait now."""
        if self._waiting:  # mostly nobody waits
            for task in self._waiting:
                reschedule(task)
            self._waiting.clear()

    async def wait(self, until: float = math.inf) -> None:
        """Return at the next `fire`, or at the time `until` of trio's clock. Always a checkpoint."""
        task = current_task()

        def stop_waiting(_: object) -> Abort:
            del self._waiting[task]
            return Abort.SUCCEEDED

        if until == math.inf:
            self._waiting[task] = None
            await wait_task_rescheduled(stop_waiting)
            return

        def wake(cancelled: object) -> Abort:
            """At the time, return as at a `fire`: to raise and catch an exception costs as much as the rest."""
            if not alarm.cancel_called:
                return stop_waiting(cancelled)
            del self._waiting[task]
            reschedule(task)
            return Abort.FAILED

        await checkpoint_if_cancelled()
        self._waiting[task] = None
        with trio.CancelScope(deadline=until) as alarm:
            await wait_task_rescheduled(wake)


async def sleep_until(time: float) -> None:
    """As trio's own, at a lower price: for tasks that are woken by the clock hundreds of times a second."""
    await Signal().wait(until=time)
