"""FrameReader: others have their turn between a few frames, and who floods waits."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relay.net.frame_bounds import FRAMES_PER_TURN, FrameBounds
from relay.net.frame_reader import FrameReader
from relay.net.link.pace import OF_A_CALL, OF_A_STRANGER

EMPTY = b"\x80\x80\0\0\0\0"
FIRST = b"\x02\x80\0\0\0\0"


class Source:
    """A stream that has these parts, and then waits for ever, or ends."""

    def __init__(self, *parts: bytes, ends: bool = False) -> None:
        self.parts = list(parts)
        self.ends = ends
        self.reads = 0

    async def __call__(self) -> bytes:
        self.reads += 1
        await trio.lowlevel.checkpoint()
        if not self.parts and not self.ends:
            await trio.sleep_forever()
        return self.parts.pop(0) if self.parts else b""


def reader(source: Source, *, stranger: bool = False) -> FrameReader:
    return FrameReader(source, FrameBounds(1000, OF_A_STRANGER if stranger else OF_A_CALL))


async def test_others_have_their_turn_between_a_few_frames(autojump_clock: MockClock) -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    frames = reader(Source(EMPTY * 1000, ends=True))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        received = 0
        while piece := await frames.receive():
            received += len(piece) // len(EMPTY)
            assert len(piece) <= FRAMES_PER_TURN * len(EMPTY)
        nursery.cancel_scope.cancel()
    assert received == 1000
    assert turns >= 1000 // FRAMES_PER_TURN - 1


async def test_while_frames_come_too_fast_nothing_more_is_read(autojump_clock: MockClock) -> None:
    """So that the kernel's buffers fill up, and TCP makes the sender wait."""
    source = Source(*[EMPTY * 100] * 1000)
    frames = reader(source, stranger=True)
    with trio.move_on_after(10):
        while True:
            await frames.receive()
    assert source.reads <= 10


async def test_who_is_let_in_does_not_wait_for_what_a_stranger_would(autojump_clock: MockClock) -> None:
    frames = reader(Source(EMPTY * 900), stranger=True)
    times: list[float] = []

    async def read() -> None:
        while True:
            await frames.receive()
            times.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        frames.change_rates(OF_A_CALL)
        await trio.sleep(0.001)
        assert len(times) == 900 // FRAMES_PER_TURN
        nursery.cancel_scope.cancel()


async def test_behind_a_breach_nothing_is_read() -> None:
    source = Source(FIRST + b"\x82\xfe\xff\xff\0\0\0\0" + EMPTY, EMPTY)
    frames = reader(source)
    assert await frames.receive() == FIRST
    assert await frames.receive() == b"\x82\xfe\xff\xff\0\0\0\0"
    assert frames.breach is not None
    assert await frames.receive() == b""
    assert source.reads == 1


async def test_stopped_it_gives_nothing_of_what_it_has(autojump_clock: MockClock) -> None:
    frames = reader(Source(EMPTY * 900), stranger=True)
    ended = trio.Event()

    async def read() -> None:
        while await frames.receive():
            pass
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        frames.stop()
        with trio.fail_after(0.01):
            await ended.wait()


async def test_what_came_with_the_handshake_comes_first() -> None:
    frames = reader(Source(EMPTY))
    frames.begin_with(FIRST)
    assert [await frames.receive(), await frames.receive()] == [FIRST, EMPTY]


@pytest.mark.parametrize("have", [b"", EMPTY * 20])
async def test_every_receive_can_be_cancelled_and_then_has_taken_nothing(have: bytes) -> None:
    frames = reader(Source(ends=True))
    frames.begin_with(have)
    with trio.CancelScope() as scope:
        scope.cancel()
        await frames.receive()
    assert scope.cancelled_caught
    received = b""
    while piece := await frames.receive():
        received += piece
    assert received == have
