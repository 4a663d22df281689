"""What must not grow: trio tasks, open file descriptors and memory of this process."""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

SETTLE_S = 0.05
LIMIT_S = 60.0
"""So long only where much else runs: what a peer poured in before it was cut off must be read by then."""


def _now() -> tuple[int, int]:
    return trio.lowlevel.current_statistics().tasks_living, sum(1 for _ in Path("/proc/self/fd").iterdir())


async def resources() -> tuple[int, int]:
    """Living tasks and open descriptors, once what is ending has ended."""
    await trio.sleep(SETTLE_S)
    return _now()


async def resources_return_to(before: tuple[int, int]) -> None:
    """Wait until no more tasks and descriptors are held than `before`; fail when some stay."""
    with trio.move_on_after(LIMIT_S):
        while any(have > had for have, had in zip(_now(), before, strict=True)):  # noqa: ASYNC110 - the kernel has no event
            await trio.sleep(SETTLE_S)
    now = _now()
    assert now[0] <= before[0], f"{now[0] - before[0]} tasks left behind"
    assert now[1] <= before[1], f"{now[1] - before[1]} descriptors left behind"


@contextmanager
def no_collector() -> Iterator[None]:
    """Without the garbage collector: what is freed in here is freed by its last reference."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def left_to_the_collector() -> dict[str, int]:
    """Objects of the relay that nobody can reach and that were not freed, by kind, with how many there are.

    Use it within `no_collector`.
    """
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        kinds = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    return {kind: count for kind, count in kinds.items() if kind.startswith("relay.")}
