"""Turns: one connection after the other, clients in a circle, and between two turns whoever else is ready."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.net.turns import LINES_BURST_S, LINES_PER_S, TURN_MAX_S, Turns

MANY = 100
STEPS = 50
LINES = 16


async def have_a_turn(turns: Turns, client: str, order: list[str]) -> None:
    await turns.wait(client)
    order.append(client)


async def send_lines(turns: Turns, client: str, order: list[str]) -> None:
    await turns.wait_for_lines(client, LINES)
    order.append(client)


@pytest.mark.parametrize("one", [have_a_turn, send_lines])
async def test_a_client_with_few_connections_waits_for_few_of_one_with_many(
    one: object, autojump_clock: MockClock
) -> None:
    turns = Turns()
    order: list[str] = []
    async with trio.open_nursery() as nursery:
        for _ in range(MANY):
            nursery.start_soon(one, turns, "many", order)  # type: ignore[arg-type]
        await trio.lowlevel.checkpoint()
        nursery.start_soon(one, turns, "few", order)  # type: ignore[arg-type]

    assert len(order) == MANY + 1
    assert order.index("few") <= LINES_BURST_S * LINES_PER_S / LINES + 3


async def test_what_a_turn_has_begun_is_done_before_the_next_turn(mock_clock: MockClock) -> None:
    turns, moments = Turns(), list[str]()

    async def request() -> None:
        await turns.wait("")
        moments.append("begun")
        for _ in range(STEPS):
            await trio.lowlevel.checkpoint()
        moments.append("done")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(request)

    assert moments == ["begun", "done"] * 3
    assert mock_clock.current_time() == 0


async def test_who_is_never_done_holds_the_next_turn_up_for_its_limit(mock_clock: MockClock) -> None:
    turns, had = Turns(), trio.Event()

    async def always_ready() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    async def wait() -> None:
        await turns.wait("")
        had.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(always_ready)
        await turns.wait("")
        nursery.start_soon(wait)
        for _ in range(STEPS):
            await trio.lowlevel.checkpoint()
        held_up = not had.is_set()
        mock_clock.jump(TURN_MAX_S)
        await had.wait()
        nursery.cancel_scope.cancel()

    assert held_up


async def test_who_comes_when_nobody_did_has_its_turn_at_once(mock_clock: MockClock) -> None:
    turns, steps = Turns(), 0
    await turns.wait("")
    mock_clock.jump(TURN_MAX_S)
    had = trio.Event()

    async def wait() -> None:
        await turns.wait("")
        had.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        while not had.is_set():
            await trio.lowlevel.checkpoint()
            steps += 1

    assert steps <= 3


@pytest.mark.parametrize("granted", [False, True])
async def test_who_is_cancelled_holds_nobody_up(autojump_clock: MockClock, *, granted: bool) -> None:
    turns = Turns()
    order: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_lines, turns, "first", order)
        nursery.start_soon(send_lines, turns, "second", order)
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as cancelled:
                for _ in range(MANY):
                    cancelled.start_soon(send_lines, turns, "cancelled", order)
                await wait_all_tasks_blocked()
                if granted:
                    await trio.sleep(LINES / LINES_PER_S)
                scope.cancel()
        nursery.start_soon(send_lines, turns, "last", order)

    assert order[-1] == "last"
