"""`relay bench`: what a call costs, and how many a core carries."""

import sys

import msgspec
from rich.console import Console

from relay.bench.errors import BenchFailed
from relay.bench.limit import broken_limit, find_limit
from relay.bench.report import show
from relay.bench.result import BenchResult
from relay.bench.run import run_bench


def bench(calls: int, seconds: float, audio: str, *, limit: bool, as_json: bool) -> int:
    """Measure and print; 1 when calls or frames were lost or nothing could be measured."""
    progress = Console(stderr=True)

    def measure(number: int) -> BenchResult:
        result = run_bench(number, seconds, audio)
        if limit and not as_json:
            progress.print(f"{number} calls: {broken_limit(result) or 'good'}")
        return result

    try:
        result = find_limit(calls, measure) if limit else measure(calls)
    except BenchFailed as failed:
        progress.print(f"relay bench: {failed}", markup=False)
        return 1
    if as_json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    else:
        show(result, Console())
    return 1 if result.frames_lost or result.calls_lost else 0
