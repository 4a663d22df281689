"""Collects garbage when no call would hear it.

Objects that are not part of a cycle are freed at once, and the relay makes few cycles. What the collector costs grows
with what it looks through: with Python's thresholds, 200 connections of strangers made it stop all calls for 40 ms. So
only the youngest objects are looked through while calls run, a few at a time.
"""

import gc
import resource
from collections.abc import Callable
from pathlib import Path

import trio

YOUNG_OBJECTS = 1000
"""So many more objects than before, and the youngest are looked through: 0.1 to 0.9 ms (measured)."""
NEVER = 2**31 - 1
LOOK_EVERY_S = 5.0
YOUNG_COLLECTIONS_MIN = 10
"""Since the last time: before that it is not worth looking through everything."""
GROWN_MAX_BYTES = 2**26
"""When the process has grown by so much, everything is looked through beside calls too."""


def quieten_garbage_collection() -> None:
    """Spare what is loaded by now from being looked through for good, and what gets old, until `collect_when_quiet`."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, NEVER, NEVER)


def resident_bytes() -> int:
    """Of this process (proc(5), /proc/pid/statm)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


async def collect_when_quiet(is_quiet: Callable[[], bool], resident_bytes: Callable[[], int] = resident_bytes) -> None:
    """Look through everything, now and then, while `is_quiet`, or once much memory is used. Until cancelled."""
    before_bytes = resident_bytes()
    while True:
        await trio.sleep(LOOK_EVERY_S)
        _, young_collections, _ = gc.get_count()
        grown = resident_bytes() > before_bytes + GROWN_MAX_BYTES
        if grown or (is_quiet() and young_collections >= YOUNG_COLLECTIONS_MIN):
            gc.collect()
            before_bytes = resident_bytes()
