"""`relay bench`: what a call costs, and how many a core carries."""

import sys

import msgspec
from rich.console import Console

from relay.bench.errors import BenchFailed
from relay.bench.limit import broken_limit, find_limit
from relay.bench.machine import machine
from relay.bench.report import show, told
from relay.bench.result import BenchResult
from relay.bench.run import run_bench
from relay.vad.cost import vad_cost


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


def bench_vad(seconds: float, *, as_json: bool) -> int:
    """Print what the speech detector costs a call."""
    cost = vad_cost(seconds)
    if as_json:
        sys.stdout.write(msgspec.json.encode(cost.as_json() | {"machine": machine()}).decode() + "\n")
    else:
        console = Console()
        console.print(cost.table())
        console.print(told(machine()))
    return 0
