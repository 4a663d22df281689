"""Waiting on real sockets of the loopback interface takes next to no time, where both ends live in one event loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

IDLE_S = 0.0005
PULSE_S = 0.05


def quick_clock() -> MockClock:
    """A clock that jumps to the next deadline once nothing has happened for half a millisecond."""
    return MockClock(autojump_threshold=IDLE_S)


@asynccontextmanager
async def pulse() -> AsyncIterator[None]:
    """Bounds each jump: a packet that a busy machine delivers late must not meet a time-out of seconds."""

    async def beat() -> None:
        while True:  # noqa: ASYNC110 - it waits for nothing: it beats
            await trio.sleep(PULSE_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beat)
        yield
        nursery.cancel_scope.cancel()
