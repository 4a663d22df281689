"""SharedReader: a socket of whose bytes none are of use yet rests, and then all that has come is read at once."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.net.link.prompt_stream import PromptStream
from relay.net.link.shared_reader import ASK_EVERY_S, REST_LATE_S, REST_MAX_S, SharedReader, shared_reader
from tests.support.peers import reset
from tests.support.streams import tcp_pair

TICK_S = 0.005
LATER_S = 0.1
"""Longer than the time behind which it is asked again, shorter than that behind which it is read all the same."""


class Stream:
    """A stream whose bytes are wanted `later_s` after the last, and what came of it, chunk by chunk."""

    def __init__(self, stream: PromptStream, far: trio.SocketStream, clock: MockClock) -> None:
        self.stream = stream
        self.far = far
        self.later_s = LATER_S
        self.wanted_s = -math.inf
        self.chunks: list[bytes] = []
        self._clock = clock

    async def deliver(self) -> None:
        await self.stream.deliver(self._take, self._wanted_at)

    async def say(self, data: bytes) -> None:
        await self.far.send_all(data)
        await wait_all_tasks_blocked()

    async def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            self._clock.jump(TICK_S)
            await wait_all_tasks_blocked()

    def _take(self, data: bytes) -> bool:
        self.chunks.append(data)
        self.wanted_s = trio.current_time() + self.later_s
        return bool(data)

    def _wanted_at(self) -> float:
        return self.wanted_s


@asynccontextmanager
async def open_stream(
    clock: MockClock, tick_s: Callable[[int], float | None] = lambda _: TICK_S
) -> AsyncIterator[Stream]:
    with shared_reader(tick_s) as reader:
        async with trio.open_nursery() as nursery, tcp_pair() as (near, far):
            nursery.start_soon(SharedReader.run, reader)
            await wait_all_tasks_blocked()
            stream = PromptStream(near)
            with stream.read_together():
                yield Stream(stream, far, clock)
            nursery.cancel_scope.cancel()


async def test_what_comes_while_it_rests_is_read_at_its_end_in_one_piece(mock_clock: MockClock) -> None:
    async with open_stream(mock_clock) as one, trio.open_nursery() as nursery:
        nursery.start_soon(one.deliver)
        await wait_all_tasks_blocked()
        await one.say(b"1")
        for part in (b"2", b"3", b"4"):
            await one.say(part)
            await one.pass_time(LATER_S / 5)
        assert one.chunks == [b"1"]
        await one.pass_time(LATER_S / 5 * 2 + TICK_S)
        assert one.chunks == [b"1", b"234"]
        await one.pass_time(LATER_S + TICK_S)
        await one.say(b"5")
        await one.pass_time(TICK_S)
        assert one.chunks == [b"1", b"234", b"5"], "nothing came while it rested: from then on it is read as it comes"
        nursery.cancel_scope.cancel()


async def test_what_is_wanted_sooner_after_all_is_read_soon(mock_clock: MockClock) -> None:
    async with open_stream(mock_clock) as one, trio.open_nursery() as nursery:
        one.later_s = REST_MAX_S
        nursery.start_soon(one.deliver)
        await wait_all_tasks_blocked()
        await one.say(b"1")
        await one.say(b"2")
        await one.pass_time(ASK_EVERY_S + TICK_S)
        assert one.chunks == [b"1"]
        one.wanted_s = -math.inf
        await one.pass_time(ASK_EVERY_S + TICK_S)
        assert one.chunks == [b"1", b"2"]
        nursery.cancel_scope.cancel()


async def test_what_is_wanted_at_once_is_read_on_each_tick(mock_clock: MockClock) -> None:
    async with open_stream(mock_clock) as one, trio.open_nursery() as nursery:
        one.later_s = -math.inf
        nursery.start_soon(one.deliver)
        await wait_all_tasks_blocked()
        for part in (b"1", b"2"):
            await one.say(part)
            await one.pass_time(TICK_S)
        assert one.chunks == [b"1", b"2"]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("ends", ["ended", "reset"])
async def test_however_late_more_is_wanted_the_end_is_known_soon(ends: str, mock_clock: MockClock) -> None:
    async with open_stream(mock_clock) as one, trio.open_nursery() as nursery:
        one.later_s = math.inf
        broken = False

        async def deliver() -> None:
            nonlocal broken
            try:
                await one.deliver()
            except trio.BrokenResourceError:
                broken = True

        nursery.start_soon(deliver)
        await wait_all_tasks_blocked()
        await one.say(b"1")
        if ends == "ended":
            await one.far.send_eof()
        else:
            reset(one.far)
            await one.far.aclose()
        await one.pass_time(REST_MAX_S + TICK_S)
        assert not nursery.child_tasks
        assert one.chunks == ([b"1", b""] if ends == "ended" else [b"1"])
        assert broken == (ends == "reset")


async def test_who_is_cancelled_while_it_rests_has_taken_nothing_more(mock_clock: MockClock) -> None:
    async with open_stream(mock_clock) as one, trio.open_nursery() as nursery:
        nursery.start_soon(one.deliver)
        await wait_all_tasks_blocked()
        await one.say(b"1")
        await one.say(b"2")
        nursery.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as again:
            again.start_soon(one.deliver)
            await one.pass_time(3 * TICK_S)
            assert one.chunks == [b"1", b"2"], "a rest that nobody wanted any more holds nothing up"
            again.cancel_scope.cancel()


async def test_who_waits_is_told_that_a_socket_which_rests_is_closed_here(mock_clock: MockClock) -> None:
    async with open_stream(mock_clock) as one, trio.open_nursery() as nursery:

        async def deliver() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await one.deliver()

        nursery.start_soon(deliver)
        await wait_all_tasks_blocked()
        await one.say(b"1")
        await one.stream.aclose()
        await wait_all_tasks_blocked()
        assert not nursery.child_tasks
        await one.pass_time(2 * LATER_S)


async def test_an_error_in_who_says_when_is_raised_where_it_is_waited_for_and_harms_no_other(
    mock_clock: MockClock,
) -> None:
    async with open_stream(mock_clock) as one, trio.open_nursery() as nursery:

        def fail() -> float:
            raise KeyError

        async def deliver() -> None:
            with pytest.raises(KeyError):
                await one.stream.deliver(lambda _: True, fail)

        nursery.start_soon(deliver)
        await wait_all_tasks_blocked()
        await one.say(b"1")
        assert not nursery.child_tasks
        nursery.start_soon(one.deliver)
        await wait_all_tasks_blocked()
        await one.say(b"2")
        await one.pass_time(TICK_S)
        assert one.chunks == [b"2"]
        nursery.cancel_scope.cancel()


async def test_a_rest_ends_when_each_socket_is_read_by_itself(mock_clock: MockClock) -> None:
    tick: float | None = TICK_S
    async with open_stream(mock_clock, lambda _: tick) as one, trio.open_nursery() as nursery:
        nursery.start_soon(one.deliver)
        await wait_all_tasks_blocked()
        await one.say(b"1")
        await one.say(b"2")
        tick = None
        async with tcp_pair() as (another, _far):
            with PromptStream(another).read_together():
                await one.pass_time(TICK_S)
                assert one.chunks == [b"1", b"2"]
                await one.say(b"3")
                assert one.chunks == [b"1", b"2", b"3"]
        nursery.cancel_scope.cancel()


async def test_without_a_tick_a_rest_ends_with_what_comes_next_for_another_or_soon_by_itself(
    mock_clock: MockClock,
) -> None:
    async with open_stream(mock_clock, lambda _: 0.0) as one, tcp_pair() as (another, its_far):
        with (stream := PromptStream(another)).read_together():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.deliver)
                nursery.start_soon(stream.deliver, lambda _: True)
                await wait_all_tasks_blocked()
                await one.say(b"1")
                await one.say(b"2")
                await one.pass_time(ASK_EVERY_S)
                await its_far.send_all(b"x")
                await one.pass_time(LATER_S - ASK_EVERY_S + TICK_S)
                assert one.chunks == [b"1"], "it was asked in between, and rests on"
                await its_far.send_all(b"x")
                await wait_all_tasks_blocked()
                assert one.chunks == [b"1", b"2"], "the rest is over, and another is read"
                await one.say(b"3")
                await one.pass_time(LATER_S + 2 * REST_LATE_S)
                assert one.chunks == [b"1", b"2", b"3"], "nobody else is read, but it is over for long enough"
                nursery.cancel_scope.cancel()
