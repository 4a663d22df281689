"""A signal wakes who waits, at once and all of them, and nobody else."""

import math
from contextvars import copy_context

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.net.link.shared_reader import TICKS_S
from relay.wakeup import (
    COARSE_S,
    Alarm,
    Signal,
    coarse,
    current_time,
    deadline,
    next_step,
    sleep_until,
    timed_by,
    turn,
    whose_turn,
)


class Follower:
    """A timekeeper that notes which waits were over, and ends them if it `holds` them."""

    def __init__(self, *, holds: bool) -> None:
        self.holds = holds
        self.over: list[str] = []
        self.looks = 0
        self.scopes: dict[str, trio.CancelScope] = {}

    def scope(self, name: str, at: float) -> trio.CancelScope:
        self.scopes[name] = scope = trio.CancelScope() if self.holds else trio.CancelScope(deadline=at)
        return scope

    def knows(self, name: str) -> bool:
        return name != "new"

    def passed(self, name: str) -> None:
        self.over.append(name)

    def look(self) -> float:
        self.looks += 1
        return trio.current_time() + self.looks


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


async def test_a_deadline_ends_what_is_inside_and_is_noted_under_its_name(autojump_clock: MockClock) -> None:
    follower = Follower(holds=False)
    began = trio.current_time()
    with timed_by(follower):
        await sleep_until(began + 2, "nap")
        with deadline("never", began + 9) as limit:
            await trio.sleep(1)

    assert trio.current_time() - began == pytest.approx(3)
    assert follower.over == ["nap"]
    assert not limit.cancelled_caught


async def test_a_wait_with_a_name_is_noted_whether_its_signal_or_its_deadline_ended_it(
    autojump_clock: MockClock,
) -> None:
    follower, signal = Follower(holds=False), Signal()
    with timed_by(follower):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(signal.wait, trio.current_time() + 5, "signalled")
            await wait_all_tasks_blocked()
            signal.fire()
        await signal.wait(trio.current_time() + 1, "late")
        await signal.wait(trio.current_time() + 1)

    assert follower.over == ["signalled", "late"]


async def test_a_keeper_that_holds_the_waits_ends_them_and_nothing_else_does(autojump_clock: MockClock) -> None:
    follower, signal = Follower(holds=True), Signal()
    with timed_by(follower):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(signal.wait, trio.current_time() + 1, "signal")
            nursery.start_soon(sleep_until, trio.current_time() + 1, "nap")
            await trio.sleep(2)
            signal.fire()
            await wait_all_tasks_blocked()
            assert follower.over == []
            follower.scopes["nap"].cancel()
            await wait_all_tasks_blocked()
            assert follower.over == ["nap"]
            follower.scopes["signal"].cancel()

    assert follower.over == ["nap", "signal"]


async def test_a_turn_is_noted_and_comes_when_a_keeper_that_holds_the_waits_says_so() -> None:
    free, held = Follower(holds=False), Follower(holds=True)
    await turn("of nobody")
    with timed_by(free):
        await turn("free")
    with timed_by(held):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(turn, "held")
            nursery.start_soon(turn, "new")
            await wait_all_tasks_blocked()
            assert held.over == ["new"]
            held.scopes["held"].cancel()

    assert (free.over, held.over) == (["free"], ["new", "held"])


@pytest.mark.parametrize("holds", [None, False])
async def test_an_alarm_is_moved_while_its_task_waits(holds: bool | None, autojump_clock: MockClock) -> None:
    alarm, began = Alarm("alarm"), trio.current_time()
    with timed_by(None if holds is None else Follower(holds=holds)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alarm.wait, Signal(), began + 9)
            await trio.sleep(1)
            assert alarm.waits
            alarm.move(began + 3)

    assert trio.current_time() - began == pytest.approx(3)
    assert not alarm.waits


@pytest.mark.parametrize("name", ["", "named"])
async def test_who_waits_for_a_time_that_is_over_again_and_again_can_be_cancelled(name: str) -> None:
    with trio.fail_after(5), trio.move_on_after(0.01) as limit:
        while True:
            await Signal().wait(trio.current_time() - 1, name)

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


async def test_the_time_is_the_clocks_and_who_follows_the_waits_says_it(mock_clock: MockClock) -> None:
    mock_clock.jump(9.0)
    follower = Follower(holds=False)
    with timed_by(follower):
        assert [current_time(), current_time()] == [10.0, 11.0]

    assert current_time() == 9.0
    assert follower.looks == 2


async def test_a_task_of_the_call_is_told_from_one_that_works_for_it() -> None:
    names = []

    async def of_the_call() -> None:
        names.append(whose_turn())

    async with trio.open_nursery() as nursery:
        with timed_by(Follower(holds=False)):
            nursery.start_soon(of_the_call, name="the call's")
            own = copy_context()
    own.run(lambda: names.append(whose_turn()))

    assert names == ["the call's", ""]


async def test_every_second_step_of_5_ms_is_one_of_10_ms(autojump_clock: MockClock) -> None:
    steps: dict[float, list[float]] = {0.005: [], 0.01: []}

    async def wait(step_s: float) -> None:
        while trio.current_time() < 1:
            await sleep_until(next_step(step_s))
            steps[step_s].append(trio.current_time())

    await trio.sleep(0.0037)
    async with trio.open_nursery() as nursery:
        for step_s in steps:
            nursery.start_soon(wait, step_s)
    assert steps[0.005][1::2] == steps[0.01]
    assert len(steps[0.01]) == 100


@given(st.floats(0, 1e6), st.sampled_from([0.0025, 0.005, 0.01]))
def test_the_next_step_is_later_than_now_and_no_more_than_a_step(now: float, step_s: float) -> None:
    clock = MockClock()

    async def ask() -> float:
        clock.jump(now - trio.current_time())
        return next_step(step_s) - trio.current_time()

    assert 0 < trio.run(ask, clock=clock) <= step_s * 1.01


@given(st.floats(0, 1e6))
def test_a_coarse_wait_ends_no_sooner_than_it_may_and_on_a_step_of_the_grid(at: float) -> None:
    assert at <= coarse(at) <= at + COARSE_S * 1.001
    assert coarse(at) / COARSE_S == pytest.approx(round(coarse(at) / COARSE_S), abs=1e-6)


@pytest.mark.parametrize("tick_s", [tick_s for _, tick_s in TICKS_S if tick_s])
def test_with_many_calls_a_coarse_wait_ends_on_a_tick(tick_s: float) -> None:
    assert COARSE_S / tick_s == pytest.approx(round(COARSE_S / tick_s))
