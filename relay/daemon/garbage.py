"""Collects garbage when no call hears it, and beside calls seldom.

Objects that are not part of a cycle are freed at once, and the relay makes few cycles. What the collector costs grows
with what it looks through: with Python's thresholds, 200 connections of strangers made it stop all calls for 40 ms, and
again and again. So only the youngest objects are looked through by themselves, a few at a time. Everything is looked
through when no call runs, and beside calls only when much has got old, at most every LOOK_EVERY_S: such a pause is
shorter than what Twilio holds of the assistant's audio, and concerns fewer than one frame in a hundred.

The C library keeps what is freed between blocks that are in use: after 1,100 calls 17 MB (measured). It is told to give
that back each time.
"""

import ctypes
import gc
import resource
from collections.abc import Callable
from pathlib import Path

import trio

YOUNG_OBJECTS = 1000
"""So many more objects than before, and the youngest are looked through: 0.1 to 0.9 ms (measured)."""
NEVER = 2**31 - 1
LOOK_EVERY_S = 10.0
YOUNG_COLLECTIONS_MIN, YOUNG_COLLECTIONS_BESIDE_CALLS = 10, 50
"""Since the last time: before that it is not worth looking through everything."""
GROWN_MAX_BYTES = 2**26
"""When the process has grown by so much, everything is looked through in any case."""


def quieten_garbage_collection() -> None:
    """Spare what is loaded by now from being looked through for good, and what gets old, until `collect_when_quiet`."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, NEVER, NEVER)


def resident_bytes() -> int:
    """Of this process (proc(5), /proc/pid/statm)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def give_back_freed() -> None:
    """Have the C library give back what it keeps for later (malloc_trim(3)), which takes 1 ms (measured). Does nothing
    where it has no such function, as musl."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def collect_when_quiet(is_quiet: Callable[[], bool], resident_bytes: Callable[[], int] = resident_bytes) -> None:
    """Look through everything now and then, sooner while `is_quiet`, until cancelled."""
    before_bytes = resident_bytes()
    while True:
        await trio.sleep(LOOK_EVERY_S)
        _, young_collections, _ = gc.get_count()
        grown = resident_bytes() > before_bytes + GROWN_MAX_BYTES
        enough = YOUNG_COLLECTIONS_MIN if is_quiet() else YOUNG_COLLECTIONS_BESIDE_CALLS
        if grown or young_collections >= enough:
            gc.collect()
            give_back_freed()
            before_bytes = resident_bytes()
