"""The limit of a core is found by doubling the calls until a run breaks a limit, then by halving. Pure."""

from collections.abc import Callable

from relay.bench.result import BenchResult

DELAY_P99_MAX_MS = 20.0
LOOP_LAG_P99_MAX_MS = 20.0
LOAD_LATE_P99_MAX_MS = 10.0
VAD_DELAY_P99_MAX_MS = 50.0
"""A frame more than a window of the load waits for its run at most (see `relay.call.caller.vad_engine`)."""
CALLS_MAX = 2000
PRECISION = 0.05
"""The answer is at most this part, and at least one call, under what broke a limit."""


def broken_limit(result: BenchResult) -> str | None:
    """The first limit that a run broke; "load" when the load itself was late, so that the run says nothing."""
    if not_judged(result):
        return "load"
    delays = {f"delay_{way}": delay["p99"] for way, delay in result.added_delay_ms.items()}
    checks = {
        "calls_lost": result.calls_lost > 0,
        "frames_lost": result.frames_lost > 0,
        "holes": "underrun" in " ".join(result.frames_invented),
        **{name: value is None or value > DELAY_P99_MAX_MS for name, value in delays.items()},
        "loop_lag": (result.loop_lag_ms["p99"] or 0.0) > LOOP_LAG_P99_MAX_MS,
        "detector": (result.vad_delay_ms["p99"] or 0.0) > VAD_DELAY_P99_MAX_MS,
    }
    return next((name for name, over in checks.items() if over), None)


def not_judged(result: BenchResult) -> str | None:
    """Why the figures are no judgement of the relay: the load was late itself. None: they are one."""
    late_ms = result.load["late_p99_ms"]
    if late_ms <= LOAD_LATE_P99_MAX_MS:
        return None
    return f"the load was the bottleneck: 1 in 100 of its timers was over {late_ms:.1f} ms late"


def find_limit(first: int, measure: Callable[[int], BenchResult]) -> BenchResult:
    """The run with the most calls that broke no limit, with `limit_calls` and `limited_by` set.

    The very first run is the answer, with `limit_calls` 0, when even one call breaks a limit.
    """
    best, worst = None, None
    calls = first
    while worst is None or worst.calls - (best.calls if best else 0) > max(1, int(worst.calls * PRECISION)):
        result = measure(calls)
        result.limited_by = broken_limit(result)
        if result.limited_by is None:
            best = result
        else:
            worst = result
        if worst is None and calls == CALLS_MAX:
            break
        calls = min(CALLS_MAX, calls * 2) if worst is None else ((best.calls if best else 0) + worst.calls) // 2
        if calls == 0:
            break
    answer = best or worst
    assert answer is not None
    answer.limit_calls = best.calls if best else 0
    answer.limited_by = worst.limited_by if worst else f"the benchmark's own {CALLS_MAX} calls"
    return answer
