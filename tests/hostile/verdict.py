"""The verdict: which promises an attack broke, and which it says nothing about."""

from collections.abc import Sequence

from relay.call.calls import FINISHED_MAX, FinishedCall
from tests.hostile.short_calls import After
from tests.hostile.siege import BACK_S, MEMORY_SLACK_MB, Outcome, kept_descriptors

LATE_P99_MAX_MS, LATE_MAX_MS = 5.0, 60.0
"""Callers who are later than this themselves say nothing about delays, and nothing about holes."""
OTHERS_CPU_MAX_PERCENT = 10.0
"""Nor does a relay whose core others use."""


SHORT_CALLS_MAX_MB, SHORT_CALLS_MAX_OBJECTS = 6.0, 1000
"""What may be more after many short calls: the allocator's share, and caches of libraries, which have bounds."""


def problems(outcomes: Sequence[Outcome], added_max_ms: float) -> tuple[list[str], list[str]]:
    """A line for each broken promise, and one for each row whose delays and holes could not be judged.

    Audio may be `added_max_ms` later than in the last row without an attack, or than at once if that was not judged.
    Down, it is as much later as a call's playout buffer is larger, which says nothing about the attack: see `Outcome`.
    """
    broken: list[str] = []
    unknown: list[str] = []
    usual: dict[str, float] = {}
    for outcome in outcomes:
        where = f"{outcome.name}, {outcome.way}"
        broken += [f"{where}: {what}" for what in _lasting(outcome)]
        busy_for_holes, busy = _busy(outcome, "p100", LATE_MAX_MS), _busy(outcome, "p99", LATE_P99_MAX_MS)
        larger = _larger_buffer(outcome)
        unjudged = {"up": busy, "down": busy or larger}
        if outcome.way == "no attack":
            usual = {way: ms for way, ms in outcome.added_ms.items() if ms is not None and not unjudged[way]}
        late = _late(outcome, usual, added_max_ms)
        for what, cause in ((_audible(outcome), busy_for_holes), *((late[way], unjudged[way]) for way in late)):
            (unknown if cause else broken).extend(f"{where}: {text}" for text in what)
        if cause := busy or busy_for_holes:
            unknown.append(f"{where}: not judged, machine busy: {cause}")
        if larger:
            unknown.append(f"{where}: down not judged: {larger}")
    return broken, unknown


KEPT_MAX = {f"{FinishedCall.__module__}.{FinishedCall.__qualname__}": FINISHED_MAX}
"""What is kept of calls that are over, for operators; of all else there is one at most."""


def growth(found: Sequence[After]) -> list[str]:
    """A line for each kind of growth from the first look on, which is when all that is made once is there."""
    first, last = found[0].held, found[-1].held
    more = sum(last.objects.values()) - sum(first.objects.values())
    of_calls = sorted(
        kind for kind, count in last.objects.items() if count > KEPT_MAX.get(kind, 1) and kind.startswith("relay.call.")
    )
    checks = [
        (last.trimmed_mb - first.trimmed_mb > SHORT_CALLS_MAX_MB, f"{last.trimmed_mb - first.trimmed_mb:.1f} MB more"),
        (more > SHORT_CALLS_MAX_OBJECTS, f"{more} objects more"),
        (bool(of_calls), f"not freed: {', '.join(of_calls)}"),
    ]
    return [f"after {found[-1].calls:,} short calls: {text}" for is_broken, text in checks if is_broken]


def _busy(outcome: Outcome, quantile: str, late_max_ms: float) -> str:
    """Why the machine, and not the relay, may have been the cause; "" if it cannot."""
    late_ms, others = outcome.load_late_ms.get(quantile) or 0.0, outcome.others_cpu_percent
    causes = [
        (late_ms > late_max_ms, f"the callers were {late_ms:.0f} ms late"),
        (others > OTHERS_CPU_MAX_PERCENT, f"others used {others:.0f} % of the relay's core"),
    ]
    return ", ".join(text for is_cause, text in causes if is_cause)


def _lasting(outcome: Outcome) -> list[str]:
    """What holds on every machine."""
    checks = [
        (not outcome.answers, "the relay does not answer any more"),
        (outcome.lost_calls > 0, f"{outcome.lost_calls} sockets of live calls lost"),
        (outcome.lost_frames > 0, f"{outcome.lost_frames} frames lost"),
        (outcome.back_s is None and not outcome.again, f"not as before within {BACK_S:g} s"),
        (outcome.left_mb > MEMORY_SLACK_MB and not outcome.again, f"{outcome.left_mb:.0f} MB left"),
        (outcome.left_descriptors > kept_descriptors(outcome.name), f"{outcome.left_descriptors} descriptors left"),
        (outcome.left_tasks > 0, f"{outcome.left_tasks} tasks left"),
    ]
    return [text for is_broken, text in checks if is_broken]


def _audible(outcome: Outcome) -> list[str]:
    return [f"{outcome.holes} holes"] if outcome.holes else []


def _late(outcome: Outcome, usual: dict[str, float], added_max_ms: float) -> dict[str, list[str]]:
    late = {way: ms - usual.get(way, 0.0) for way, ms in outcome.added_ms.items() if ms is not None}
    return {way: [f"{way} {ms:.0f} ms later"] for way, ms in late.items() if ms > added_max_ms}


def _larger_buffer(outcome: Outcome) -> str:
    """Why the way down was later whatever the attack did; "" if it was not."""
    larger_ms = outcome.larger_buffer_ms
    return f"a playout buffer was {larger_ms:.0f} ms larger, behind a hole" if larger_ms else ""
