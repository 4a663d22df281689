"""Measures the event loop: how late it wakes a task, which every frame of every call waits at least, and how many tasks
it has.

A process that stood still, because it was stopped or its machine was, or something kept the loop, says so and goes on.
"""

import time
from collections.abc import Callable

import structlog
import trio

from relay.metrics import Metrics

EVERY_S = 0.1
STANDSTILL_S = 1.0
"""What is shorter is heard, and seen in the histogram; callers and assistants take no harm from it."""

log = structlog.get_logger(__name__)


def _uptime() -> float:
    """Seconds since the machine was started, those in which it was suspended too (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def probe_loop_lag(
    metrics: Metrics, uptime: Callable[[], float] = _uptime, *, note: Callable[[float], None] = lambda _: None
) -> None:
    """Observe until cancelled; `note` is told each lag, in seconds."""
    while True:
        due_at = trio.current_time() + EVERY_S
        up_at = uptime() + EVERY_S
        await trio.sleep_until(due_at)
        late_s = trio.current_time() - due_at
        metrics.loop_lag.observe(late_s)
        note(late_s)
        metrics.tasks.set(trio.lowlevel.current_statistics().tasks_living)
        if (stood_still_s := max(late_s, uptime() - up_at)) >= STANDSTILL_S:
            metrics.standstill.inc(stood_still_s)
            log.warning("daemon.stood_still", stood_still_s=round(stood_still_s, 3))
