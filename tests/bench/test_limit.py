"""The search for the limit, over a machine that carries a known number of calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.bench.limit import CALLS_MAX, PRECISION, VAD_DELAY_P99_MAX_MS, broken_limit, find_limit
from relay.bench.result import BenchResult
from relay.call.caller.vad_engine import STEPS_S
from relay.media.frames import FRAME_MS
from tests.support.bench_results import bench_result


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({}, None),
        ({"delay_p99": 20.1}, "delay_down"),
        ({"delay_p99": None}, "delay_down"),
        ({"frames_lost": 1}, "frames_lost"),
        ({"calls_lost": 1}, "calls_lost"),
        ({"frames_invented": {'cause="underrun"': 2.0}}, "holes"),
        ({"loop_lag_ms": {"p99": 25.0}}, "loop_lag"),
        ({"loop_lag_ms": {"p99": None}}, None),
        ({"vad_delay_ms": {"p50": 1.0, "p99": 51.0}}, "detector"),
        ({"load": {"late_p99_ms": 50.0}}, "load"),
        ({"load": {"late_p99_ms": 50.0}, "frames_lost": 1}, "load"),
    ],
)
def test_what_breaks_a_limit(changes: dict[str, object], broken: str | None) -> None:
    assert broken_limit(bench_result(**changes)) == broken  # type: ignore[arg-type]


@given(capacity=st.integers(0, CALLS_MAX - 1), first=st.integers(1, 200))
def test_the_limit_is_found_within_the_precision_in_few_runs(capacity: int, first: int) -> None:
    runs: list[int] = []

    def measure(calls: int) -> BenchResult:
        runs.append(calls)
        return bench_result(calls, frames_lost=int(calls > capacity))

    found = find_limit(first, measure)

    assert found.limit_calls is not None
    assert found.limit_calls <= capacity <= found.limit_calls + max(1, (capacity + 1) * PRECISION / (1 - PRECISION))
    assert found.limited_by == "frames_lost"
    assert len(runs) == len(set(runs)) <= 20


def test_a_machine_that_carries_everything_is_limited_by_the_benchmark() -> None:
    found = find_limit(10, bench_result)

    assert found.limit_calls == CALLS_MAX
    assert found.limited_by == f"the benchmark's own {CALLS_MAX} calls"


def test_the_detector_is_not_late_because_it_runs_for_many_calls_at_a_time() -> None:
    """Of two windows in a step the second came a frame later at least, and is judged a step later: so it waits for two
    steps less a frame at most. A frame is what the rest may take."""
    waits_ms = 2 * max(step_s for _, step_s in STEPS_S) * 1000 - FRAME_MS
    assert waits_ms + FRAME_MS <= VAD_DELAY_P99_MAX_MS
