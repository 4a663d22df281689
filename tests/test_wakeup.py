"""A signal wakes who waits, at once and all of them, and nobody else."""

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.wakeup import Signal, sleep_until


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


async def test_who_waits_for_a_time_that_is_over_again_and_again_can_be_cancelled() -> None:
    with trio.fail_after(5), trio.move_on_after(0.01) as limit:
        while True:
            await sleep_until(trio.current_time() - 1)

    assert limit.cancelled_caught


async def test_whoever_does_not_wait_any_more_is_not_woken(autojump_clock: MockClock) -> None:
    signal, scopes = Signal(), [trio.CancelScope() for _ in range(2)]
    ways: list[str] = []

    async def wait(way: str, scope: trio.CancelScope, until: float) -> None:
        with scope:
            await signal.wait(until)
            ways.append(way)
        await trio.sleep(10)  # a wake-up here would end the run

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "cancelled", scopes[0], math.inf)
        nursery.start_soon(wait, "cancelled before its time", scopes[1], 5.0)
        nursery.start_soon(wait, "its time came", trio.CancelScope(), 1.0)
        nursery.start_soon(wait, "fired", trio.CancelScope(), 5.0)
        await trio.sleep(2)
        for scope in scopes:
            scope.cancel()
        signal.fire()
        await trio.lowlevel.checkpoint()
        signal.fire()
        await wait_all_tasks_blocked()
        signal.fire()

    assert ways == ["its time came", "fired"]


async def test_a_time_that_comes_together_with_a_cancellation_loses_none_of_the_two(autojump_clock: MockClock) -> None:
    with trio.move_on_at(trio.current_time() + 1) as limit:
        await sleep_until(trio.current_time() + 1)
        await trio.lowlevel.checkpoint()
        raise AssertionError("not cancelled")

    assert limit.cancelled_caught
