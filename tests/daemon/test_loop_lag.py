"""The probe sees a loop that was held up, and how many tasks it has."""

import time

import trio
from trio.testing import MockClock

from relay.daemon.loop_lag import probe_loop_lag
from relay.metrics import Metrics


async def test_a_task_that_blocks_the_loop_is_seen() -> None:
    metrics = Metrics()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(probe_loop_lag, metrics)
        await trio.sleep(0.05)
        time.sleep(0.3)  # noqa: ASYNC251 - the fault to be seen
        await trio.sleep(0.05)
        nursery.cancel_scope.cancel()

    assert (metrics.registry.get_sample_value("relay_loop_lag_seconds_sum") or 0) > 0.2


async def test_the_tasks_of_the_loop_are_counted(autojump_clock: MockClock) -> None:
    metrics = Metrics()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(probe_loop_lag, metrics)
        await trio.sleep(0.15)
        alone = metrics.registry.get_sample_value("relay_tasks") or 0
        for _ in range(7):
            nursery.start_soon(trio.sleep_forever)
        await trio.sleep(0.15)
        nursery.cancel_scope.cancel()

    assert metrics.registry.get_sample_value("relay_tasks") == alone + 7 > 7
