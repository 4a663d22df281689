"""Garbage: the youngest objects are looked through all the time, everything when no call runs or the pause is short."""

import gc
import weakref
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from relay.daemon.garbage import (
    GROWN_MAX_BYTES,
    LOOK_EVERY_S,
    NEVER,
    SHORT_BLOCKS,
    TRIM_GROWN_MAX_BYTES,
    WORTH_BLOCKS,
    YOUNG_EVERY_S,
    YOUNG_OBJECTS,
    collect_garbage,
    quieten_garbage_collection,
    resident_bytes,
)

BLOCK_BYTES, BLOCKS = 60_000, 500
"""Small enough to lie in the C library's heap, too large for Python's."""


class Cycle:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    """As in the daemon; the process of the tests has its own again afterwards."""
    before = gc.get_threshold()
    quieten_garbage_collection()
    yield
    gc.set_threshold(*before)


def old_cycle() -> weakref.ref[Cycle]:
    """One that has outlived a collection of the youngest."""
    cycle = Cycle()
    gc.collect(0)
    return weakref.ref(cycle)


def test_what_got_old_is_not_looked_through_by_itself() -> None:
    cycle = old_cycle()
    for _ in range(20):
        gc.collect(0)

    assert cycle() is not None
    assert gc.get_threshold()[1:] == (NEVER, NEVER)


@pytest.mark.parametrize(
    ("quiet", "blocks", "grown_bytes", "collected"),
    [
        (True, WORTH_BLOCKS, 0, True),
        (True, WORTH_BLOCKS - 1, 0, False),
        (True, 10 * SHORT_BLOCKS, 0, True),
        (False, WORTH_BLOCKS - 1, 0, False),
        (False, SHORT_BLOCKS, 0, True),
        (False, SHORT_BLOCKS + 1, 0, False),
        (False, SHORT_BLOCKS + 1, GROWN_MAX_BYTES, False),
        (False, SHORT_BLOCKS + 1, GROWN_MAX_BYTES + 1, True),
    ],
    ids=[
        "no call runs",
        "no call runs, and little is new",
        "no call runs beside a crowd",
        "calls run, and little is new",
        "calls run, and the pause is short",
        "calls run beside a crowd",
        "calls run beside a crowd that needs memory",
        "calls run, and memory runs away",
    ],
)
async def test_everything_is_looked_through_when_it_is_worth_it_and_no_call_hears_it(
    autojump_clock: MockClock, nursery: trio.Nursery, blocks: int, grown_bytes: int, *, quiet: bool, collected: bool
) -> None:
    counts, sizes = iter([0]), iter([0])
    nursery.start_soon(collect_garbage, lambda: quiet, lambda: next(counts, blocks), lambda: next(sizes, grown_bytes))
    await trio.lowlevel.checkpoint()
    cycle = old_cycle()
    await trio.sleep(LOOK_EVERY_S + 0.1)

    assert (cycle() is None) == collected
    nursery.cancel_scope.cancel()


async def test_a_crowd_that_comes_and_goes_is_no_reason_to_look_through_everything_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    blocks, at_rest, crowd = 0, 0, WORTH_BLOCKS
    nursery.start_soon(collect_garbage, lambda: True, lambda: blocks, lambda: 0)
    await trio.sleep(LOOK_EVERY_S / 2)
    blocks = crowd
    await trio.sleep(LOOK_EVERY_S)
    cycle = old_cycle()
    await trio.sleep(3 * LOOK_EVERY_S)
    assert cycle() is not None

    blocks = at_rest
    await trio.sleep(LOOK_EVERY_S)
    assert cycle() is not None

    blocks = crowd
    await trio.sleep(LOOK_EVERY_S)
    assert cycle() is None
    nursery.cancel_scope.cancel()


async def test_the_youngest_are_looked_through_a_few_at_a_time_though_as_many_old_ones_are_freed(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    per_ms, old_per_ms = 10, 50
    old = [[number] for number in range(1000 * old_per_ms)]
    gc.collect(0)
    looked_through: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            looked_through.append(len(gc.get_objects(generation=0)))

    nursery.start_soon(collect_garbage, lambda: False, lambda: 0, lambda: 0)
    await trio.sleep(YOUNG_EVERY_S)
    gc.callbacks.append(note)
    cycles = []
    for _ in range(1000):
        del old[-old_per_ms:]
        cycles += [weakref.ref(Cycle()) for _ in range(per_ms)]
        await trio.sleep(0.001)
    gc.callbacks.remove(note)
    nursery.cancel_scope.cancel()

    in_a_pause = [cycle for cycle in cycles if cycle() is not None]
    made_in_a_pause = per_ms * YOUNG_EVERY_S * 1000
    assert len(in_a_pause) <= made_in_a_pause
    assert max(looked_through) <= YOUNG_OBJECTS + 10 * made_in_a_pause


async def test_a_process_that_makes_no_garbage_is_not_looked_through(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    collections = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            collections.append(info["generation"])

    gc.callbacks.append(note)
    nursery.start_soon(collect_garbage, lambda: True)
    await trio.sleep(3 * LOOK_EVERY_S)
    gc.callbacks.remove(note)
    nursery.cancel_scope.cancel()

    assert 2 not in collections


@pytest.mark.parametrize(
    ("quiet", "grown_bytes", "given_back"),
    [
        (True, TRIM_GROWN_MAX_BYTES + 1, True),
        (False, TRIM_GROWN_MAX_BYTES, True),
        (False, TRIM_GROWN_MAX_BYTES + 1, False),
    ],
    ids=["no call runs", "calls run, and the pause is short", "calls run beside a crowd"],
)
async def test_what_the_c_library_keeps_of_freed_blocks_goes_back_to_the_system(
    autojump_clock: MockClock, nursery: trio.Nursery, grown_bytes: int, *, quiet: bool, given_back: bool
) -> None:
    """The last block, which is still in use, keeps it from that."""
    blocks, sizes = [b"x" * BLOCK_BYTES for _ in range(BLOCKS)], iter([0])
    nursery.start_soon(collect_garbage, lambda: quiet, lambda: 0, lambda: next(sizes, grown_bytes))
    del blocks[:-1]
    before_bytes = resident_bytes()
    await trio.sleep(LOOK_EVERY_S + 0.1)

    assert (before_bytes - resident_bytes() > BLOCK_BYTES * BLOCKS / 2) == given_back
    nursery.cancel_scope.cancel()


def test_the_resident_memory_is_that_of_a_process() -> None:
    assert 2**20 < resident_bytes() < 2**36
