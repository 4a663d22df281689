"""The verdict on a soak: what has grown from its first third to its last, and what is too much at any time. Pure."""

import math
from collections.abc import Callable, Sequence
from statistics import median

import msgspec

GROWTH_MAX = {"memory_mb": 10.0, "tasks": 5.0, "descriptors": 5.0, "delay_p99_ms": 5.0}
DELAY_P99_MAX_MS = 20.0
DRIFT_MAX_MS = 100.0
LOAD_LATE_P99_MAX_MS = 10.0
OF_THE_LOAD = {"delay_p99_ms", "drift_ms"}
"""A load that is late makes these worse itself."""


class Sample(msgspec.Struct, frozen=True):
    """What was seen at a time of the soak; delays and lags are of the time since the sample before.

    drift_ms: of the steady call whose audio is furthest from the clock, since its assistant was there. lost: sockets
    so far that nobody has cut.
    """

    at_s: float
    calls: float
    memory_mb: float
    tasks: float
    descriptors: float
    delay_p99_ms: float
    lag_p99_ms: float
    drift_ms: float
    lost: int
    load_late_p99_ms: float


def problems(samples: Sequence[Sample]) -> list[str]:
    """Each broken promise in a sentence. Delays and drift are not judged in samples whose load was
    late itself."""
    third = len(samples) // 3
    if third == 0:
        return [f"there are {len(samples)} samples, too few to judge"]
    first, last = samples[:third], samples[-third:]
    found = [
        f"{name} has grown from {before:.1f} to {after:.1f}"
        for name, most in GROWTH_MAX.items()
        if (before := _median(first, name)) + most < (after := _median(last, name))
    ]
    if (delay_ms := _median(samples, "delay_p99_ms")) > DELAY_P99_MAX_MS:
        found.append(f"delay_p99_ms is {delay_ms:.1f}")
    if abs(drift_ms := _median(last, "drift_ms") - _median(first, "drift_ms")) > DRIFT_MAX_MS:
        found.append(f"media and clock have drifted apart by {drift_ms:.0f} ms")
    if lost := samples[-1].lost:
        found.append(f"{lost:.0f} sockets of live calls were lost")
    return found


def judges_delay(samples: Sequence[Sample]) -> bool:
    """Whether the load was in time in half of the samples at least."""
    return 2 * sum(_in_time(sample) for sample in samples) >= len(samples)


def _in_time(sample: Sample) -> bool:
    return sample.load_late_p99_ms <= LOAD_LATE_P99_MAX_MS


def _median(samples: Sequence[Sample], name: str) -> float:
    """Not a number where no sample counts, which is neither more nor less than any."""
    counts: Callable[[Sample], bool] = _in_time if name in OF_THE_LOAD else lambda _: True
    values: list[float] = [getattr(sample, name) for sample in samples if counts(sample)]
    return median(values) if values else math.nan
