"""Results of a benchmark that was never run."""

from relay.bench.result import BenchResult


def bench_result(calls: int = 10, *, delay_p99: float | None = 5.0, **changes: object) -> BenchResult:
    """A run that breaks no limit, with some of its fields changed."""
    values: dict[str, object] = {
        "calls": calls,
        "seconds": 10.0,
        "audio": "pcm",
        "cpu_ms_per_call_second": 20.0,
        "added_delay_ms": {"up": {"p50": 1.0, "p99": 2.0}, "down": {"p50": 1.0, "p99": delay_p99}},
        "raw_delay_ms": {"up": {"p50": 1.0, "p99": 2.0}, "down": {"p50": 101.0, "p99": 105.0}},
        "resampler_ms": {"up": 1.5, "down": 1.5},
        "loop_lag_ms": {"p99": 1.0},
        "frames_lost": 0,
        "frames_dropped": {},
        "frames_invented": {},
        "calls_lost": 0,
        "rss_mb": 100.0,
        "rss_mb_per_call": 0.3,
        "bargein_ms": {"p50": 180.0, "p95": 220.0},
        "onset_to_clear_ms": {"p50": 150.0, "p95": 190.0},
        "decide_to_clear_ms": {"p50": 0.4, "p99": 1.2},
        "bargeins": 12,
        "bargeins_missed": 1,
        "vad_delay_ms": {"p50": 2.0, "p99": None},
        "load": {"late_p99_ms": 1.0},
        "machine": {
            "cores": 2,
            "relay_core": 0,
            "load_core": 1,
            "cpu": "a processor",
            "python": "3.11.9",
            "load_average": 0.5,
        },
    }
    return BenchResult(**{**values, **changes})  # type: ignore[arg-type]
