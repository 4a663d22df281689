"""The one way to wake a task: it waits on a signal, and who has changed something that matters to it fires that."""

import math

import trio
from trio.lowlevel import ParkingLot


class Signal:
    """Wakes every task that waits, and keeps nothing for tasks that come later.

    So a task looks at its condition first, and waits only while that does not hold: `while not ready: await
    signal.wait()`. No wake-up is missed, because nothing else runs between the look and the wait.
    """

    def __init__(self) -> None:
        self._waiting = ParkingLot()

    def fire(self) -> None:
        """Wake all that wait now."""
        if self._waiting:  # mostly nobody waits, and then to find that out costs a fifth of waking nobody
            self._waiting.unpark_all()

    async def wait(self, until: float = math.inf) -> None:
        """Return at the next `fire`, or at the time `until` of trio's clock. Always a checkpoint."""
        if until == math.inf:
            await self._waiting.park()
            return
        with trio.move_on_at(until):
            await self._waiting.park()
