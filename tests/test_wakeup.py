"""A signal wakes who waits, at once and all of them, and nobody else."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.wakeup import Signal


async def test_firing_wakes_every_task_that_waits() -> None:
    signal, woken = Signal(), []

    async def wait(name: int) -> None:
        await signal.wait()
        woken.append(name)

    async with trio.open_nursery() as nursery:
        for name in range(5):
            nursery.start_soon(wait, name)
        await wait_all_tasks_blocked()
        assert not woken
        signal.fire()

    assert sorted(woken) == [0, 1, 2, 3, 4]


async def test_it_keeps_nothing_for_a_task_that_comes_later(autojump_clock: MockClock) -> None:
    signal = Signal()
    signal.fire()
    with trio.move_on_after(1) as limit:
        await signal.wait()

    assert limit.cancelled_caught


@pytest.mark.parametrize("until", [-1.0, 0.0, 2.5])
async def test_it_waits_until_a_time_at_the_latest(until: float, autojump_clock: MockClock) -> None:
    began = trio.current_time()
    await Signal().wait(began + until)

    assert trio.current_time() == pytest.approx(began + max(0.0, until))


async def test_it_is_a_point_of_cancellation_also_when_the_time_is_over() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await Signal().wait(trio.current_time() - 1)
        raise AssertionError("not cancelled")

    assert scope.cancelled_caught
