"""A listener's queue: everything in order with its time, or the newest and how many are missing."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.call.report.events import WAITING_MAX, CallEvent, EventQueue, Said


def said(number: int) -> Said:
    return Said("user", str(number), final=True)


async def test_events_come_in_order_with_the_time_at_which_they_happened(autojump_clock: MockClock) -> None:
    queue = EventQueue()
    began_at = trio.current_time()
    for number in range(3):
        queue.push(said(number))
        await trio.sleep(1)

    dropped, events = await queue.take()

    assert dropped == 0
    assert [at - began_at for at, _ in events] == [pytest.approx(number) for number in range(3)]
    assert [event for _, event in events] == [said(number) for number in range(3)]


async def test_it_waits_for_news_and_gives_each_event_once() -> None:
    queue = EventQueue()
    taken: list[CallEvent] = []

    async def listen() -> None:
        for _ in range(2):
            taken.extend(event for _, event in (await queue.take())[1])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        for number in range(2):
            await wait_all_tasks_blocked()
            assert len(taken) == number
            queue.push(said(number))

    assert taken == [said(0), said(1)]


async def test_when_too_many_wait_the_oldest_are_dropped_and_counted_once() -> None:
    queue = EventQueue()
    for number in range(WAITING_MAX + 5):
        queue.push(said(number))

    dropped, events = await queue.take()
    queue.push(said(0))

    assert dropped == 5
    assert [event for _, event in events] == [said(number) for number in range(5, WAITING_MAX + 5)]
    assert (await queue.take())[0] == 0
