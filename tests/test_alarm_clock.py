"""An alarm wakes its task at its time, not sooner, and nobody else; a cancelled task forgets it."""

import math
from collections.abc import Awaitable, Callable

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from relay.alarm_clock import AlarmClock
from relay.wakeup import sleep_until


def run(clock: AlarmClock, main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=clock, instruments=[clock])


@given(st.permutations(range(6)))
def test_each_task_wakes_once_and_not_before_its_time(order: list[int]) -> None:
    clock, woken = AlarmClock(), list[int]()

    async def main() -> None:
        began = trio.current_time()

        async def sleeper(number: int) -> None:
            at = began + number / 1000
            await (clock.sleep_until(at) if number % 2 else trio.sleep_until(at))
            assert trio.current_time() >= at
            woken.append(number)

        async with trio.open_nursery() as nursery:
            for number in order:
                nursery.start_soon(sleeper, number)

    run(clock, main)
    assert sorted(woken) == list(range(6))


def test_a_time_that_has_passed_is_a_checkpoint() -> None:
    clock, turns = AlarmClock(), list[str]()

    async def main() -> None:
        async def other() -> None:
            turns.append("other")
            await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            for _ in range(2):  # in which order the tasks of a round run is chance
                await clock.sleep_until(-math.inf)
            turns.append("sleeper")

    run(clock, main)
    assert turns == ["other", "sleeper"]


def test_a_task_can_be_cancelled() -> None:
    clock = AlarmClock()

    async def main() -> None:
        with trio.move_on_after(0.001) as scope:
            await clock.sleep_until(trio.current_time() + 60)
        assert scope.cancelled_caught
        await clock.sleep_until(trio.current_time() + 0.001)

    run(clock, main)


def test_of_a_cancelled_task_nothing_is_left_behind_its_time() -> None:
    clock = AlarmClock()

    async def main() -> None:
        at = trio.current_time() + 0.01
        with trio.CancelScope() as scope:
            scope.cancel()
            await clock.sleep_until(at)
        assert scope.cancelled_caught
        await clock.sleep_until(at + 0.001)
        assert trio.current_time() >= at + 0.001

    run(clock, main)
    assert clock.deadline_to_sleep_time(math.inf) == math.inf


def test_the_loop_rests_until_the_next_alarm_or_deadline() -> None:
    clock, rests = AlarmClock(), list[float]()

    async def main() -> None:
        async def sleeper() -> None:
            await sleep_until(trio.current_time() + 60)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            await trio.testing.wait_all_tasks_blocked()
            rests.append(clock.deadline_to_sleep_time(math.inf))
            rests.append(clock.deadline_to_sleep_time(trio.current_time() + 30))
            rests.append(clock.deadline_to_sleep_time(trio.current_time() + 90))
            nursery.cancel_scope.cancel()

    run(clock, main)
    assert 30 < rests[0] <= 60, "a wait without a name is an alarm where there is such a clock"
    assert 0 < rests[1] <= 30
    assert 30 < rests[2] <= 60
