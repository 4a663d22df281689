"""Listeners are told everything; one that is slow loses the oldest, and one that fails harms nobody."""

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from relay.call.report.listeners import Listeners, NewsQueue


def test_all_are_told_everything_and_one_that_fails_is_removed() -> None:
    listeners = Listeners[int]()
    told: list[int] = []

    def fail(_number: int) -> None:
        raise ValueError("listener")

    with capture_logs() as logs, listeners.listening(fail), listeners.listening(told.append):
        listeners.tell(1)
        listeners.tell(2)
    listeners.tell(3)

    assert told == [1, 2]
    assert [line["event"] for line in logs] == ["events.listener_failed"]


async def test_a_queue_waits_for_news_and_gives_each_once() -> None:
    queue = NewsQueue[int](10)
    taken: list[int] = []

    async def listen() -> None:
        for _ in range(2):
            taken.extend((await queue.take())[1])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        for number in range(2):
            await wait_all_tasks_blocked()
            assert len(taken) == number
            queue.push(number)

    assert taken == [0, 1]


async def test_when_too_many_wait_the_oldest_are_dropped_and_counted_once() -> None:
    queue = NewsQueue[int](3)
    for number in range(8):
        queue.push(number)

    assert await queue.take() == (5, [5, 6, 7])
    queue.push(8)
    assert await queue.take() == (0, [8])


async def test_a_closed_queue_gives_what_waits_takes_nothing_more_and_ends() -> None:
    queue = NewsQueue[int](3)
    queue.push(1)
    queue.close()
    queue.push(2)

    assert await queue.take() == (0, [1])
    with pytest.raises(trio.EndOfChannel):
        await queue.take()


async def test_who_waits_learns_of_the_end() -> None:
    queue = NewsQueue[int](3)

    async def listen() -> None:
        with pytest.raises(trio.EndOfChannel):
            await queue.take()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await wait_all_tasks_blocked()
        queue.close()
