"""Several runs of the same load become one result: medians, the worst of what was lost, and how far the runs lie apart.
Pure."""

from collections.abc import Sequence
from statistics import median, median_low
from typing import Any

import msgspec

from relay.bench.result import BenchResult

WORST = {"frames_lost", "frames_dropped", "frames_invented", "calls_lost", "load"}
"""Here a median would hide what happened in one run."""


def of_rounds(results: Sequence[BenchResult]) -> BenchResult:
    """The median of each figure, and in `spread` the least and the most of those that are judged. Of one, itself."""
    if len(results) == 1:
        return results[0]
    runs = [msgspec.to_builtins(result) for result in results]
    names = dict.fromkeys(name for run in runs for name in run)
    merged = {name: _merged([run.get(name) for run in runs], worst=name in WORST) for name in names}
    merged["rounds"] = len(results)
    merged["spread"] = {
        name: [min(values), max(values)]
        for name in judged_figures(results[0])
        if (values := [value for result in results if (value := judged_figures(result)[name]) is not None])
    }
    return msgspec.convert(merged, BenchResult)


def judged_figures(result: BenchResult) -> dict[str, float | None]:
    """The figures for which several runs are made."""
    return {
        "cpu_ms_per_call_second": result.cpu_ms_per_call_second,
        "delay_up_p99_ms": result.added_delay_ms["up"]["p99"],
        "delay_down_p99_ms": result.added_delay_ms["down"]["p99"],
        "loop_lag_p99_ms": result.loop_lag_ms["p99"],
        "vad_delay_p99_ms": result.vad_delay_ms["p99"],
    }


def _merged(values: Sequence[Any], *, worst: bool) -> Any:
    tables = [value for value in values if isinstance(value, dict)]
    if tables:
        names = dict.fromkeys(name for table in tables for name in table)
        return {name: _merged([table.get(name) for table in tables], worst=worst) for name in names}
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if worst and numbers:
        return max(numbers)
    if len(numbers) < len(values):  # a text, or a figure that one of the runs does not know
        return None if numbers else values[0]
    return median_low(numbers) if all(isinstance(number, int) for number in numbers) else median(numbers)
