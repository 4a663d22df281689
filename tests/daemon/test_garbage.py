"""Garbage: cycles that got old are collected while no call runs, or when the process has grown."""

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
    YOUNG_COLLECTIONS_BESIDE_CALLS,
    YOUNG_COLLECTIONS_MIN,
    collect_when_quiet,
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
    gc.unfreeze()


def old_cycle() -> weakref.ref[Cycle]:
    """One that has outlived so many collections that it is worth a look."""
    cycle = Cycle()
    for _ in range(YOUNG_COLLECTIONS_MIN):
        gc.collect(0)
    return weakref.ref(cycle)


def test_what_got_old_is_not_looked_through_by_itself() -> None:
    cycle = old_cycle()
    for _ in range(20):
        gc.collect(0)

    assert cycle() is not None
    assert gc.get_threshold()[1:] == (NEVER, NEVER)


@pytest.mark.parametrize(
    ("quiet", "older", "grown_bytes", "collected"),
    [
        (True, 0, 0, True),
        (False, 0, GROWN_MAX_BYTES, False),
        (False, YOUNG_COLLECTIONS_BESIDE_CALLS, 0, True),
        (False, 0, GROWN_MAX_BYTES + 1, True),
    ],
    ids=["no call runs", "calls run", "calls run and much got old", "calls run and the process has grown"],
)
async def test_everything_is_looked_through_when_no_call_hears_it_or_when_it_is_worth_it(
    autojump_clock: MockClock, nursery: trio.Nursery, older: int, grown_bytes: int, *, quiet: bool, collected: bool
) -> None:
    sizes = iter([0])
    nursery.start_soon(collect_when_quiet, lambda: quiet, lambda: next(sizes, grown_bytes))
    await trio.lowlevel.checkpoint()
    cycle = old_cycle()
    for _ in range(older):
        gc.collect(0)
    await trio.sleep(LOOK_EVERY_S + 0.1)

    assert (cycle() is None) == collected
    nursery.cancel_scope.cancel()


async def test_a_process_that_makes_no_garbage_is_not_looked_through(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    collections = []
    gc.callbacks.append(lambda phase, info: collections.append(info["generation"]) if phase == "start" else None)
    nursery.start_soon(collect_when_quiet, lambda: True)
    await trio.sleep(3 * LOOK_EVERY_S)
    gc.callbacks.pop()
    nursery.cancel_scope.cancel()

    assert 2 not in collections


async def test_what_the_c_library_keeps_of_freed_blocks_goes_back_to_the_system(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The last block, which is still in use, keeps it from that."""
    blocks = [b"x" * BLOCK_BYTES for _ in range(BLOCKS)]
    nursery.start_soon(collect_when_quiet, lambda: True)
    old_cycle()
    del blocks[:-1]
    before_bytes = resident_bytes()
    await trio.sleep(LOOK_EVERY_S + 0.1)

    assert before_bytes - resident_bytes() > BLOCK_BYTES * BLOCKS / 2
    nursery.cancel_scope.cancel()


def test_the_resident_memory_is_that_of_a_process() -> None:
    assert 2**20 < resident_bytes() < 2**36
