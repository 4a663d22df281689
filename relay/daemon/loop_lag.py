"""Measures the event loop: how late it wakes a task, which every frame of every call waits at least, and how many tasks
it has."""

import trio

from relay.metrics import Metrics

EVERY_S = 0.1


async def probe_loop_lag(metrics: Metrics) -> None:
    """Observe until cancelled."""
    while True:
        due_at = trio.current_time() + EVERY_S
        await trio.sleep_until(due_at)
        metrics.loop_lag.observe(trio.current_time() - due_at)
        metrics.tasks.set(trio.lowlevel.current_statistics().tasks_living)
