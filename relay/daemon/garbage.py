"""Collects garbage when no call hears it, and beside calls only in short pauses.

Objects that are not part of a cycle are freed at once, and the relay makes few cycles. What the collector costs grows
with what it looks through, some 0.5 us for each object, and every call stands still meanwhile. 1,000 connections of
strangers are 190,000 objects: to look through them stops all calls for 0.1 s, and finds nothing. So beside calls
everything is looked through only while there is little of it, or when memory runs away; and the youngest objects, of
which most garbage is, by themselves, a few at a time.

The C library keeps what is freed between blocks that are in use: after 1,100 calls 17 MB (measured), and 6 MB when 25
calls begin within a second, each of which has an echo canceller for a moment. It is told to give that back. After a
crowd that takes 30 ms, so it is not told so beside calls when the process has grown by much.
"""

import ctypes
import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from relay.wakeup import COARSE_S, next_step, sleep_until

YOUNG_OBJECTS = 1000
"""So many more objects than before, and the youngest are looked through: 0.1 to 0.9 ms (measured)."""
NEVER = 2**31 - 1
YOUNG_EVERY_S = COARSE_S
"""The youngest are looked through so often in any case. Python counts how many objects there are more, not how many are
new: beside connections that come and others that go it collected none for seconds, and then 45,000 in one pause."""
LOOK_EVERY_S = 10.0
WORTH_BLOCKS = 20_000
"""Blocks of memory: three have two objects that the collector knows. So many more than at the last look, or at the
fewest since, are worth another."""
SHORT_BLOCKS = 60_000
"""Beside calls everything is looked through when there are no more than these since the start: some 20 ms."""
GROWN_MAX_BYTES = 2**28
"""When the process has grown by so much, everything is looked through in any case. 1,000 connections are 80 MB."""

TRIM_GROWN_MAX_BYTES = 2**25
"""Beside calls freed memory is given back when the process has grown by no more since the start: it takes 0.1 ms, and
0.8 ms behind the beginning of 25 calls (measured)."""


def quieten_garbage_collection() -> None:
    """Spare what is loaded by now from being looked through for good, and what gets old, until `collect_garbage`."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, NEVER, NEVER)


def resident_bytes() -> int:
    """Of this process (proc(5), /proc/pid/statm)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def give_back_freed() -> None:
    """Have the C library give back what it keeps for later (malloc_trim(3)), if it can: musl cannot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def collect_garbage(
    is_quiet: Callable[[], bool],
    blocks: Callable[[], int] = sys.getallocatedblocks,
    resident_bytes: Callable[[], int] = resident_bytes,
) -> None:
    """Look through the youngest objects again and again, and through everything when that is worth it and `is_quiet`,
    or the pause is short, until cancelled. Give back what is freed when it `is_quiet`, or the pause is short."""
    at_start = fewest = blocks()
    at_start_bytes = before_bytes = resident_bytes()
    while True:
        for _ in range(round(LOOK_EVERY_S / YOUNG_EVERY_S)):
            await sleep_until(next_step(YOUNG_EVERY_S))
            gc.collect(0)
        now = blocks()
        fewest = min(fewest, now)
        is_unheard = is_quiet() or now <= at_start + SHORT_BLOCKS
        grown = resident_bytes() > before_bytes + GROWN_MAX_BYTES
        if grown or (is_unheard and now >= fewest + WORTH_BLOCKS):
            gc.collect()
            fewest, before_bytes = blocks(), resident_bytes()
        if is_quiet() or resident_bytes() <= at_start_bytes + TRIM_GROWN_MAX_BYTES:
            give_back_freed()
